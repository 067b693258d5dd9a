"""What teachers say of the views of a block: logits, and what else is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasdistill.errors import UserError
from kerasdistill.models.fast_layers import use_fast_layers
from kerasdistill.training import engines
from pipelines.stored.averaging import AVERAGINGS
from pipelines.stored.layout import AVERAGING
from pipelines.stored.replay import make_views
from pipelines.stored.targets import ENCODINGS, StoredTarget


@dataclass(frozen=True)
class Scores:
    """What teachers say of N views, rounded as it is stored.

    logits: their mean, float32 [N, K]; members: the logits of each, if they are kept;
    targets: what is kept beside, float32 [N, ...] by name.
    """

    logits: np.ndarray
    members: list[np.ndarray]
    targets: dict[str, np.ndarray]


class Scorer:
    """Makes the views of a block and scores them in one batch of a fixed size.

    The batch is always `block_views` long, filled up with its first view, because
    matrix products may round differently for another shape. `teachers` are made faster
    in place; None stands for one that is not needed. The stored mean and the targets
    are of the first `stored_mean_of` of them (None: all).
    """

    def __init__(
        self,
        teachers: Sequence[keras.Model | None],
        *,
        augmentation: Any,
        block_views: int,
        logits_dtype: str = "float32",
        targets: Sequence[StoredTarget] = (),
        stored_mean_of: int | None = None,
    ) -> None:
        for teacher in filter(None, teachers):
            use_fast_layers(teacher)
        self._augmentation = augmentation
        self._block_views = block_views
        self._dtype = logits_dtype
        self._targets = tuple(targets)
        self._mean_of = stored_mean_of
        self._all = tuple(range(len(teachers)))
        models = [teacher and _tapped(teacher, self._targets) for teacher in teachers]
        self._models = models
        self._each: dict[tuple[int, ...], Callable] = {}  # by members, compiled

    def views(self, images: np.ndarray, seeds: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C], int64 [N] -> the views, see `augment.block`."""
        made = make_views(
            tf.constant(images),
            tf.constant(seeds),
            augmentation=self._augmentation,
            block_views=self._block_views,
        )
        return {name: values.numpy() for name, values in made.items()}

    def scores(self, pixels: np.ndarray, members: tuple[int, ...] = ()) -> Scores:
        """What the teachers say of views, uint8 [N, H, W, C].

        With `members`, places of teachers, their own logits are kept, and the mean is
        that of the first of them as they are stored. UserError for a logit that is not
        finite, or too large for how it is stored.
        """
        count, mean = len(pixels), AVERAGINGS[AVERAGING]
        filler = np.repeat(pixels[:1], self._block_views - count, axis=0)
        batch = np.concatenate([pixels, filler])
        each = self._outputs_of(members or self._all)(batch)
        # The mean is taken outside the graph: inside it TensorFlow may fuse it with
        # the last layers, and then it is not the mean of what the members give alone.
        of_mean = [outputs[0] for outputs in each]
        kept = [self._stored(logits, count) for logits in of_mean] if members else []
        logits = mean((kept or of_mean)[: self._mean_of])
        beside = {}
        for number, target in enumerate(self._targets, start=1):
            taps = [outputs[number] for outputs in each[: self._mean_of]]
            values = target.target.joined(taps)
            beside[target.name] = self._stored(values, count, target.encoding)
        return Scores(self._stored(logits, count), kept, beside)

    def _outputs_of(self, members: tuple[int, ...]) -> Callable:
        """A function of pixels: all that these models give, logits first, float32."""
        if members not in self._each:
            models = [self._models[i] for i in members]

            def outputs(pixels: Any) -> list[list[Any]]:
                images = ops.cast(pixels, "float32")
                given = [model(images, training=False) for model in models]
                return [
                    [ops.cast(x, "float32") for x in keras.tree.flatten(each)]
                    for each in given
                ]

            engine = engines.current()
            self._each[members] = engine.compiled(outputs, models)
        return self._each[members]

    def _stored(
        self, values: tf.Tensor, count: int, name: str | None = None
    ) -> np.ndarray:
        """The first `count`, rounded by the encoding `name` (None: that of logits)."""
        name, exact = name or self._dtype, np.asarray(values)[:count]
        if not np.isfinite(exact).all():
            raise UserError(
                "the teacher gave NaN or infinite logits: it has diverged or met "
                "pixels it cannot take; train it again"
            )
        encoding = ENCODINGS[name]
        stored = encoding.decode(encoding.encode(exact), exact.shape[1:]).numpy()
        if not np.isfinite(stored).all():
            raise UserError(
                f"the teacher gave a logit of {np.abs(exact).max():.3g}, too large for "
                f"{name}; use `logits_dtype='float32'`"
            )
        return stored


def _tapped(teacher: keras.Model, targets: Sequence[StoredTarget]) -> keras.Model:
    """The teacher, or one that gives its logits and what the targets take of it."""
    if not targets:
        return teacher
    taps = [target.tap(teacher) for target in targets]
    return keras.Model(teacher.inputs[0], [teacher.outputs[0], *taps])
