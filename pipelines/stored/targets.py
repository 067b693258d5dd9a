"""What a set keeps of the teachers for every view: logits, and named targets.

Heavy libraries are imported where they are used: the command line lists the names.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerasdistill.errors import UserError


@dataclass(frozen=True)
class Encoding:
    """Floating-point numbers of `width` bytes each, the lowest byte first.

    `step` is the most by which one is rounded, as a part of the largest.
    """

    width: int
    step: float = 0.0

    def encode(self, values: Any) -> bytes:
        """An array, float32 [B, ...] -> bytes."""
        import numpy as np

        with np.errstate(over="ignore"):  # the caller refuses what is not finite
            return values.astype(f"<f{self.width}").tobytes()

    def decode(self, content: Any, shape: Sequence[int]) -> Any:
        """Bytes, in a graph or not -> a tensor, float32 [B, *shape]."""
        import tensorflow as tf

        dtype = f"float{8 * self.width}"
        values = tf.io.decode_raw(content, dtype, little_endian=True)
        return tf.cast(tf.reshape(values, [-1, *shape]), tf.float32)

    def bytes_per_view(self, shape: Sequence[int]) -> int:
        """Of values of this shape, which is without the axis of the views."""
        return self.width * math.prod(shape)


ENCODINGS: dict[str, Encoding] = {
    "float32": Encoding(4),
    "float16": Encoding(2, step=2.0**-10),
}


@dataclass(frozen=True)
class Target:
    """One thing that teachers say of a view.

    key: its name in a batch. tap: a teacher, and what stands behind a colon in the
    target's name ("" without one) -> the symbolic tensor of it, [B, ...]. joined: every
    teacher's tensors -> one, float32 [B, ...]. encoding: a name in `ENCODINGS`.
    """

    key: str
    tap: Callable[[Any, str], Any]
    joined: Callable[[Sequence[Any]], Any]
    encoding: str = "float32"


#: What a set may have beside its teachers' logits; a name may go on with ":OPTION".
TARGETS: dict[str, Target] = {}


@dataclass(frozen=True)
class StoredTarget:
    """A target of one set; `shape` is that of a single view's values."""

    name: str
    shape: tuple[int, ...]
    encoding: str

    @property
    def target(self) -> Target:
        return find(self.name)

    def tap(self, teacher: Any) -> Any:
        """The symbolic tensor that it takes of a teacher."""
        return self.target.tap(teacher, self.name.partition(":")[2])


def find(name: str) -> Target:
    """The entry of `TARGETS` that a name begins with; UserError if there is none."""
    if (kind := name.partition(":")[0]) not in TARGETS:
        raise UserError(
            f"target {name!r} is not among those that can be kept beside the logits "
            f"({', '.join(TARGETS) or 'none'}); leave it out"
        )
    return TARGETS[kind]


def described(names: Sequence[str], teachers: Sequence[Any]) -> dict[str, Any]:
    """A manifest's field "targets", {name: {"shape", "encoding"}}; without names no
    field at all, so that sets of logits alone stay as they were."""
    import tensorflow as tf

    fields = {}
    for name in sorted(set(names)):
        stored = StoredTarget(name, (), find(name).encoding)
        taps = [stored.tap(teacher) for teacher in teachers]
        one_view = stored.target.joined([tf.zeros([1, *tap.shape[1:]]) for tap in taps])
        shape = [int(side) for side in one_view.shape[1:]]
        fields[name] = {"shape": shape, "encoding": stored.encoding}
    return {"targets": fields} if fields else {}


def stored_targets(fields: Mapping[str, Any]) -> tuple[StoredTarget, ...]:
    """What `described` wrote of them, in the order of their names."""
    return tuple(
        StoredTarget(name, tuple(value["shape"]), value["encoding"])
        for name, value in sorted(fields.items())
    )
