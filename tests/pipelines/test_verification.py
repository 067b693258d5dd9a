import itertools

import keras
import numpy as np
import pytest

from kerasdistill.errors import UserError
from pipelines import distillation_set
from pipelines.stored import scorer, verification

from .conftest import build_teacher


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two teachers: their files and the models."""
    folder, paths, models = tmp_path_factory.mktemp("pair"), [], {}
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        models[seed] = build_teacher()
        paths.append(str(folder / f"{seed}.keras"))
        models[seed].save(paths[-1])
    return paths, models


def verify(made, models, *, data=None, sample=20):
    stored = distillation_set.open(made.distillation_set, data=data)
    return verification.verify(stored, models, sample=sample, seed=0)


# Every value in the normal suite, every combination in the slow one.
SHORT = [
    ("images", False, "float32"),
    ("replay", False, "float32"),
    ("replay", True, "float16"),
]
LONG = [
    pytest.param(*case, marks=pytest.mark.slow)
    for case in itertools.product(
        ("images", "replay"), (False, True), ("float32", "float16")
    )
    if case not in SHORT
]


@pytest.mark.parametrize(("store", "keep_members", "logits_dtype"), [*SHORT, *LONG])
def test_the_same_teachers_say_the_same(
    make_set, pair, image_data, store, keep_members, logits_dtype
):
    paths, models = pair
    made = make_set(
        teacher_paths=paths,
        store=store,
        keep_members=keep_members,
        logits_dtype=logits_dtype,
    )
    found = verify(made, models, data=image_data)
    assert found.largest_logit_difference <= 1e-6
    assert 20 <= found.views < 41  # whole blocks of 8, one of them of 1
    if logits_dtype == "float32":
        assert found.tolerance == 1e-4


def test_a_sample_may_be_the_whole_set(make_set, pair):
    paths, models = pair
    made = make_set(teacher_paths=paths)
    assert verify(made, models, sample=10_000).views == 82


@pytest.mark.parametrize("keep_members", [False, True])
def test_another_teacher_is_noticed(make_set, pair, keep_members):
    paths, models = pair
    made = make_set(teacher_paths=paths, keep_members=keep_members)
    changed = keras.models.clone_model(models[1])
    changed.set_weights([w + 1e-3 for w in models[1].get_weights()])
    with pytest.raises(UserError, match="differ by up to .* tolerated are 0.0001"):
        verify(made, {0: models[0], 1: changed})


def test_logits_that_are_not_numbers_are_no_match(make_set, pair, monkeypatch):
    paths, models = pair
    made = make_set(teacher_paths=paths)
    nothing = scorer.Scores(np.float32(np.nan), [], {})
    monkeypatch.setattr(scorer.Scorer, "scores", lambda *_: nothing)
    with pytest.raises(UserError, match="differ by up to nan"):
        verify(made, models)
