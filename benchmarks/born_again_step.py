"""A generation's training step by live and stored signal, against that on labels.

The same network, views, batch and steps, in bfloat16; views are made on the fly for
labels and live, and made again from the set's seeds for stored.
"""

import timing  # isort: skip (first: it chooses the cores)

import dataclasses
import functools
import tempfile
from pathlib import Path

import keras
from labelling import noise

from kerasdistill.experiments.born_again.signals import Signal, Teacher
from kerasdistill.experiments.student import stored_stream
from kerasdistill.models import fast_layers, loading
from kerasdistill.models.build import build
from kerasdistill.objectives import Ban
from kerasdistill.recipes import born_again as recipes
from kerasdistill.running.building import shell
from kerasdistill.training.epochs import EpochStream
from pipelines import distillation_set, precompute
from pipelines.views import live_views

ARCH = "wide-resnet-16-1"
PRECISION = "mixed_bfloat16"
MOST = {"live": 1.45, "stored": 1.05}  # times the step on labels


def network(seed: int) -> keras.Model:
    return build(
        recipes.architecture(ARCH),
        image_shape=(32, 32, 3),
        num_classes=10,
        seed=seed,
        precision=PRECISION,
    )


def training(wrapped: keras.Model, stream: EpochStream):
    """A function that trains one epoch of the stream."""
    wrapped.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True))
    wrapped.complete = stream.complete

    def epoch() -> int:
        stream.prepare(0)
        steps = stream.steps_per_epoch
        wrapped.fit(stream.batches(0), steps_per_epoch=steps, epochs=1, verbose=0)
        return stream.examples_per_epoch

    return epoch


def main() -> None:
    """Measures and prints."""
    asked = timing.arguments(__doc__.splitlines()[0], views=5_120)
    recipe, data = recipes.recipe(ARCH), noise(asked.views)
    ban = dataclasses.replace(recipe.training, objective=Ban())
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "teacher.keras")
        fast_layers.with_keras_layers(network(0)).save(path)
        teacher = Teacher(
            path, fast_layers.use_fast_layers(loading.load(path)), digest=""
        )
        made = precompute.run(
            teacher_paths=[path],
            data=data,
            passes=1,
            output=str(Path(folder) / "set"),
            force=True,
            **vars(Signal().of_set(recipe)),
        )
        stored = distillation_set.open(made.distillation_set, data=data)
        live = live_views.stream(
            data.train,
            augmentation=recipe.augmentation,
            seed=0,
            batch_size=ban.batch_size,
        )
        from_set = functools.partial(
            stored_stream, stored, batch_size=ban.batch_size, passes=1
        )
        on_live = shell(network(1), ban, ask=teacher.ask)
        ways = {
            "stored": training(shell(network(1), ban), from_set()),
            "stored, passes in memory": training(
                shell(network(1), ban), from_set(in_memory=True, keep=True)
            ),
            "live": training(on_live, live),
            "labels": training(shell(network(1), recipe.training), live),
        }
        measured = timing.rates(ways, rounds=asked.rounds)
    timing.show(f"training {ARCH}", measured, as_json=asked.json)
    if not asked.json:
        labels = measured["labels"].images_per_core_second
        for name, most in MOST.items():
            cost = labels / measured[name].images_per_core_second
            print(f"{name}: {cost:.2f} times the step on labels (at most {most})")


if __name__ == "__main__":
    main()
