"""A training step of students with exact widths, against that with rounded ones.

Multiples of 16 (below 64 of 8) against the widths nearest to the budget, in pairs that
take turns on one batch in memory. What counts is the median of the pairs' ratios of
CPU seconds, which other programs on the machine disturb little. Seconds for each
parameter are compared, too, as both counts are only within 1 % of the budget.
"""

import timing  # isort: skip (first: it chooses the cores)

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import machine
from kerasdistill.budget import Budget
from kerasdistill.models.build import build
from kerasdistill.recipes import describing, layers, urban2017
from kerasdistill.recipes.base import Student, StudentRecipe
from kerasdistill.running import building

BATCH, SHAPE, CLASSES = 128, (32, 32, 3), 10
PRECISIONS = ("float32", "mixed_bfloat16")


def of_budget(budget: str, **family: int) -> tuple[Student, Student]:
    """The default student of each rule."""
    made = {"budget": Budget.parse(budget), **family}
    rules = ("exact", "rounded")
    recipes = [urban2017.student(**made, width_rule=rule) for rule in rules]
    return tuple(recipe.architecture for recipe in recipes)


def filters_alone(exact: int, rounded: int) -> tuple[Student, Student]:
    """The 1M student of three convolutions, with other filters and all else alike."""
    like, _ = of_budget("1M", convs=3)
    counts = ((exact,) * 3, (rounded,) * 3)
    return tuple(dataclasses.replace(like, filters=each) for each in counts)


PAIRS = {
    "65 or 64 filters, all else alike": filters_alone(65, 64),
    **{
        f"{budget}, {convs} convolutions": of_budget(budget, convs=convs)
        for budget in ("1M", "10M")
        for convs in (3, 4)
    },
}


def words(student: Student) -> str:
    """Such as 64-64-64, 768."""
    return f"{describing.describe(student)}, {student.hidden[0]}"


def num_params(student: Student) -> int:
    """Trainable parameters."""
    sizes = {"image_shape": SHAPE, "num_classes": CLASSES}
    return layers.num_params(layers.table(student, **sizes))


def trainer(student: Student, precision: str) -> Callable[[int], None]:
    """What trains the student for so many steps on one batch."""
    like: StudentRecipe = urban2017.student(budget=Budget.parse("1M"), convs=3)
    sizes = {"image_shape": SHAPE, "num_classes": CLASSES, "precision": precision}
    shell = building.shell(build(student, **sizes), like.training)
    # So small a rate that numbers stay what they are.
    shell.compile(optimizer=keras.optimizers.SGD(1e-9, momentum=0.9, nesterov=True))
    noise = np.random.default_rng(0)
    batch = {
        "image": noise.integers(0, 256, (BATCH, *SHAPE), dtype=np.uint8),
        "teacher_logits": noise.normal(size=(BATCH, CLASSES)).astype("f4"),
        "label": noise.integers(0, CLASSES, BATCH),
    }
    forever = tf.data.Dataset.from_tensors(batch).repeat()

    def train(steps: int) -> None:
        shell.fit(forever, steps_per_epoch=steps, epochs=1, verbose=0)

    return train


def ratios(
    pair: tuple[Student, Student], *, precision: str, pairs: int, seconds: float
) -> tuple[float, np.ndarray]:
    """CPU seconds of a step with rounded widths, and the ratios exact / rounded."""
    exact, rounded = (trainer(student, precision) for student in pair)
    for train in (exact, rounded):
        train(2)  # compiles
    steps = max(1, round(seconds / cpu_seconds(rounded, 2)))
    both = []
    for number in range(pairs):
        order = (exact, rounded) if number % 2 else (rounded, exact)
        taken = {train: cpu_seconds(train, steps) for train in order}
        both.append((taken[exact], taken[rounded]))
    times = np.array(both)
    return float(np.median(times[:, 1])), times[:, 0] / times[:, 1]


def cpu_seconds(train: Callable[[int], None], steps: int) -> float:
    """Of one step."""
    began = time.process_time()
    train(steps)
    return (time.process_time() - began) / steps


def measured(asked: argparse.Namespace, precision: str) -> Iterator[dict]:
    """A row for each pair, as soon as it is there."""
    for name in [each for each in PAIRS if asked.only in each]:
        pair = PAIRS[name]
        how = {"pairs": asked.pairs, "seconds": asked.seconds}
        step, times = ratios(pair, precision=precision, **how)
        share = num_params(pair[1]) / num_params(pair[0])
        low, middle, high = np.quantile(times, (0.25, 0.5, 0.75))
        row = {"pair": name, "exact": words(pair[0]), "rounded": words(pair[1])}
        row |= {"rounded_step_seconds": step, "ratio": middle, "quartiles": [low, high]}
        yield {**row, "ratio_for_each_parameter": middle * share}
        keras.utils.clear_session()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15, help="of each comparison")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU, of one side")
    about = "comparisons with this in their name"
    parser.add_argument("--only", default="", metavar="WORD", help=about)
    precisions = PRECISIONS[: 1 + machine.has_bfloat16()]
    about = "number formats (those that this processor has)"
    parser.add_argument("--precision", nargs="+", default=precisions, help=about)
    parser.add_argument("--json", action="store_true", help="JSON instead")
    asked = parser.parse_args()
    for precision in asked.precision:
        rows = measured(asked, precision)
        if asked.json:
            print(json.dumps({"precision": precision, "rows": [*rows]}))
            continue
        print(f"\ntraining in {precision}, {timing.CORES} cores\n")
        print("| | exact | rounded | its step, CPU ms | exact takes | a parameter |")
        print("|---|---|---|---|---|---|")
        for row in rows:
            low, high = row["quartiles"]
            print(
                f"| {row['pair']} | {row['exact']} | {row['rounded']} "
                f"| {1000 * row['rounded_step_seconds']:.0f} "
                f"| {row['ratio']:.2f} times ({low:.2f} to {high:.2f}) "
                f"| {row['ratio_for_each_parameter']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
