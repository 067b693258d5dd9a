"""Where every view of a distillation set lies: order, blocks, shards, file names."""

from dataclasses import dataclass

import numpy as np

from kerasdistill.seeds import permutation

AVERAGING = "mean-logits"  # of the logits that stand in the views' own records
MANIFEST_NAME = "manifest.json"
PLAN_NAME = "plan.json"
SIDECAR_FOLDER = "sidecars"
BLOCK_VIEWS = 512
VIEWS_PER_SHARD = 8192  # 25 MB of 32x32 images: a minute or less of scoring
VALIDATION_PASS = -1  # the validation images as they are, in their own order


@dataclass(frozen=True)
class Layout:
    """The stored order, which is also the student's.

    Each pass is one seeded permutation of the transfer set, cut into blocks of
    `block_views`; consecutive blocks share a shard. Shards are named by their pass
    and their number inside it, so more passes add files and rename none, and the
    order never depends on `views_per_shard` or on workers. The teacher's logits of
    the validation images are kept the same way, as a pass of their own.
    """

    num_samples: int
    num_validation: int
    passes: int
    seed: int
    block_views: int = BLOCK_VIEWS
    views_per_shard: int = VIEWS_PER_SHARD

    def samples(self, pass_index: int) -> int:
        validation = pass_index == VALIDATION_PASS
        return self.num_validation if validation else self.num_samples

    def blocks(self, pass_index: int) -> int:
        """Blocks of a pass; the last may be short."""
        return -(-self.samples(pass_index) // self.block_views)

    @property
    def blocks_per_shard(self) -> int:
        """Blocks of a full shard, at least one."""
        return max(1, self.views_per_shard // self.block_views)

    @property
    def num_shards(self) -> int:
        """Shards of all passes, validation included."""
        return self.passes * self._count(0) + self._count(VALIDATION_PASS)

    def _count(self, pass_index: int) -> int:
        return -(-self.blocks(pass_index) // self.blocks_per_shard)

    def shards_of(self, pass_index: int) -> list[tuple[int, int]]:
        """(pass, number inside the pass) of a pass's shards; the last may be short."""
        return [(pass_index, number) for number in range(self._count(pass_index))]

    def shards(self) -> list[tuple[int, int]]:
        """(pass, number inside the pass) of every shard; validation comes last."""
        passes = [*range(self.passes), VALIDATION_PASS]
        return [shard for index in passes for shard in self.shards_of(index)]

    def shard_name(self, pass_index: int, number: int) -> str:
        validation = pass_index == VALIDATION_PASS
        name = "validation" if validation else f"pass-{pass_index:05d}"
        return f"{name}.tfrecord-{number:05d}-of-{self._count(pass_index):05d}"

    def shard_names(self) -> list[str]:
        """File names of all shards, in stored order."""
        return [self.shard_name(*shard) for shard in self.shards()]

    def shard_blocks(self, pass_index: int, number: int) -> range:
        """Indices, inside the pass, of the blocks in a shard."""
        first = number * self.blocks_per_shard
        last = min(first + self.blocks_per_shard, self.blocks(pass_index))
        return range(first, last)

    def shard_views(self, pass_index: int, number: int) -> int:
        blocks = self.shard_blocks(pass_index, number)
        last = min(blocks.stop * self.block_views, self.samples(pass_index))
        return last - blocks.start * self.block_views

    def rows(self, pass_index: int) -> np.ndarray:
        """Row of its images for every place of a pass: int64 [samples]."""
        if pass_index == VALIDATION_PASS:
            return np.arange(self.num_validation)
        return permutation(self.num_samples, self.seed, "order", pass_index)

    def block_rows(self, rows: np.ndarray, block_index: int) -> np.ndarray:
        """The part of a pass's `rows` that makes up one block."""
        return rows[block_index * self.block_views :][: self.block_views]


def member_name(shard_name: str, weights_digest: str) -> str:
    """File name of one member's logits for the views of a shard."""
    return f"member-{weights_digest[:12]}-{shard_name}"


def sidecar_name(shard_name: str) -> str:
    """Path, inside the set, of the file that says a shard is complete."""
    return f"{SIDECAR_FOLDER}/{shard_name}.json"
