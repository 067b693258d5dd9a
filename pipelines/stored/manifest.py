"""What a distillation set says about itself, and how two descriptions differ."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerasdistill.errors import StaleArtifactError, UserError
from pipelines.stored.layout import AVERAGING, Layout, member_name
from pipelines.stored.stores import STORES
from pipelines.stored.targets import ENCODINGS, StoredTarget, stored_targets

SCHEMA_VERSION = 2
_LATER = {"targets"}  # fields that sets without them do not have
_HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Shard:
    """One file: size in bytes, sha256, views, fraction whose teacher top-1 is the
    label (None if there are no labels)."""

    name: str
    bytes: int
    sha256: str
    views: int
    teacher_label_agreement: float | None


@dataclass(frozen=True)
class Manifest:
    """Everything the stored signal depends on, and what came out of it.

    `dataset` is `ImageData.identity()`; `teachers` holds {weights_digest, file,
    precision}; `scoring` the device; `environment` the versions and the processor.
    `content_digest` covers pixels and logits: it is the same for both stores and any
    number of workers, shards, restarts or extensions.

    The logits beside the views are the mean of the first `stored_mean_of` teachers'.
    With `keep_members` every teacher's own are there too, in `member_shards`: for
    each teacher as many files as there are `shards`. `targets` is what records hold
    beside the logits, see `targets.described`; without any the file has no such field.
    """

    schema_version: int
    store: str
    dataset: dict[str, Any]
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    augmentation: dict[str, Any]
    augmentation_code_version: int
    teachers: tuple[dict[str, Any], ...]
    averaging: str
    logits_dtype: str
    keep_members: bool
    stored_mean_of: int
    scoring: dict[str, Any]
    environment: dict[str, Any]
    seed: int
    passes: int
    block_views: int
    views_per_shard: int
    num_validation: int
    views: int
    shards: tuple[Shard, ...]
    member_shards: tuple[tuple[Shard, ...], ...]
    content_digest: str
    targets: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def needs_data(self) -> bool:
        """Whether reading its views takes the transfer set."""
        return STORES[self.store].needs_data

    @property
    def stored_targets(self) -> tuple[StoredTarget, ...]:
        """What records hold beside the logits."""
        return stored_targets(self.targets)

    @property
    def num_classes(self) -> int:
        """Number of classes, the width of the logits."""
        return len(self.class_names)

    @property
    def layout(self) -> Layout:
        """Where the views lie."""
        return Layout(
            num_samples=self.dataset["num_samples"],
            num_validation=self.num_validation,
            passes=self.passes,
            seed=self.seed,
            block_views=self.block_views,
            views_per_shard=self.views_per_shard,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for `manifest.json`."""
        value = dataclasses.asdict(self)
        if not self.targets:
            del value["targets"]
        return value

    @classmethod
    def from_json(cls, value: Any, *, where: str = "manifest.json") -> "Manifest":
        """Reads `to_json`'s value; StaleArtifactError names a field that is off."""
        version = value.get("schema_version") if isinstance(value, Mapping) else None
        if version not in (None, SCHEMA_VERSION):  # it may have other fields
            raise StaleArtifactError(
                f"{where}: field schema_version is {version!r}, expected "
                f"{SCHEMA_VERSION}; use the kerasdistill that wrote it, or precompute "
                "again"
            )
        fields = _checked(value, cls, where=where)
        fields["shards"] = _shards(fields["shards"], where=f"{where}: shards")
        fields["member_shards"] = tuple(
            _shards(shards, where=f"{where}: member_shards[{index}]")
            for index, shards in enumerate(fields["member_shards"])
        )
        for name in ("class_names", "image_shape", "teachers"):
            fields[name] = tuple(fields[name])
        manifest = cls(**fields)
        manifest._check(where)
        return manifest

    def _has_targets(self) -> bool:
        try:
            return all(
                each.target and all(side > 0 for side in each.shape)
                for each in self.stored_targets
                if ENCODINGS[each.encoding]
            )
        except (UserError, KeyError, TypeError):
            return False

    def _check(self, where: str) -> None:
        samples = self.dataset.get("num_samples")
        expected = {
            "store": (self.store in STORES, " or ".join(STORES)),
            "averaging": (self.averaging == AVERAGING, AVERAGING),
            "logits_dtype": (
                self.logits_dtype in ENCODINGS,
                " or ".join(ENCODINGS),
            ),
            "targets": (self._has_targets(), "targets of this version"),
            "teachers": (len(self.teachers) >= 1, "at least one"),
            "stored_mean_of": (
                1 <= self.stored_mean_of <= len(self.teachers),
                f"1 to {len(self.teachers)}",
            ),
            "passes": (self.passes >= 1, "at least 1"),
            "block_views": (self.block_views >= 1, "at least 1"),
            "num_validation": (self.num_validation >= 0, "at least 0"),
            "dataset.num_samples": (
                isinstance(samples, int) and samples >= 1,
                "at least 1",
            ),
        }
        for field, (good, wanted) in expected.items():
            if not good:
                raise _damaged(where, field, wanted)
        if not all(type(name) is str for name in self.class_names):
            raise _damaged(where, "class_names", "texts")
        sides = [side for side in self.image_shape if type(side) is int and side > 0]
        if len(sides) != 3 or len(self.image_shape) != 3:
            raise _damaged(where, "image_shape", "height, width and channels")
        if self.views != samples * self.passes:
            raise _damaged(where, "views", f"{samples * self.passes}")
        names = [shard.name for shard in self.shards]
        # Counted before they are listed: a damaged number may be huge.
        count = self.layout.num_shards
        if len(names) != count or names != self.layout.shard_names():
            raise _damaged(where, "shards", f"the names of {self.passes} passes")
        kept = self.teachers if self.keep_members else ()
        expected = [
            [member_name(name, _digest_of(teacher, where)) for name in names]
            for teacher in kept
        ]
        found = [[shard.name for shard in shards] for shards in self.member_shards]
        if found != expected:
            raise _damaged(where, "member_shards", f"{len(names)} of every teacher")


def first_difference(
    expected: Any, found: Any, *, field: str = ""
) -> tuple[str, Any, Any] | None:
    """The first field, by name, where `found` differs from what is expected.

    Fields that `expected` does not mention are not compared; tuples equal lists.

    Returns:
        (dotted field name, expected value, found value), or None.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        pairs = [(name, expected[name], found.get(name)) for name in sorted(expected)]
        dot = "." if field else ""
    elif _is_list(expected) and _is_list(found) and len(expected) == len(found):
        pairs = [
            (f"[{index}]", *pair)
            for index, pair in enumerate(zip(expected, found, strict=True))
        ]
        dot = ""
    else:
        return None if expected == found else (field, expected, found)
    for name, *pair in pairs:
        difference = first_difference(*pair, field=f"{field}{dot}{name}")
        if difference:
            return difference
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


_PLAIN = {
    "bool": bool,
    "int": int,
    "str": str,
    "dict": dict,
    "tuple": list,
    "float | None": (int, float, type(None)),
}


def _shards(values: Any, *, where: str) -> tuple[Shard, ...]:
    if not _is_list(values):
        raise StaleArtifactError(f"{where} is not a list; precompute the set again")
    return tuple(
        Shard(**_checked(value, Shard, where=f"{where}[{index}]"))
        for index, value in enumerate(values)
    )


def _digest_of(teacher: Any, where: str) -> str:
    digest = teacher.get("weights_digest") if isinstance(teacher, Mapping) else None
    # It becomes part of a file's name.
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        raise _damaged(where, "teachers", "a hexadecimal weights_digest for each")
    return digest


def _checked(value: Any, kind: Any, *, where: str) -> dict[str, Any]:
    """The fields of `kind` in a JSON object, present and of the right JSON type."""
    if not isinstance(value, Mapping):
        raise StaleArtifactError(f"{where} is not an object; precompute the set again")
    fields = {}
    for field in dataclasses.fields(kind):
        name = str(getattr(field.type, "__name__", field.type))
        if field.name not in value:
            if field.name in _LATER:
                continue
            raise StaleArtifactError(
                f"{where}: field {field.name} is missing; precompute the set again"
            )
        found = value[field.name]
        wrong = isinstance(found, bool) != (name == "bool") or not isinstance(
            list(found) if isinstance(found, tuple) else found, _PLAIN[name]
        )
        if wrong:
            raise _damaged(where, field.name, f"a value of type {name}")
        fields[field.name] = found
    return fields


def _damaged(where: str, field: str, wanted: str) -> StaleArtifactError:
    return StaleArtifactError(
        f"{where}: field {field} is damaged, expected {wanted}; precompute it again"
    )
