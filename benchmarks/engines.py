"""What an engine gets of its machine, and the two engines beside each other.

    python benchmarks/engines.py                       # what KERAS_BACKEND names
    python benchmarks/engines.py --parts two --budget 300k

`training`: a student's epochs by the engine's session, against a bare loop over the
same network, written here, its data on the device. `labelling`: a distillation set by
one fast teacher, against making its views alone. `teacher`: epochs of a fast teacher.
`start`: from the start of a process to its first step. `two`: the same student on
TensorFlow and on JAX, in processes that take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BEGAN = time.monotonic()
PARTS = ("training", "labelling", "teacher", "start", "two")
CLASSES, SHAPE = 10, (32, 32, 3)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def arguments() -> argparse.Namespace:
    """The parsed ones."""
    made = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    made.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS[:-1])
    made.add_argument("--budget", default="1M", help="of the student")
    made.add_argument("--convs", type=int, default=3, help="of the student")
    made.add_argument("--images", type=int, default=40_000, help="in an epoch")
    made.add_argument("--batch-size", type=int, default=128)
    made.add_argument("--passes", type=int, default=4, help="of the labelled set")
    made.add_argument("--epochs", type=int, default=24, help="of the fast teacher")
    made.add_argument("--rounds", type=int, default=3, help="the median counts")
    made.add_argument("--precision", default="auto")
    made.add_argument("--json", help="a file to write the figures to")
    made.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    return made.parse_args()


def columns(count: int) -> dict:
    """Made-up views, logits and labels."""
    import numpy as np

    draw = np.random.default_rng(0)
    return {
        "image": draw.integers(0, 256, (count, *SHAPE), np.uint8),
        "teacher_logits": draw.normal(size=(count, CLASSES)).astype(np.float32),
        "label": draw.integers(0, CLASSES, count).astype(np.int32),
    }


def student(args: argparse.Namespace):
    """(shell, stream): a student by logit regression, and its data in memory."""
    from kerasdistill.budget import Budget
    from kerasdistill.models.build import build
    from kerasdistill.recipes import urban2017
    from kerasdistill.running.building import shell
    from kerasdistill.training import engines
    from kerasdistill.training.epochs import EpochStream

    recipe = urban2017.student(budget=Budget.parse(args.budget), convs=args.convs)
    precision = engines.current().resolve_precision(args.precision)
    how = {"image_shape": SHAPE, "num_classes": CLASSES, "seed": 0}
    network = build(recipe.architecture, **how, precision=precision)
    steps = args.images // args.batch_size
    data = columns(steps * args.batch_size)

    def batches(first_epoch: int):
        while True:
            for end in range(args.batch_size, len(data["label"]) + 1, args.batch_size):
                rows = slice(end - args.batch_size, end)
                yield {name: each[rows] for name, each in data.items()}

    def of_tensorflow(first_epoch: int):
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(data).batch(args.batch_size).repeat()

    on_jax = engines.current().__name__.endswith("jax")
    how = {"batches": batches if on_jax else of_tensorflow}
    return shell(network, recipe.training), EpochStream(
        steps, len(data["label"]), **how
    )


def by_session(args: argparse.Namespace):
    """What trains an epoch more by the engine, and gives its seconds."""
    import keras

    from kerasdistill.training import engines

    made, stream = student(args)
    engine = engines.current()
    engine.compile(made, lambda: keras.optimizers.SGD(1e-4, 0.9, nesterov=True))
    session = engine.session(made, stream)

    def epoch() -> float:
        made.reset_metrics()
        began = time.monotonic()
        session.train(range(stream.steps_per_epoch), lambda *_: None)
        return time.monotonic() - began

    return epoch


def bare(args: argparse.Namespace):
    """The same in a loop of its own: the least that could be done on JAX."""
    import jax
    import jax.numpy as jnp
    import keras

    made, stream = student(args)
    network, steps = made.student, stream.steps_per_epoch
    data = columns(steps * args.batch_size)
    data = {
        name: jax.device_put(each.reshape(steps, args.batch_size, *each.shape[1:]))
        for name, each in data.items()
    }

    def loss(trained, others, batch):
        images = batch["image"].astype("float32")
        logits, others = network.stateless_call(trained, others, images, training=True)
        error = jnp.square(logits.astype("float32") - batch["teacher_logits"])
        return jnp.mean(jnp.sum(error, axis=1)), others

    def step(state, batch):
        trained, others, speeds = state
        (value, others), slopes = jax.value_and_grad(loss, has_aux=True)(
            trained, others, batch
        )
        speeds = [0.9 * v - 1e-4 * s for v, s in zip(speeds, slopes, strict=True)]
        moved = zip(trained, speeds, slopes, strict=True)
        trained = [w + 0.9 * v - 1e-4 * s for w, v, s in moved]
        return (trained, others, speeds), value

    state = [
        [v.value for v in network.trainable_variables],
        [v.value for v in network.non_trainable_variables],
        [jnp.zeros_like(v.value) for v in network.trainable_variables],
    ]
    state = tuple(jax.tree.map(jnp.copy, state))
    if jax.default_backend() == "cpu":
        one = jax.jit(step, donate_argnums=0)

        def whole(state, data):
            for place in range(steps):
                batch = {name: rows[place] for name, rows in data.items()}
                state, value = one(state, batch)
            return state, value
    else:
        scan = jax.jit(lambda s, d: jax.lax.scan(step, s, d), donate_argnums=0)

        def whole(state, data):
            return scan(state, data)

    keras.utils.clear_session()

    def epoch() -> float:
        nonlocal state
        began = time.monotonic()
        state, values = whole(state, data)
        jax.block_until_ready(values)
        return time.monotonic() - began

    return epoch


def median_rates(ways: dict, args: argparse.Namespace, images: int) -> dict:
    """Images a second of each way, which take turns; the first turn compiles."""
    seconds = {name: [] for name in ways}
    for _ in range(args.rounds + 1):
        for name, way in ways.items():
            seconds[name].append(way())
    return {
        **{
            name: images / statistics.median(each[1:]) for name, each in seconds.items()
        },
        "first epoch, s": {name: round(each[0], 1) for name, each in seconds.items()},
    }


def training(args: argparse.Namespace) -> dict:
    """Images a second by the session and by the bare loop."""
    import keras

    ways = {"session": by_session(args)}
    if keras.backend.backend() == "jax":
        ways["bare loop"] = bare(args)
    images = args.images // args.batch_size * args.batch_size
    found = median_rates(ways, args, images)
    if "bare loop" in found:
        found["ratio"] = found["session"] / found["bare loop"]
    return found


def made_up(count: int):
    """A data set of random pictures."""
    import numpy as np

    from pipelines.datasets import Examples, ImageData

    draw = np.random.default_rng(0)
    parts = []
    for first, size in ((0, count), (count, 64), (count + 64, 64)):
        images = draw.integers(0, 256, (size, *SHAPE), np.uint8)
        ids = np.arange(first, first + size)
        parts.append(Examples(images, ids % CLASSES, ids))
    names = tuple(f"class {number}" for number in range(CLASSES))
    return ImageData("random", "1", names, 0, *parts, digest="0" * 64)


def labelling(args: argparse.Namespace) -> dict:
    """Views a second of `precompute`, and of making the same views alone."""
    import numpy as np
    import tensorflow as tf

    from kerasdistill.machine import cores
    from kerasdistill.recipes import fast
    from kerasdistill.recipes.base import Augmentation
    from kerasdistill.running.training import save_untrained
    from pipelines import precompute
    from pipelines.beam.job import _by_threads
    from pipelines.stored.replay import make_views

    data, augmentation = made_up(args.images), Augmentation()
    block = 128

    def views(number: int) -> None:
        rows = slice(number * block, (number + 1) * block)
        images = tf.constant(data.train.images[rows])
        seeds = tf.constant(np.arange(len(images)) + number)
        how = {"augmentation": augmentation, "block_views": block}
        make_views(images, seeds, **how)["image"].numpy()

    views(0)
    began, numbers = time.monotonic(), range(args.images // block)
    list(_by_threads(views, numbers))
    alone = len(numbers) * block / (time.monotonic() - began)
    with tempfile.TemporaryDirectory() as folder:
        path = save_untrained(fast.teacher(), Path(folder, "teacher.keras"), data)
        made = precompute.run(
            teacher_paths=[path],
            data=data,
            passes=args.passes,
            output=str(Path(folder, "set")),
            store="replay",
            augmentation=augmentation,
            force=True,
        )
    rate = made.views_per_second
    return {"set": rate, "views alone": alone, "ratio": rate / alone, "cores": cores()}


def teacher(args: argparse.Namespace) -> dict:
    """Seconds of a fast teacher's epochs, the first one, which compiles, apart."""
    from kerasdistill.recipes import fast
    from kerasdistill.running import training as running
    from kerasdistill.running.building import built
    from kerasdistill.training.fit import fit
    from pipelines.views import live_views

    data, recipe = made_up(args.images), fast.teacher(epochs=args.epochs)
    with tempfile.TemporaryDirectory() as folder:
        done = fit(
            built(recipe, data),
            train=running.labelled_stream(recipe, kind="teacher", data=data),
            validation=live_views.for_scoring(data.validation),
            training=recipe.training,
            directory=Path(folder),
        )
    seconds = [row["seconds"] for row in done.history]
    steady = statistics.median(seconds[1:] or seconds)
    return {
        "epochs": len(seconds),
        "seconds": sum(seconds[1:]) + steady,
        "first epoch": seconds[0],
    }


def start(args: argparse.Namespace) -> dict:
    """Seconds from a process' start to its first step, and of its compilation."""
    command = [sys.executable, __file__, "--step", "--budget", args.budget]
    command += ["--convs", str(args.convs), "--images", str(4 * args.batch_size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def first_step(args: argparse.Namespace) -> None:
    """The process of `start`."""
    epoch = by_session(args)
    before = time.monotonic() - BEGAN
    compiling, steady = epoch(), epoch()
    found = {"before the first step": before, "compiling": compiling - steady}
    print(json.dumps(found))


def two(args: argparse.Namespace) -> dict:
    """Seconds a step on each engine, in float32, by processes that take turns."""
    steps, seconds = 8, {"tensorflow": [], "jax": []}
    for _ in range(args.rounds):
        for backend, found in seconds.items():
            command = [sys.executable, __file__, "--parts", "training", "--rounds", "3"]
            command += ["--budget", args.budget, "--convs", str(args.convs)]
            command += ["--images", str(steps * args.batch_size)]
            command += ["--precision", "float32"]
            environment = {**os.environ, "KERAS_BACKEND": backend}
            how = {"capture_output": True, "text": True, "check": True}
            done = subprocess.run(command, env=environment, **how)
            rates = json.loads(done.stdout.splitlines()[-1])["training"]
            found.append(args.batch_size / rates["session"])
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {**medians, "ratio": medians["jax"] / medians["tensorflow"]}


def card() -> str:
    """What computed."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.local_devices()[0].device_kind
    return "cpu"


def main() -> None:
    """Measures and prints one JSON object."""
    args = arguments()
    if args.step:
        return first_step(args)
    found = {"backend": os.environ.get("KERAS_BACKEND", "tensorflow")}
    for part in args.parts:
        found[part] = globals()[part](args)
    if args.parts != ["two"]:
        found["device"] = card()
    print(json.dumps(found))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
