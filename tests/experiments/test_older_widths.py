"""A run that was begun by the older rule of widths is found by the same request."""

from dataclasses import replace

import pytest

from kerasdistill.budget import Budget
from kerasdistill.experiments import chain, precompute, student, teacher
from kerasdistill.experiments.search import families
from kerasdistill.experiments.search import story as search
from kerasdistill.recipes import base, urban2017
from kerasdistill.running import training
from tuners import spaces

from .search_program import AUGMENTATION, SHAPE, asked, finish

pytestmark = pytest.mark.usefixtures("uncollected")
BUDGET = Budget(50_000)
REQUEST = {"budget": BUDGET, **SHAPE, "image_shape": (8, 8, 3), "num_classes": 3}


def of_rule(make, rule):
    return finish(make(**REQUEST, width_rule=rule))


@pytest.fixture(scope="module")
def folder_of_set(tmp_path_factory):
    return tmp_path_factory.mktemp("set")


@pytest.fixture
def stored(folder_of_set, two_passes):
    """The path of a set of two passes, made once."""
    path = folder_of_set / "images"
    if not path.exists():
        two_passes(folder_of_set, store="images", augmentation=AUGMENTATION)
    return path


@pytest.fixture(
    params=["baseline", "student", "chain", "search", "search on a set", "folder"]
)
def place(request, image_data, stored, tmp_path):
    """The function that gives the folder of a story: of a rule, the older one beside
    it if that is asked for."""
    how = {"data": image_data, "workdir": tmp_path}

    def training_of(rule, older):
        make = urban2017.baseline if request.param == "baseline" else urban2017.student
        recipe, before = of_rule(make, rule), of_rule(make, "exact") if older else None
        if request.param == "baseline":
            step = training.on_labels(recipe, kind="baseline", older=before, **how)
        elif request.param == "student":
            step = student.step(recipe, older=before, given=stored, **how)
        else:
            teachers = {"teachers": (), "teacher_paths": ("t.keras",), "passes": 2}
            led = chain.Chain(**teachers, student=recipe, older_student=before)
            step = chain.student_step(led, **how)
        return step.place({precompute.STEP: {"distillation_set": str(stored)}})

    def search_of(rule, older):
        kind = "student" if request.param == "search on a set" else "baseline"
        make = {"student": spaces.student, "baseline": spaces.baseline}[kind]
        changes = {"kind": kind, "space": make(**REQUEST, width_rule=rule)}
        if older:
            changes["older_space"] = make(**REQUEST, width_rule="exact")
        if request.param == "folder":
            changes["folder"] = str(tmp_path / "own")
        wanted = asked(**changes)
        if kind == "student":
            return families.on_set(wanted, given=str(stored), **how).place({})
        return families.on_labels(wanted, **how).place({})

    return search_of if request.param.startswith(("search", "f")) else training_of


def rule_of(run):
    return run.given["recipe"].architecture.width_rule


def test_the_older_run_is_found_unless_there_is_one_of_its_own(place, tmp_path):
    own = place("rounded", True)
    assert rule_of(own) == "rounded" and not own.begun
    exact = place("exact", False)
    with exact:
        found = place("rounded", True)
        assert rule_of(found) == "exact" and found.path == exact.path
    assert place("exact", False).path == exact.path
    if own.path != exact.path:  # a folder that was chosen holds one search
        with own:
            assert place("rounded", True).path == own.path


def test_a_finished_baseline_is_found_and_says_its_rule(
    image_data, tmp_path, pretended
):
    how = {"data": image_data, "workdir": tmp_path}
    exact, rounded = (of_rule(urban2017.baseline, r) for r in ("exact", "rounded"))
    assert exact.architecture.filters != rounded.architecture.filters
    before = teacher.run(exact, **how)
    assert before["width_rule"] == "exact"
    assert "width_rule" not in before["recipe"]["architecture"]  # as ever
    assert teacher.run(rounded, older=exact, **how) == before and len(pretended) == 1
    new = teacher.run(rounded, **how)
    assert new["width_rule"] == new["recipe"]["architecture"]["width_rule"] == "rounded"


def test_what_was_begun_goes_on_by_its_own_rule(
    image_data, tmp_path, stored, pretended
):
    how = {"data": image_data, "workdir": tmp_path}
    exact, rounded = (of_rule(urban2017.student, r) for r in ("exact", "rounded"))
    with student.step(exact, given=stored, **how).place({}):
        pass  # interrupted
    done = student.run(rounded, older=exact, distillation_set_path=stored, **how)
    assert done["recipe"] == base.to_json(exact) and done["width_rule"] == "exact"


def test_a_search_goes_on_by_its_own_rule(image_data, tmp_path, pretended):
    exact, rounded = (
        spaces.baseline(**REQUEST, width_rule=rule) for rule in ("exact", "rounded")
    )
    how = {"data": image_data, "workdir": tmp_path}

    def searched(**changes):
        wanted = replace(asked(), **changes)
        return search.run(families.on_labels(wanted, **how))

    before = searched(space=exact, max_trials=1)
    more = searched(space=rounded, older_space=exact, max_trials=2)
    assert more["search"] == before["search"] and len(pretended) == 2
    assert more["width_rule"] == "exact"
