"""A few words for every network there is, and none that are another's."""

import dataclasses
import typing

import pytest

from kerasdistill.budget import Budget
from kerasdistill.recipes import base, born_again, fast, ptb, urban2017
from kerasdistill.recipes.describing import describe, describe_json

MLP = urban2017.student(budget=Budget(100_000), hidden=2).architecture
DEEPER = born_again.architecture("densenet-90-60", depth_factor=2)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (urban2017.teacher(1).architecture, "76-126-148"),
        (fast.teacher().architecture, "64-256-256"),
        (base.Student((8, 9), (100,), None), "8-9"),
        (MLP, f"MLP {MLP.hidden[0]}-{MLP.hidden[1]}"),
        (base.GivenNetwork("keras:MobileNetV2@96", None), "MobileNetV2@96"),
        (base.GivenNetwork("/a/keras/mine.keras", "0" * 64), "mine.keras"),
        (born_again.architecture("wide-resnet-28-10"), "wide-resnet-28-10"),
        (born_again.architecture("densenet-90-60"), "densenet-90-60"),
        (DEEPER, "DenseNet"),  # no name leads to it
        (born_again.architecture("ban-pre-resnet-14-0.5"), "ban-pre-resnet-14-0.5"),
        (ptb.ARCHITECTURES["lstm", "small"], "lstm 2x200"),
        (ptb.ARCHITECTURES["cnn-lstm", "paper"], "cnn-lstm 2x650"),
    ],
)
def test_words(network, words):
    assert describe(network) == words


def test_a_network_of_somebody_else_has_its_type():
    @dataclasses.dataclass(frozen=True)
    class Toy:
        width: int

    assert describe(Toy(3)) == "Toy"


def test_json_of_another_version_or_a_damaged_one():
    written = base.to_json(urban2017.teacher(1))
    assert describe_json({**written, "training": {"later": 1}}) == "76-126-148"
    for damaged in (
        None,
        {},
        {**written, "kind": ["TeacherRecipe"]},
        {**written, "architecture": {"filters": "x"}},
        {"kind": "BornAgainRecipe", "architecture": {"growths": [], "stem": 1}},
    ):
        assert describe_json(damaged) is None


def test_every_kind_has_words():
    from kerasdistill.recipes.describing import _WORDS

    networks = [typing.get_type_hints(k) for k in typing.get_args(base.Recipe)]
    types = {
        each
        for hints in networks
        for each in typing.get_args(hints["architecture"]) or [hints["architecture"]]
    }
    assert types == set(_WORDS)
