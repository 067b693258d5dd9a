"""A search from the outside: what it is asked, what it refuses, how it is extended.

No network is trained here; `test_search_training.py` does that.
"""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from kerasdistill import runs
from kerasdistill.errors import DivergedError, StaleArtifactError, UserError
from kerasdistill.experiments.search import definition, families, trials
from kerasdistill.running import training
from pipelines.views import live_views
from tuners import record

from .search_program import AUGMENTATION, SHAPE, asked, finish, outcomes, run

pytestmark = pytest.mark.usefixtures("uncollected")


def test_more_trials_go_on(image_data, tmp_path, pretended):
    found = run(image_data, tmp_path)
    folder = Path(found["search"])
    assert found["trials"] == 3 and found["failed_trials"] == 0
    assert found["fifth_best"] is None and found["mean_of_five_best"] is None
    told = json.loads((folder / "trials.json").read_text())
    assert [t["val_accuracy"] for t in told["trials"]] == [
        accuracy for _, _, accuracy, _ in outcomes(folder)
    ]
    assert (folder / "trials.csv").read_text().count("\n") == 4

    # Again: found. Two more: only these are trained, and five make a mean.
    assert run(image_data, tmp_path)["results"] == found["results"]
    assert len(pretended) == 3
    more = run(image_data, tmp_path, max_trials=5)
    assert len(pretended) == 5 and more["search"] == found["search"]
    scores = sorted((a for _, _, a, _ in outcomes(folder)), reverse=True)
    assert more["mean_of_five_best"] == pytest.approx(np.mean(scores))
    assert more["fifth_best"] == scores[-1] and more["best"] == scores[0]
    assert (
        found["best_trial"]
        == outcomes(folder).index(max(outcomes(folder)[:3], key=lambda row: row[2])) + 1
    )


@pytest.mark.slow
def test_it_says_what_its_model_believes(image_data, tmp_path, pretended, capsys):
    """After 20 trials and at the end, once each."""

    def said(trials: int) -> list[str]:
        run(image_data, tmp_path, max_trials=trials, oracle="sobol")
        lines = capsys.readouterr().err.splitlines()
        return [line.split(":")[0] for line in lines if line.startswith("after ")]

    assert said(21) == 2 * ["after 20 trials"] + 2 * ["after 21 trials"]
    assert said(21) == []
    assert said(22) == 2 * ["after 22 trials"]


def test_diverged_trials(image_data, tmp_path, pretended, monkeypatch):
    train = training.train

    def diverging(*what, run, **how):
        if run.path.name in ("trial_0", "trial_2"):
            raise DivergedError("the loss is nan at step 2")
        return train(*what, run=run, **how)

    monkeypatch.setattr(training, "train", diverging)
    found = run(image_data, tmp_path)
    assert found["best_trial"] == 2 and found["failed_trials"] == 2
    told = json.loads(Path(found["trials_table"]).read_text())["trials"]
    assert [t["status"] for t in told] == ["FAILED", "COMPLETED", "FAILED"]
    assert told[0]["val_accuracy"] is None and told[0]["values"]["c1"] >= 0


def test_no_score_at_all(image_data, tmp_path, monkeypatch):
    def diverging(*what, **how):
        raise DivergedError("the loss is nan at step 2")

    monkeypatch.setattr(training, "train", diverging)
    with pytest.raises(UserError, match="none of 3 trials .*nan at step 2"):
        run(image_data, tmp_path)
    with pytest.raises(UserError, match="none of 10 trials"):
        run(image_data, tmp_path, max_trials=50)
    again = []
    monkeypatch.setattr(training, "train", lambda *_, **__: again.append(1))
    with pytest.raises(UserError, match="none of 10 trials"):
        run(image_data, tmp_path, max_trials=50)
    assert not again


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"family": {"budget": 6_000, **SHAPE}}, "family.budget is 5000, not 6000"),
        ({"space": asked().space.fix({"c1": 0.5})}, "space.5.fixed is None, not 0.5"),
        ({"oracle": "gp"}, "oracle is 'random', not 'gp'"),
        ({"seed": 1}, "seed is 0, not 1"),
    ],
)
def test_another_searchs_folder_is_refused(changes, fragment, image_data, tmp_path):
    folder = str(tmp_path / "mine")
    search_, data = asked(folder=folder), image_data
    identity = definition.identity(search_, data, {})
    with runs.RunDirectory(Path(folder), identity):
        pass
    with pytest.raises(StaleArtifactError) as refusal:
        run(data, tmp_path, folder=folder, **changes)
    assert fragment in str(refusal.value)
    other = dataclasses.replace(data, name="circles")
    with pytest.raises(StaleArtifactError, match="dataset.name is 'shapes'"):
        run(other, tmp_path, folder=folder)


def test_the_objective_may_be_shrunken(image_data, tmp_path, pretended):
    found = run(
        image_data, tmp_path, max_trials=2, objective_views=20, objective_images=9
    )
    assert [len(data.validation) for data in pretended] == [9, 9]
    assert found["num_examples"]["validation"] == 15
    scores = [trial["val_accuracy"] * 9 for trial in record.trials(found["search"])]
    assert scores == pytest.approx(np.round(scores))
    with pytest.raises(UserError, match="`objective_views` is 42, but shapes has 41"):
        run(image_data, tmp_path, objective_views=42)
    with pytest.raises(UserError, match="`objective_images` is 16"):
        run(image_data, tmp_path, objective_images=16)
    endless = lambda recipe: finish(recipe, epochs=None)  # noqa: E731
    with pytest.raises(UserError, match="`epochs=N`"):
        run(image_data, tmp_path, objective_views=20, finish=endless)


@pytest.mark.parametrize("form", [lambda data: data, iter], ids=["dataset", "other"])
def test_shortened_epochs_begin_like_whole_ones(image_data, form):
    made = live_views.stream(
        image_data.train, augmentation=AUGMENTATION, seed=1, batch_size=8
    )
    batches = lambda epoch: form(made.batches(epoch))  # noqa: E731
    whole = dataclasses.replace(made, batches=batches)
    short = trials.shortened(whole, views=20, batch_size=8, epochs=3)
    assert (short.steps_per_epoch, short.examples_per_epoch) == (2, 16)

    def images(stream, epoch, count):
        read = itertools.islice(stream.batches(epoch), count)
        return [np.asarray(batch["image"]) for batch in read]

    expected = images(whole, 1, 2) + images(whole, 2, 2)
    for one, other in zip(images(short, 1, 4), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(images(short, 2, 5)) == 5  # those who measure read on


def test_labels_are_needed(image_data, tmp_path):
    unknown = dataclasses.replace(
        image_data.train, labels=np.full(len(image_data.train), -1)
    )
    with pytest.raises(UserError, match="has no labels"):
        run(dataclasses.replace(image_data, train=unknown), tmp_path)


def test_other_folders_have_no_teachers(image_data, tmp_path):
    with pytest.raises(UserError, match="no folder of a search for teachers"):
        families.teachers_found(tmp_path)
    identity = definition.identity(asked(), image_data, {})
    with runs.RunDirectory(tmp_path / "students", identity) as students:
        pass
    with pytest.raises(UserError, match="no folder of a search for teachers"):
        families.teachers_found(students.path)
