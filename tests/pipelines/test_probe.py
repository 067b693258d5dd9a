"""How many workers there will be, how fast one is, and what that makes."""

import subprocess

import pytest

from kerasdistill.recipes.base import Augmentation
from pipelines.beam import probe, runners
from pipelines.beam.probe import WorkerSpeed
from pipelines.stored.layout import Layout, sidecar_name
from pipelines.stored.remaining import missing_work
from pipelines.views import draws

pytestmark = pytest.mark.measured

SPEED = WorkerSpeed(views_per_second=100.0, startup_seconds=5.0)


@pytest.mark.parametrize(
    ("shards", "workers", "seconds"),
    [
        ([1000] * 10, 2, 7 + 50),
        ([1000] * 10, 0, 5 + 100),  # in this process
        ([1000, 100], 4, 7 + 10),  # a shard is one worker's
        ([1000, 1000, 500], 2, 7 + 15),
        ([], 4, 0),
    ],
)
def test_expected_seconds(shards, workers, seconds):
    found = probe.expected_seconds(shards, workers=workers, speed=SPEED)
    assert found == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("options", "asked", "count"),
    [
        ([], None, 7),
        ([], 3, 3),
        (["--direct_num_workers=2"], None, 2),
        (["--direct_running_mode=in_memory"], None, 0),
        (["--runner=FlinkRunner"], 3, None),
        (["--runner=FnApiRunner"], None, 7),
    ],
)
def test_who_does_the_work(monkeypatch, options, asked, count):
    monkeypatch.setattr(runners, "_default_workers", lambda: 7)
    assert probe.count_workers(options, asked) == count


def measured(paths, workers):
    return probe.measure(
        paths,
        image_shape=(8, 8, 3),
        augmentation=Augmentation(min_crop=6),
        workers=workers,
    )


def test_measuring_in_this_process(teacher_path, monkeypatch):
    monkeypatch.setattr(probe, "_SECONDS", 0.0)
    speed = measured([teacher_path], 0)
    assert speed.views_per_second > 10 and 0 < speed.startup_seconds < 60


@pytest.mark.slow
def test_measuring_in_processes_of_their_own(teacher_path):
    speed = measured([teacher_path], 2)
    assert speed.views_per_second > 10 and 1 < speed.startup_seconds < 120


def test_a_probe_that_fails_is_no_speed(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_worker_words", lambda: ["false"])
    assert measured([tmp_path / "nowhere.keras"], 2) is None


def test_missing_shards(make_set, image_data, tmp_path):
    def missing_shards(folder, layout):
        return missing_work(folder, layout, data=image_data, store="replay")[0]

    made = make_set(passes=2)
    layout = Layout(41, 15, 2, 5, 8, 16)
    assert missing_shards(made.distillation_set, layout) == []
    assert missing_shards(tmp_path / "nowhere", layout) == [16, 16, 9] * 2 + [15]
    assert missing_shards(None, layout) == [16, 16, 9] * 2 + [15]
    path = tmp_path / "set"
    names = layout.shard_names()
    (path / names[0]).unlink()
    (path / sidecar_name(names[2])).write_text("{")
    with open(path / names[4], "ab") as file:
        file.write(b"x")
    assert missing_shards(path, layout) == [16, 9, 16]
    longer = Layout(41, 15, 3, 5, 8, 16)
    assert missing_shards(path, longer) == [16, 9, 16, 16, 16, 9]


def test_a_worker_has_our_packages_where_others_of_their_names_lie(tmp_path):
    (tmp_path / "pipelines.py").write_text("raise RuntimeError('not ours')")
    code = "import pipelines.views.draws as ours; print(ours.__file__)"
    *words, _ = probe._worker_words()
    done = subprocess.run([*words, code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == draws.__file__, done.stderr
