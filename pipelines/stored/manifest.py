"""What a distillation set says about itself, and how two descriptions differ."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerasdistill.errors import StaleArtifactError, UserError
from pipelines.stored.layout import AVERAGING, Layout, member_name
from pipelines.stored.stores import STORES
from pipelines.stored.targets import ENCODINGS, StoredTarget, stored_targets

SCHEMA_VERSION = 2


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
    # Not in sets that keep logits alone.
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
        return len(self.class_names)

    @property
    def layout(self) -> Layout:
        own = [each.name for each in dataclasses.fields(Layout)[1:]]  # but num_samples
        values = {name: getattr(self, name) for name in own}
        return Layout(self.dataset["num_samples"], **values)

    def to_json(self) -> dict[str, Any]:
        value = dataclasses.asdict(self)
        if not self.targets:
            del value["targets"]
        return value

    def in_short(self) -> str:
        """For people: how much there is of what."""
        files = (self.shards, *self.member_shards)
        size = sum(shard.bytes for shards in files for shard in shards)
        return (
            f"{self.views:,} views in {self.passes} passes of {self.dataset['name']}, "
            f"{self.num_classes} classes, store {self.store}, {size:,} bytes"
        )

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
        for field, right, wanted in manifest._rules():
            if not right:
                raise _damaged(where, field, wanted)
        return manifest

    def _rules(self) -> Iterator[tuple[str, bool, str]]:
        """Field, whether it is right, and what is expected of it. Later rules rely on
        earlier ones."""
        count = self.dataset.get("num_samples")
        yield "store", self.store in STORES, " or ".join(STORES)
        yield "averaging", self.averaging == AVERAGING, AVERAGING
        yield "logits_dtype", self.logits_dtype in ENCODINGS, " or ".join(ENCODINGS)
        yield "targets", self._has_targets(), "targets of this version"
        yield "teachers", len(self.teachers) >= 1, "at least one"
        averaged = 1 <= self.stored_mean_of <= len(self.teachers)
        yield "stored_mean_of", averaged, f"1 to {len(self.teachers)}"
        yield "passes", self.passes >= 1, "at least 1"
        yield "block_views", self.block_views >= 1, "at least 1"
        yield "num_validation", self.num_validation >= 0, "at least 0"
        counted = isinstance(count, int) and count >= 1
        yield "dataset.num_samples", counted, "at least 1"
        yield "class_names", all(type(x) is str for x in self.class_names), "texts"
        sides = [type(side) is int and side > 0 for side in self.image_shape]
        yield "image_shape", sides == [True] * 3, "height, width and channels"
        yield "views", self.views == count * self.passes, f"{count * self.passes}"
        names = [shard.name for shard in self.shards]
        # Counted before they are listed: a damaged number may be huge.
        listed = len(names) == self.layout.num_shards
        listed = listed and names == self.layout.shard_names()
        yield "shards", listed, f"the names of {self.passes} passes"
        kept = self.teachers if self.keep_members else ()
        named = all(_has_digest(teacher) for teacher in kept)
        yield "teachers", named, "a hexadecimal weights_digest for each"
        members = [
            [member_name(name, teacher["weights_digest"]) for name in names]
            for teacher in kept
        ]
        stored = [[shard.name for shard in shards] for shards in self.member_shards]
        yield "member_shards", stored == members, f"{len(names)} of every teacher"

    def _has_targets(self) -> bool:
        try:
            return all(
                each.target and all(side > 0 for side in each.shape)
                for each in self.stored_targets
                if ENCODINGS[each.encoding]
            )
        except (UserError, KeyError, TypeError):
            return False


def first_difference(expected: Any, found: Any, *, field: str = "") -> tuple | None:
    """The first field, by name, that differs: (dotted name, expected, found), or None.

    Fields that `expected` does not mention are not compared; tuples equal lists.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        dot = "." if field else ""
        pairs = {f"{dot}{x}": (expected[x], found.get(x)) for x in sorted(expected)}
    elif _is_list(expected) and _is_list(found) and len(expected) == len(found):
        both = zip(expected, found, strict=True)
        pairs = {f"[{index}]": pair for index, pair in enumerate(both)}
    else:
        return None if expected == found else (field, expected, found)
    differences = (first_difference(*pairs[x], field=f"{field}{x}") for x in pairs)
    return next(filter(None, differences), None)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _shards(values: Any, *, where: str) -> tuple[Shard, ...]:
    if not _is_list(values):
        raise StaleArtifactError(f"{where} is not a list; precompute the set again")
    return tuple(
        Shard(**_checked(value, Shard, where=f"{where}[{index}]"))
        for index, value in enumerate(values)
    )


def _has_digest(teacher: Any) -> bool:
    """Whether it names its weights by what may become part of a file's name."""
    digest = teacher.get("weights_digest") if isinstance(teacher, Mapping) else None
    return isinstance(digest, str) and bool(re.fullmatch("[0-9a-f]{64}", digest))


_TYPES = {  # of the values that JSON gives for a field's annotation
    "bool": [bool],
    "int": [int],
    "str": [str],
    "dict": [dict],
    "tuple": [list, tuple],
    "float | None": [int, float, type(None)],
}


def _checked(value: Any, kind: Any, *, where: str) -> dict[str, Any]:
    """The fields of `kind` in a JSON object, present and of the right JSON type."""
    if not isinstance(value, Mapping):
        raise StaleArtifactError(f"{where} is not an object; precompute the set again")
    fields = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            name = str(getattr(field.type, "__name__", field.type))
            if type(value[field.name]) not in _TYPES[name]:
                raise _damaged(where, field.name, f"a value of type {name}")
            fields[field.name] = value[field.name]
        elif field.default_factory is dataclasses.MISSING:
            raise StaleArtifactError(
                f"{where}: field {field.name} is missing; precompute the set again"
            )
    return fields


def _damaged(where: str, field: str, wanted: str) -> StaleArtifactError:
    return StaleArtifactError(
        f"{where}: field {field} is damaged, expected {wanted}; precompute it again"
    )
