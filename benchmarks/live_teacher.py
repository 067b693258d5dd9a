"""A student's epoch from the store, against `keras.distillation.Distiller` live.

With `--torch-python`, an interpreter that has PyTorch, also against a plain PyTorch
loop with the same networks, in a process of its own that sleeps meanwhile: on logits
that are there already, and with the teachers live; and against torchdistill with the
teachers live, if that interpreter has it.

The same student, batch and steps; the Distiller asks the same super teacher in every
step, and takes its images ready-made from memory. With a teacher that costs T and a
student that costs S an image, no store can gain more than (T + S) / S.
"""

import timing  # isort: skip (first: it chooses the cores)

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.distillation import Distiller, LogitsDistillation
from labelling import noise, save_teachers

from kerasdistill.budget import Budget
from kerasdistill.models import ensemble, loading, urban
from kerasdistill.recipes import urban2017
from kerasdistill.recipes.base import Augmentation
from kerasdistill.training import engines
from kerasdistill.training.distillation_models import LogitRegressionModel
from pipelines import distillation_set, precompute

PEER = Path(__file__).with_name("torch_student.py")
PEERS = ("PyTorch", "torchdistill")
BATCH = 128
MEMBERS = (1, 4, 16)


def student() -> keras.Model:
    """1M parameters, three convolutions."""
    recipe = urban2017.student(budget=Budget(1_000_000), convs=3)
    return urban.build(
        recipe.architecture,
        image_shape=(32, 32, 3),
        num_classes=10,
        seed=0,
        precision=engines.current().resolve_precision("auto"),
    )


def optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True)


def from_store(batches: tf.data.Dataset, views: int):
    """A function that trains on a pass of the store."""
    model = LogitRegressionModel(student(), clip_norm=30.0)
    model.compile(optimizer=optimizer())

    def epoch() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return views

    return epoch


def live(paths: list[str], views: int):
    """A function that trains on as many images, asking these teachers."""
    teacher = ensemble.build([loading.load(path) for path in paths])
    model = Distiller(
        teacher=teacher,
        student=student(),
        distillation_losses=LogitsDistillation(loss="mse"),
        student_loss_weight=0.0,
    )
    model.compile(
        optimizer=optimizer(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    examples = noise(views).train
    batches = tf.data.Dataset.from_tensor_slices(
        (examples.images.astype(np.float32), examples.labels)
    ).batch(BATCH)

    def epoch() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return views

    return epoch


def scoring(paths: list[str], views: int):
    """A function that only asks these teachers."""
    teacher = ensemble.build([loading.load(path) for path in paths])
    images = noise(views).train.images

    def ask() -> int:
        teacher.predict(images, batch_size=BATCH, verbose=0)
        return views

    return ask


def fewer(views: int, members: int) -> int:
    """Images in a round with so many teachers, which take their time."""
    return max(4 * BATCH, views // members)


def layers(model: keras.Model) -> list[list]:
    """Rows that `torch_student.py` makes the same network of."""
    rows = []
    for layer in model.layers:
        relu = getattr(layer, "activation", None) is keras.activations.relu
        match layer:
            case keras.layers.Conv2D():
                side, _, inputs, filters = layer.kernel.shape
                rows.append(["conv", inputs, filters, side, relu])
            case keras.layers.Dense():
                rows.append(["dense", *layer.kernel.shape, relu])
            case keras.layers.MaxPooling2D():
                rows.append(["pool", layer.pool_size[0], layer.strides[0]])
            case keras.layers.Flatten():
                rows.append(["flatten"])
    return rows


class PyTorch:
    """The peer's process."""

    def __init__(self, python: str, teacher: keras.Model):
        model = student()
        told = json.dumps({"student": layers(model), "teacher": layers(teacher)})
        self._worker = subprocess.Popen(
            [python, str(PEER), told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        about = json.loads(self._worker.stdout.readline())
        if about["parameters"] != model.count_params():
            raise RuntimeError("PyTorch's student has another number of parameters")
        self._torchdistill = about["torchdistill"]

    def training(
        self, members: int, precision: str, views: int, *, torchdistill: bool = False
    ):
        """A function that trains there; without members on ready-made logits."""
        order = {"members": members, "precision": precision, "views": views}
        order["torchdistill"] = torchdistill

        def epoch() -> int:
            print(json.dumps(order), file=self._worker.stdin, flush=True)
            return int(self._worker.stdout.readline())

        return epoch

    def ways(self, views: int) -> dict:
        """All that is measured of it."""
        found = {}
        for precision in ("bfloat16", "float32"):
            way = self.training(0, precision, views)
            found[f"PyTorch, ready-made logits, {precision}"] = way
        for count in MEMBERS:
            live = count, "bfloat16", fewer(views, count)
            found[f"PyTorch, live, {count} members"] = self.training(*live)
            if self._torchdistill:
                way = self.training(*live, torchdistill=True)
                found[f"torchdistill, live, {count} members"] = way
        return found


def arguments() -> argparse.Namespace:
    """Those of all benchmarks, and --torch-python."""
    parser = timing.parser(__doc__.splitlines()[0], views=4_096)
    parser.add_argument("--torch-python", help="an interpreter with PyTorch")
    return parser.parse_args()


def main() -> None:
    """Measures and prints."""
    asked = arguments()
    with tempfile.TemporaryDirectory() as folder:
        paths = save_teachers(Path(folder), max(MEMBERS))
        made = precompute.run(
            teacher_paths=paths[:1],
            data=noise(asked.views),
            augmentation=Augmentation(),
            passes=1,
            store="images",
            output=str(Path(folder) / "set"),
            seed=0,
            force=True,
        )
        stored = distillation_set.open(made.distillation_set)
        ways = {"from the store": from_store(stored.dataset(BATCH), asked.views)}
        for count in MEMBERS:
            views = fewer(asked.views, count)
            ways[f"live, {count} members"] = live(paths[:count], views)
            ways[f"teachers alone, {count}"] = scoring(paths[:count], views)
        if asked.torch_python:
            peer = PyTorch(asked.torch_python, loading.load(paths[0]))
            ways |= peer.ways(asked.views)
        measured = timing.rates(ways, rounds=asked.rounds)
    rate = {name: found.images_per_second for name, found in measured.items()}
    ours, rows = rate["from the store"], []
    for count in MEMBERS:
        alone = rate[f"teachers alone, {count}"]
        row = {"members": count, "live": rate[f"live, {count} members"]}
        for peer in PEERS:
            row[peer] = rate.get(f"{peer}, live, {count} members")
        rows.append({**row, "ideal": 1 + ours / alone})
    ready = {name: found for name, found in rate.items() if "ready-made" in name}
    if asked.json:
        found = {"benchmark": "live teacher", "store": ours, "rows": rows, **ready}
        print(json.dumps(found))
        return
    for name, found in {"from the store": ours, **ready}.items():
        print(f"A 1M student, {name}: {found:,.0f} images/s")
    print("\nImages/s with teachers live, and the store's gain\n")
    print(f"| members | (T + S) / S | Distiller | | {' | | '.join(PEERS)} | |")
    print("|---" * (4 + 2 * len(PEERS)) + "|")
    for row in rows:
        cells = " | ".join(
            f"{each:,.0f} | {ours / each:.1f}" if each else "not run | "
            for each in (row["live"], *(row[peer] for peer in PEERS))
        )
        print(f"| {row['members']} | {row['ideal']:.1f} | {cells} |")


if __name__ == "__main__":
    main()
