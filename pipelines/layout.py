"""Where every view of a distillation set lies: order, blocks, shards, file names."""

from dataclasses import dataclass

import numpy as np

from kerasdistill.seeds import permutation

STORES = ("images", "replay")
LOGITS_DTYPE = "float32"
MANIFEST_NAME = "manifest.json"
PLAN_NAME = "plan.json"
SIDECAR_FOLDER = "sidecars"
BLOCK_VIEWS = 512
VIEWS_PER_SHARD = 8192  # 25 MB of 32x32 images: a minute or less of scoring


@dataclass(frozen=True)
class Layout:
    """The stored order, which is also the student's.

    Each pass is one seeded permutation of the transfer set, cut into blocks of
    `block_views`; consecutive blocks share a shard. Shards are named by their pass
    and their number inside it, so more passes add files and rename none, and the
    order never depends on `views_per_shard` or on workers.
    """

    num_samples: int
    passes: int
    seed: int
    block_views: int = BLOCK_VIEWS
    views_per_shard: int = VIEWS_PER_SHARD

    @property
    def blocks_per_pass(self) -> int:
        """Blocks of one pass; the last may be short."""
        return -(-self.num_samples // self.block_views)

    @property
    def blocks_per_shard(self) -> int:
        """Blocks of a full shard, at least one."""
        return max(1, self.views_per_shard // self.block_views)

    @property
    def shards_per_pass(self) -> int:
        """Shards of one pass; the last may be short."""
        return -(-self.blocks_per_pass // self.blocks_per_shard)

    def shards(self) -> list[tuple[int, int]]:
        """(pass, number inside the pass) of every shard, in stored order."""
        return [
            (pass_index, number)
            for pass_index in range(self.passes)
            for number in range(self.shards_per_pass)
        ]

    def shard_name(self, pass_index: int, number: int) -> str:
        """File name of a shard."""
        return (
            f"pass-{pass_index:05d}.tfrecord-{number:05d}-of-{self.shards_per_pass:05d}"
        )

    def shard_names(self) -> list[str]:
        """File names of all shards, in stored order."""
        return [self.shard_name(*shard) for shard in self.shards()]

    def shard_blocks(self, number: int) -> range:
        """Indices, inside the pass, of the blocks in shard `number`."""
        first = number * self.blocks_per_shard
        return range(first, min(first + self.blocks_per_shard, self.blocks_per_pass))

    def shard_views(self, number: int) -> int:
        """Views in shard `number` of any pass."""
        blocks = self.shard_blocks(number)
        last = min(blocks.stop * self.block_views, self.num_samples)
        return last - blocks.start * self.block_views

    def rows(self, pass_index: int) -> np.ndarray:
        """Row of the transfer set for every place of a pass: int64 [num_samples]."""
        return permutation(self.num_samples, self.seed, "order", pass_index)

    def block_rows(self, rows: np.ndarray, block_index: int) -> np.ndarray:
        """The part of a pass's `rows` that makes up one block."""
        return rows[block_index * self.block_views :][: self.block_views]


def sidecar_name(shard_name: str) -> str:
    """Path, inside the set, of the file that says a shard is complete."""
    return f"{SIDECAR_FOLDER}/{shard_name}.json"
