"""Training a language model, in words per second, against PyTorch's example.

Two LSTM layers, 10,000 words, tied weights, 32 streams in windows of 35. The ways take
turns, PyTorch in a process of its own, which sleeps meanwhile.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras  # noqa: E402
import numpy as np  # noqa: E402
import timing

from kerasdistill.models import language  # noqa: E402
from kerasdistill.recipes.architectures import Lstm  # noqa: E402
from kerasdistill.training.language_models import LanguageModel  # noqa: E402
from pipelines.words import text  # noqa: E402

PEER = Path(__file__).with_name("torch_lstm.py")
WORDS, STREAMS, WINDOW = 10_000, 32, 35
PRECISIONS = ("mixed_bfloat16", "float32")


def arguments() -> argparse.Namespace:
    """--units, --steps, --rounds, --torch-python and --json."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--units", type=int, nargs="+", default=(200, 650))
    parser.add_argument("--steps", type=int, default=8, help="in a round")
    parser.add_argument("--rounds", type=int, default=5, help="the best one counts")
    parser.add_argument(
        "--torch-python", default=sys.executable, help="an interpreter with PyTorch"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    return parser.parse_args()


def ours(units: int, precision: str) -> Callable[[int], dict[str, float]]:
    """Our training step, through Keras' fit as in the verb."""
    network = Lstm(units=units, layers=2, dropout_rate=0.2)
    words = tuple(map(str, range(WORDS)))
    student = language.build(network, words=words, precision=precision)
    shell = LanguageModel(student, streams=STREAMS, clip_norm=5.0)
    shell.compile(optimizer=keras.optimizers.SGD(1.0))
    tokens = np.random.default_rng(0).integers(0, WORDS, 8 * STREAMS * WINDOW, np.int32)
    cut = text.windows(tokens, end=0, streams=STREAMS, length=WINDOW)
    batches = text.stream(cut).batches(0)

    def train(steps: int) -> dict[str, float]:
        clock, work = time.perf_counter(), time.process_time()
        shell.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)
        return {
            "words": steps * STREAMS * WINDOW,
            "seconds": time.perf_counter() - clock,
            "core_seconds": time.process_time() - work,
        }

    return train


def pytorch(units: int, python: str) -> Callable[[int], dict[str, float]]:
    """PyTorch's training step, in its own process."""
    worker = subprocess.Popen(
        [python, str(PEER), *map(str, (units, WORDS, STREAMS, WINDOW))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def train(steps: int) -> dict[str, float]:
        print(steps, file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())

    return train


def measured(units: int, asked: argparse.Namespace) -> list[dict]:
    """The best of all rounds, by the clock and by the cores' work."""
    ways = {f"kerasdistill, {each}": ours(units, each) for each in PRECISIONS}
    ways["PyTorch, float32"] = pytorch(units, asked.torch_python)
    for train in ways.values():
        train(2)  # compiles, and fills caches
    best = {
        name: {"words_per_second": 0.0, "words_per_core_second": 0.0} for name in ways
    }
    for _ in range(asked.rounds):
        for name, train in ways.items():
            found, row = train(asked.steps), best[name]
            for rate, spent in zip(row, ("seconds", "core_seconds"), strict=True):
                row[rate] = max(row[rate], found["words"] / found[spent])
    return [{"units": units, "way": name, **row} for name, row in best.items()]


def main() -> None:
    """Prints a table for each size, or JSON."""
    asked = arguments()
    rows = [row for units in asked.units for row in measured(units, asked)]
    if asked.json:
        print(
            json.dumps(
                {"benchmark": "language_model", "cores": timing.CORES, "rows": rows}
            )
        )
        return
    print(
        "| units | | words/s | words per core-second | times PyTorch (clock, cores) |"
    )
    print("|---|---|---|---|---|")
    for row in rows:
        base = next(
            r for r in rows if r["units"] == row["units"] and "PyTorch" in r["way"]
        )
        clock, cores = (
            row[k] / base[k] for k in ("words_per_second", "words_per_core_second")
        )
        print(
            f"| {row['units']} | {row['way']} | {row['words_per_second']:,.0f} "
            f"| {row['words_per_core_second']:,.0f} | {clock:.2f}, {cores:.2f} |"
        )


if __name__ == "__main__":
    main()
