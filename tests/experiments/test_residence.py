"""Where a student's views come from: the choice, and that results don't show it."""

from dataclasses import replace
from pathlib import Path

import pytest

from kerasdistill import machine
from kerasdistill.budget import Budget
from kerasdistill.errors import UserError
from kerasdistill.experiments import student
from kerasdistill.recipes import urban2017
from kerasdistill.recipes.base import Augmentation
from kerasdistill.running import memory, timing
from kerasdistill.training.loop import Epochs
from pipelines import distillation_set
from pipelines.stored import resident

AUGMENTATION = Augmentation(min_crop=6)
PASSES = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A teacher and sets, made once for all tests of this module, by store."""
    return {}, tmp_path_factory.mktemp("made")


@pytest.fixture
def path_of(made, two_passes):
    """The function that gives the path of a set of two passes."""

    def path(store):
        sets, folder = made
        if store not in sets:
            how = {"store": store, "augmentation": AUGMENTATION}
            sets[store] = two_passes(folder, **how)
        return sets[store]

    return path


@pytest.fixture
def choose(path_of, image_data):
    """`memory.choose` for a store and its two passes."""

    def chosen(store, asked, *, epochs=None):
        stored = distillation_set.open(path_of(store), data=image_data)
        return memory.choose(stored, resident=asked, passes=PASSES, epochs=epochs)

    return chosen


@pytest.fixture
def room(path_of, image_data, monkeypatch):
    """The function that leaves room for a number of kept passes (0: for one)."""
    stored = distillation_set.open(path_of("replay"), data=image_data)

    def leave(kept, *, missing=0):
        needed = resident.bytes_needed(stored, kept=kept) - missing
        free = int(needed / memory.MOST_OF_MEMORY)
        monkeypatch.setattr(machine, "free_bytes", lambda: free)

    return leave


@pytest.mark.parametrize(
    ("store", "asked", "epochs", "expected", "because"),
    [
        ("replay", "auto", None, (True, True), "made once"),
        ("replay", "auto", 2 * PASSES, (True, True), "made once"),
        ("replay", "auto", 2 * PASSES - 1, (False, False), "fewer epochs than"),
        ("replay", "always", PASSES, (True, False), "made as it begins"),
        ("replay", "never", None, (False, False), "`resident='never'`"),
        ("images", "auto", None, (False, False), "store is images, not replay"),
        ("images", "never", None, (False, False), "`resident='never'`"),
    ],
)
def test_choice(choose, store, asked, epochs, expected, because):
    found = choose(store, asked, epochs=epochs)
    assert (found.in_memory, found.keep) == expected
    assert because in found.because


def test_choice_by_memory(choose, room):
    room(20)
    assert choose("replay", "auto").keep
    room(0)
    assert choose("replay", "auto").keep  # two passes are no more than a change of one
    room(0, missing=16)
    found = choose("replay", "auto")
    assert not found.in_memory and "a pass would take" in found.because
    with pytest.raises(UserError, match="always'`: a pass would take .* free; leave"):
        choose("replay", "always")


def test_passes_that_do_not_fit_are_not_kept(path_of, image_data, room):
    stored = distillation_set.open(path_of("replay"), data=image_data)
    room(19)
    found = memory.choose(stored, resident="auto", passes=20, epochs=None)
    assert not found.in_memory and "20 passes would take" in found.because
    found = memory.choose(stored, resident="always", passes=20, epochs=None)
    assert (found.in_memory, found.keep) == (True, False)


def test_always_needs_replay(choose):
    with pytest.raises(UserError, match="always'`: the set's store is images"):
        choose("images", "always")


def test_free_memory_is_a_part_of_the_machines():
    text = Path("/proc/meminfo").read_text()
    total = 1024 * int(text.split()[1])
    assert 0 < machine.free_bytes() <= total


@pytest.mark.slow
def test_results_do_not_depend_on_it(
    path_of, image_data, tmp_path, capsys, monkeypatch
):
    recipe = urban2017.student(
        budget=Budget(5_000),
        convs=2,
        kernel=3,
        image_shape=image_data.image_shape,
        num_classes=image_data.num_classes,
    )
    training = replace(recipe.training, schedule="cosine", epochs=4, batch_size=16)
    recipe = replace(recipe, training=training, augmentation=AUGMENTATION)

    def run(workdir, **changes):
        return student.run(
            recipe,
            data=image_data,
            workdir=tmp_path / workdir,
            distillation_set_path=path_of("replay"),
            **changes,
        )

    piped = run("piped", resident="never")
    assert "views come through the reader" in capsys.readouterr().err
    # It was measured once; a second time would say nothing new.
    speed = timing.Speed(
        step_seconds=0.1, scoring_rate=1e3, startup_seconds=1.0, num_params=5_000
    )
    monkeypatch.setattr(timing, "measure", lambda *_, **__: speed)
    held = run("held")
    assert "each pass is held in memory, made once" in capsys.readouterr().err
    for name in ("weights_digest", "val_accuracy", "test_accuracy", "epochs"):
        assert piped[name] == held[name]
    # It is the same run.
    monkeypatch.setattr(Epochs, "run", lambda *_: pytest.fail("trained"))
    assert run("piped", resident="always") == piped
