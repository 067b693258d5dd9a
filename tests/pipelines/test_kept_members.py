"""Sets that keep every member's logits: chosen, averaged and joined later."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from pipelines import distillation_set
from pipelines.stored import planning

from .conftest import build_teacher


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    """Three teachers of different weights."""
    folder, paths = tmp_path_factory.mktemp("trio"), []
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        path = folder / f"{'abc'[seed]}.keras"
        model = build_teacher()
        model.layers[-1].kernel.assign(3.0 * model.layers[-1].kernel)
        model.save(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def kept(make_set, trio):
    """The function that makes a set of these teachers and keeps their logits."""

    def make(name, count=3, **changes):
        arguments = {"teacher_paths": trio[:count], "passes": 1, "keep_members": True}
        return make_set(name, **{**arguments, **changes})

    return make


def logits(made, *, data=None, **chosen):
    opened = distillation_set.open(made.distillation_set, data=data, **chosen)
    parts = [batch["teacher_logits"] for batch in opened.dataset(41)]
    return np.concatenate([*parts, opened.validation_logits()])


def test_any_subset_equals_a_set_made_by_it(kept, make_set, trio):
    made = kept("kept")
    for members in ([2], [1, 3], [1, 2, 3]):
        paths = [trio[number - 1] for number in members]
        alone = make_set(f"of {len(paths)}{members[0]}", teacher_paths=paths, passes=1)
        np.testing.assert_array_equal(logits(made, members=members), logits(alone))
    np.testing.assert_array_equal(logits(made), logits(made, members=[3, 2, 1]))


def test_probabilities_can_be_averaged_instead(kept):
    made = kept("kept")
    each = np.stack([logits(made, members=[number]) for number in (1, 2, 3)])
    each = np.exp(each - each.max(-1, keepdims=True))
    expected = np.log((each / each.sum(-1, keepdims=True)).mean(0))
    found = logits(made, averaging="mean-probabilities")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, logits(made), atol=1e-3)


def test_a_student_tells_the_choices_apart(kept):
    path = kept("kept").distillation_set
    choices = [{}, {"members": [1]}, {"members": [2]}]
    choices += [{"averaging": "mean-probabilities"}]
    opened = [distillation_set.open(path, **choice) for choice in choices]
    digests = {each.shards_digest(1) for each in opened}
    assert len(digests) == len(choices)


@pytest.mark.parametrize(
    ("store", "logits_dtype"),
    [
        ("replay", "float16"),
        pytest.param("images", "float32", marks=pytest.mark.slow),
        pytest.param("images", "float16", marks=pytest.mark.slow),
        pytest.param("replay", "float32", marks=pytest.mark.slow),
    ],
)
def test_a_joined_member_gives_the_set_made_at_once(
    kept, trio, image_data, store, logits_dtype
):
    asked = {"store": store, "logits_dtype": logits_dtype}
    at_once = kept("at once", passes=2, **asked)
    kept("joined", 2, **asked)
    folder = Path(at_once.distillation_set).parent / "joined"
    views = {path: path.read_bytes() for path in folder.glob("pass-*")}
    joined = kept("joined", teacher_paths=trio[2:], **asked)  # its own file only
    assert (joined.members, joined.shards_done) == ((3,), 4)
    assert {path: path.read_bytes() for path in folder.glob("pass-*")} == views
    longer = kept("joined", passes=2, **asked)
    assert longer.members == (1, 2, 3)
    assert longer.content_digest == at_once.content_digest
    np.testing.assert_array_equal(
        logits(longer, data=image_data), logits(at_once, data=image_data)
    )
    fewer = kept("joined", 1, **asked)
    assert (fewer.members, fewer.shards_done) == ((1,), 0)
    assert fewer.content_digest == at_once.content_digest


def test_new_passes_need_every_member(kept, trio):
    kept("kept")
    with pytest.raises(UserError, match=r"logits of member 2 \(b\.keras\)"):
        kept("kept", teacher_paths=[trio[0], trio[2]], passes=2)


def test_only_a_damaged_members_logits_are_scored_again(kept):
    made = kept("kept")
    path = sorted(Path(made.distillation_set).glob("member-*-pass-*"))[0]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StaleArtifactError, match=f"shard {path.name} is damaged"):
        distillation_set.open(made.distillation_set, members=[1, 2])
        distillation_set.open(made.distillation_set, members=[3])
    again = kept("kept")
    assert (again.shards_done, again.content_digest) == (1, made.content_digest)


def test_logits_of_other_views_are_noticed(kept):
    made = kept("kept")
    opened = distillation_set.open(made.distillation_set, members=[1])
    name = f"member-{opened.manifest.teachers[0]['weights_digest'][:12]}-pass-*"
    first, second = sorted(Path(made.distillation_set).glob(name))[:2]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(StaleArtifactError, match=first.name), opened.reading():
        list(opened.dataset(41))
    unstamped = dataclasses.replace(opened, stamps={})
    with pytest.raises(StaleArtifactError, match="belong to other views"):
        with unstamped.reading():
            list(unstamped.dataset(41))


def test_without_kept_members_there_is_nothing_to_choose(make_set, trio):
    made = make_set(teacher_paths=trio, passes=1)
    with pytest.raises(UserError, match="with `keep_members=True`"):
        logits(made, members=[1])
    with pytest.raises(UserError, match="with `keep_members=True`"):
        logits(made, averaging="mean-probabilities")
    with pytest.raises(UserError, match="averaging 'median' is not known"):
        logits(made, averaging="median")
    with pytest.raises(UserError, match="member 4 is not in"):
        logits(made, members=[4])
    with pytest.raises(UserError, match="one twice"):
        logits(made, members=[1, 1])
    with pytest.raises(StaleArtifactError, match="field keep_members is False"):
        make_set(teacher_paths=trio, passes=1, keep_members=True)


def test_a_teacher_named_twice_is_refused(make_set, trio):
    with pytest.raises(UserError, match="two of the teachers are the same"):
        make_set(teacher_paths=[trio[0], trio[0]])


def test_half_precision_holds_the_nearest_numbers_in_less_space(make_set):
    exact = make_set("f4", store="images")
    half = make_set("f2", store="images", logits_dtype="float16")
    assert half.content_digest != exact.content_digest
    assert half.bytes < exact.bytes
    expected = logits(exact).astype("f2").astype("f4")
    np.testing.assert_array_equal(logits(half), expected)


def test_a_logit_too_large_for_half_precision_is_refused(make_set, tmp_path):
    model = build_teacher()
    model.layers[-1].bias.assign([0.0, -70_000.0, 1.0])
    model.save(tmp_path / "large.keras")
    with pytest.raises(UserError, match=r"logit of 7e\+04, too large for float16"):
        make_set(teacher_paths=[str(tmp_path / "large.keras")], logits_dtype="float16")


def test_a_set_takes_about_the_planned_bytes(kept, image_data):
    made = kept("kept")
    planned = planning.planned_bytes(
        image_data, passes=1, store="images", kept_members=3
    )
    slack = 4 * 10_000  # for one pass of four files
    assert planned - slack < made.bytes < planned
