"""How fast teachers label views, against their bare inference; and the memory it takes.

Scoring is timed without the start of the workers: a job of three passes less a job of
one. Each worker, and the bare loop, runs TensorFlow on one thread.
"""

import timing  # isort: skip (first: it chooses the cores)

import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

MEMBERS = (1, 16)
BLOCK = 512
SHORT, LONG = 1, 3  # passes
MEMORY_PASSES = (10, 160)


def noise(count: int):
    """An `ImageData` of random pixels."""
    import numpy as np

    from pipelines.datasets import Examples, ImageData

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    examples = Examples.numbered(images, generator.integers(0, 10, count))
    names = tuple(map(str, range(10)))
    splits = (examples, examples.take(np.arange(min(BLOCK, count))), examples)
    return ImageData("noise", "1", names, 0, *splits, digest="")


def save_teachers(folder: Path, count: int) -> list[str]:
    """Published teachers 76-126-148-1200 with random weights of their own."""
    from kerasdistill.models import urban
    from kerasdistill.recipes import urban2017
    from kerasdistill.training import engines

    architecture, paths = urban2017.teacher(1).architecture, []
    for seed in range(count):
        model = urban.build(
            architecture,
            image_shape=(32, 32, 3),
            num_classes=10,
            seed=seed,
            precision=engines.current().resolve_precision("auto"),
        )
        paths.append(str(folder / f"teacher-{seed}.keras"))
        model.save(paths[-1])
    return paths


def bare(paths: list[str], views: int) -> float:
    """Views per second of the teachers alone, in batches of a block."""
    import tensorflow as tf

    from kerasdistill.models import loading
    from pipelines import scoring
    from pipelines.stored.averaging import mean_logits

    scoring.pin_to_one_thread()
    teachers = [loading.load(path) for path in paths]

    def ask(pixels: tf.Tensor) -> tf.Tensor:
        images = tf.cast(pixels, tf.float32)
        return mean_logits([model(images, training=False) for model in teachers])

    score = tf.function(ask)
    batch = noise(BLOCK).train.images
    score(batch).numpy()
    began = time.monotonic()
    for _ in range(-(-views // BLOCK)):
        score(batch).numpy()
    return -(-views // BLOCK) * BLOCK / (time.monotonic() - began)


def labelled(paths: list[str], views: int, *, passes: int, workers: int) -> float:
    """Seconds of a whole job."""
    from kerasdistill.recipes.base import Augmentation
    from pipelines import precompute

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        precompute.run(
            teacher_paths=paths,
            data=noise(views),
            augmentation=Augmentation(),
            passes=passes,
            store="images",
            output=folder,
            seed=0,
            workers=workers,
            views_per_shard=4 * BLOCK,
            force=True,
        )
        return time.monotonic() - began


def precomputed(paths: list[str], views: int, *, workers: int) -> float:
    """Views per second of the job, without the start of its workers."""
    seconds = [
        labelled(paths, views, passes=passes, workers=workers)
        for passes in (SHORT, LONG)
    ]
    return (LONG - SHORT) * views / (seconds[1] - seconds[0])


def peak_megabytes(path: str, passes: int) -> float:
    """The most memory that one process of a job held, this one or a worker."""
    labelled([path], 2 * BLOCK, passes=passes, workers=1)
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(user).ru_maxrss for user in users) / 1024


def apart(function, *arguments, **options):
    """The function's result, from a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments, **options).result()


def main() -> None:
    """Measures and prints."""
    asked = timing.arguments(__doc__.splitlines()[0], views=8_192)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = apart(save_teachers, Path(folder), max(MEMBERS))
        for members in MEMBERS:
            views = max(4 * BLOCK, asked.views // members)
            ways = {
                "bare": lambda p=paths[:members], v=views: apart(bare, p, v),
                "one worker": lambda p=paths[:members], v=views: apart(
                    precomputed, p, v, workers=1
                ),
                "two workers": lambda p=paths[:members], v=views: apart(
                    precomputed, p, v, workers=2
                ),
            }
            rounds = [
                {name: way() for name, way in ways.items()} for _ in range(asked.rounds)
            ]
            found[str(members)] = {
                name: statistics.median(each[name] for each in rounds) for name in ways
            }
            print(f"{members} members: {found[str(members)]}", file=sys.stderr)
        memory = {
            str(passes): apart(peak_megabytes, paths[0], passes)
            for passes in MEMORY_PASSES
        }
    if asked.json:
        print(json.dumps({"benchmark": "precompute", "rates": found, "MB": memory}))
        return
    print("\nLabelling, teacher 76-126-148-1200, views/s\n")
    print(
        "| members | bare, one thread | one worker | of bare | two workers | of one |"
    )
    print("|---|---|---|---|---|---|")
    for members, rate in found.items():
        alone, one, two = (rate[name] for name in ("bare", "one worker", "two workers"))
        print(
            f"| {members} | {alone:,.0f} | {one:,.0f} | {one / alone:.2f} "
            f"| {two:,.0f} | {two / one:.2f} |"
        )
    few, many = (memory[str(passes)] for passes in MEMORY_PASSES)
    print(
        f"\nPeak memory of a process: {few:,.0f} MB with {MEMORY_PASSES[0]} passes, "
        f"{many:,.0f} MB with {MEMORY_PASSES[1]}: {many / few:.2f} times"
    )


if __name__ == "__main__":
    main()
