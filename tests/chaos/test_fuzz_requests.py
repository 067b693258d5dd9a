"""Whatever is asked: it is understood, or refused in a line; never a traceback."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasdistill import objectives
from kerasdistill.budget import Budget
from kerasdistill.cli import arguments
from kerasdistill.errors import UserError
from kerasdistill.recipes import base, checking, reading, urban2017
from tests.chaos.fuzzing import SLOW, cases, ends_well

PARSER = arguments.build_parser()
VERBS = list(arguments.VERBS)
OPTIONS = sorted({o for verb in VERBS for o in arguments._options(PARSER, verb)})
NUMBERS = ["0", "-1", "1", "3", "1e9", "1e999", "nan", "inf", "0.5", "2" * 400, "٣", ""]
WORDS = st.one_of(
    st.sampled_from(OPTIONS),
    st.sampled_from(OPTIONS).map(lambda option: option[:-1]),
    st.sampled_from(NUMBERS + ["10M", "cosine", "kd", "a,b", "1,2", ",", "-", "--"]),
    st.builds("{}={}".format, st.sampled_from(OPTIONS), st.sampled_from(NUMBERS)),
    st.text(max_size=12),
)
LINES = st.lists(WORDS, max_size=9).flatmap(
    lambda words: st.sampled_from([*VERBS, ""]).map(lambda verb: [verb, *words])
)
BUDGETS = st.one_of(
    st.text(alphabet="0123456789.eE+-kKmM _", max_size=12),
    st.integers(-(10**15), 10**15).map(str),
    st.floats().map(str),
    st.text(max_size=6),
)
SHAPES = st.one_of(
    st.tuples(st.just("convs"), st.integers(-1, 6)),
    st.tuples(st.just("hidden"), st.integers(-1, 7)),
)


def parsed(line: list[str]) -> None:
    try:
        found = ends_well(lambda: arguments.parse(line))
    except SystemExit as ended:  # --help, --version
        assert ended.code == 0
        return
    assert isinstance(found, UserError) or found.verb in VERBS


def solved(text: str, shape: tuple[str, int], kernel: int) -> None:
    def student():
        return urban2017.student(
            budget=Budget.parse(text), kernel=kernel, **dict([shape])
        )

    recipe = ends_well(student)
    if not isinstance(recipe, UserError):
        assert reading.from_json(json.loads(json.dumps(base.to_json(recipe)))) == recipe


RECIPES = [
    urban2017.student(budget=Budget(2_000_000), convs=3),
    urban2017.student(budget=Budget(300_000), hidden=2),
    urban2017.baseline(budget=Budget(1_000_000), convs=1),
    urban2017.teacher(2),
]
FLOATS = st.floats(1e-6, 1e6)
TRAININGS = st.builds(
    base.Training,
    learning_rate=FLOATS,
    momentum=st.floats(0, 1),
    batch_size=st.integers(1, 10**6),
    epochs=st.none() | st.integers(1, 10**6),
    schedule=st.sampled_from(["paper", "cosine", "linear"]),
    objective=st.just(objectives.LogitRegression())
    | st.builds(objectives.HardLabel, st.floats(0, 0.9))
    | st.builds(objectives.KnowledgeDistillation, FLOATS, st.floats(0, 1)),
    precision=st.sampled_from(checking.PRECISIONS),
    seed=st.integers(0, 2**31 - 1),
    clip_norm=st.none() | FLOATS,
    optimizer=st.sampled_from(["sgd", "muon"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


def round_trip(recipe: base.Recipe, training: base.Training) -> None:
    recipe = dataclasses.replace(recipe, training=training)
    assert reading.from_json(json.loads(json.dumps(base.to_json(recipe)))) == recipe


def places(value, path=()):
    """Where everything in a JSON value lies."""
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*path, key))


def put(value, path, new):
    """The value with something else at one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def changed_recipe(recipe: base.Recipe, where: int, new) -> None:
    value = json.loads(json.dumps(base.to_json(recipe)))
    spots = list(places(value))
    mutated = put(value, spots[where % len(spots)], new)
    found = ends_well(lambda: reading.from_json(mutated))
    if not isinstance(found, UserError):
        again = reading.from_json(json.loads(json.dumps(base.to_json(found))))
        assert again == found


GIVEN = {
    "command lines": (parsed, [LINES]),
    "budgets": (solved, [BUDGETS, SHAPES, st.sampled_from([3, 5])]),
    "recipes": (round_trip, [st.sampled_from(RECIPES), TRAININGS]),
    "changed recipes": (
        changed_recipe,
        [st.sampled_from(RECIPES), st.integers(0, 10**6), JSON],
    ),
}


@pytest.mark.parametrize(
    "part", [1, pytest.param(70, marks=SLOW)], ids=["short", "long"]
)
@pytest.mark.parametrize("what", GIVEN)
def test_requests(what, part):
    check, strategies = GIVEN[what]
    count = 15 if what == "command lines" else 36  # they take their time
    cases(part * count)(given(*strategies)(check))()
