"""Names that people read."""

import pytest

from kerasdistill.budget import Budget
from kerasdistill.recipes import base, born_again, naming, ptb, urban2017

ONE = Budget.parse("1M")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1_000_376, "1M"),
        (993_000, "1M"),
        (250_982, "250k"),
        (31_600_000, "31.6M"),
        (29_729, "30k"),
        (5_339_350, "5.3M"),
        (7, "7"),
        (2_000_000_000, "2B"),
    ],
)
def test_counts_are_as_short_as_they_may_be(count, text):
    assert naming.rounded(count) == text


@pytest.mark.parametrize(
    ("kind", "recipe", "name"),
    [
        ("student", urban2017.student(budget=ONE, convs=3), "student-1M-3conv-s0"),
        ("student", urban2017.student(budget=ONE, hidden=2), "student-1M-2hidden-s0"),
        ("generation-1", born_again.recipe("wide-resnet-10-1"), None),
        ("language-model", ptb.language_model("lstm", size="small"), None),
    ],
)
def test_a_name_says_kind_size_and_shape(kind, recipe, name):
    told = naming.name_of(kind, base.to_json(recipe), num_params=10**6)
    assert told.startswith(f"{kind}-1M-") and told.endswith("-s0")
    assert name in (None, told)
    assert "/" not in told and " " not in told


@pytest.mark.parametrize("damaged", [None, {}, [1], {"kind": "StudentRecipe"}, "x"])
def test_a_damaged_recipe_has_a_name_all_the_same(damaged):
    assert naming.name_of("student", damaged, num_params=1000) == "student-1k"


def test_what_no_folder_should_have_is_left_out():
    assert naming.fit_for_a_folder("a b/../c:d") == "a-b-..-c-d"
    assert naming.fit_for_a_folder("..") == "run"
