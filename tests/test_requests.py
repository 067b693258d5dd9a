import dataclasses
import json
from dataclasses import dataclass, field

import pytest

from kerasdistill import requests
from kerasdistill.budget import Budget
from kerasdistill.errors import StaleArtifactError
from kerasdistill.files import write_sealed_json
from kerasdistill.recipes import born_again, urban2017
from kerasdistill.runs import RunDirectory, read_json


@dataclass(frozen=True)
class Square:
    side: int
    name: str = field(default="square", init=False)


@dataclass(frozen=True)
class Wide:
    width: int = 1
    depth: int = 2


@dataclass(frozen=True)
class Deep:
    depth: int = 2


@dataclass(frozen=True)
class Whole:
    rate: float
    network: Wide | Deep = Wide()
    one: Deep = Deep()
    shape: object = None
    sizes: tuple[int, ...] = ()


RECIPES = {
    "student": urban2017.student(budget=Budget(1_000_000), convs=2),
    "generation": born_again.recipe("ban-wide-resnet-4-0.5"),
}


def aged(kind: type, *added) -> type:
    """The dataclass as a later version will have it."""
    options = {"bases": (kind,), "frozen": True}
    return dataclasses.make_dataclass(kind.__name__, added, **options)


def with_toy(recipe, *, part: str | None, toy: int):
    """The recipe with a field more, in itself or in a part of it."""
    value = recipe if part is None else getattr(recipe, part)
    later = aged(type(value), ("toy", int, field(default=0, metadata=requests.LATER)))
    value = later(**vars(value), toy=toy)
    return value if part is None else dataclasses.replace(recipe, **{part: value})


def test_canonical_leaves_out_defaults_and_tells_kinds_apart():
    assert requests.canonical(Whole(1.0)) == {"rate": 1.0}
    deep = Whole(1.0, network=Deep(), one=Deep(3), shape=Square(2), sizes=(1, 2))
    assert requests.canonical({"of": deep}) == {
        "of": {
            "kind": "Whole",
            "fields": {
                "rate": 1.0,
                "network": {"kind": "Deep", "fields": {}},
                "one": {"depth": 3},
                "shape": {"kind": "square", "fields": {"side": 2}},
                "sizes": [1, 2],
            },
        }
    }


def test_plain_has_all():
    assert requests.plain({"of": Whole(1.0, shape=Square(2))}) == {
        "of": {
            "kind": "Whole",
            "rate": 1.0,
            "network": {"width": 1, "depth": 2},
            "one": {"depth": 2},
            "shape": {"side": 2, "name": "square"},
            "sizes": [],
        }
    }


@pytest.mark.parametrize("part", [None, "training", "architecture", "augmentation"])
@pytest.mark.parametrize("verb", RECIPES)
def test_a_new_field_renames_nothing(verb, part, tmp_path):
    recipe = RECIPES[verb]

    def opened(recipe):
        return RunDirectory.open(tmp_path, verb, {"recipe": recipe, "seed": 1})

    now = opened(recipe)
    later = opened(with_toy(recipe, part=part, toy=0))
    changed = opened(with_toy(recipe, part=part, toy=1))
    assert later.path == now.path != changed.path
    older = requests.older(later.given)
    assert older == requests.older(now.given) != requests.older(changed.given)
    with later:  # and the other way round, for who goes back
        assert "toy" in json.dumps(later.request)
    with now:
        pass
    (now.path / "recipe.json").unlink()
    with now, pytest.raises(Exception, match="in use"), later:
        pass
    with later:
        pass


def test_what_a_later_version_wrote_must_fit_otherwise(tmp_path):
    recipe = RECIPES["student"]
    run = RunDirectory.open(tmp_path, "student", {"recipe": recipe})
    with run:
        pass
    told = read_json(run.path / "recipe.json")
    told["recipe"]["training"]["learning_rate"] = 9.0
    write_sealed_json(run.path / "recipe.json", told)
    refusal = "recipe.training.learning_rate is 9.0, not 0.003"
    with pytest.raises(StaleArtifactError, match=refusal), run:
        pass
    # Where the name says nothing, neither does a field that is not known here.
    elsewhere = RunDirectory(tmp_path / "mine", {"recipe": recipe})
    with RunDirectory(
        tmp_path / "mine", {"recipe": with_toy(recipe, part="training", toy=5)}
    ):
        pass
    with pytest.raises(StaleArtifactError, match="training.toy is 5"), elsewhere:
        pass
