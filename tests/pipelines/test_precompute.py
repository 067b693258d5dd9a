import collections
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes.base import Augmentation
from pipelines import checking, distillation_set, precompute
from pipelines.beam import progress, runners
from pipelines.stored import planning
from pipelines.stored.layout import Layout

from .conftest import build_teacher


def save(model, folder, card=None):
    folder.mkdir()
    path = folder / "model.keras"
    model.save(path)
    if card is not None:
        (folder / "card.json").write_text(json.dumps(card))
    return str(path)


def last_layer(model, *, kernel=0.0, bias=0.0):
    """Makes the model's outputs constant: `bias` for every class."""
    weights = model.layers[-1]
    weights.kernel.assign(keras.ops.full_like(weights.kernel, kernel))
    weights.bias.assign(keras.ops.full_like(weights.bias, bias))
    return model


def test_the_set_is_complete_and_tells_what_it_depends_on(
    make_set, image_data, teacher_path
):
    made = make_set(passes=2)
    path = Path(made.distillation_set)
    assert (made.views, made.shards_done, made.shards_skipped) == (82, 7, 0)
    assert made.views_per_second > 0
    shards = sorted(path.glob("*.tfrecord-?????-of-?????"))
    assert [p.name for p in shards][:2] == [
        "pass-00000.tfrecord-00000-of-00003",
        "pass-00000.tfrecord-00001-of-00003",
    ]
    assert made.bytes == sum(p.stat().st_size for p in shards)
    assert not (path / ".work").exists()
    manifest = distillation_set.open(path).manifest
    assert manifest.content_digest == made.content_digest
    assert manifest.dataset == image_data.identity()
    assert manifest.augmentation == dataclasses.asdict(Augmentation(min_crop=6))
    teacher = keras.models.load_model(teacher_path)
    assert manifest.teachers == (
        {
            "weights_digest": weights_digest(teacher),
            "file": "model.keras",
            "precision": "float32",
        },
    )
    assert manifest.averaging == "mean-logits"
    assert manifest.scoring == {"device": "cpu"}
    assert (manifest.stored_mean_of, manifest.member_shards) == (1, ())
    assert set(manifest.environment) >= {"tensorflow", "cpu_features"}


@pytest.mark.parametrize("store", ["images", "replay"])
def test_the_validation_logits_are_the_teachers(
    make_set, teacher_path, image_data, store
):
    made = make_set(passes=1, store=store)
    teacher = keras.models.load_model(teacher_path)
    images = image_data.validation.images.astype("float32")
    stored = distillation_set.open(made.distillation_set, data=image_data)
    np.testing.assert_allclose(
        stored.validation_logits(), teacher(images, training=False), atol=1e-5
    )


def test_the_logits_are_the_teachers_on_the_stored_pixels(make_set, teacher_path):
    made = make_set()
    teacher = keras.models.load_model(teacher_path)
    stored = distillation_set.open(made.distillation_set)
    agreeing = 0
    for batch in stored.dataset(41).as_numpy_iterator():
        logits = teacher(batch["image"].astype("float32"), training=False).numpy()
        np.testing.assert_allclose(batch["teacher_logits"], logits, atol=1e-5)
        agreeing += (batch["teacher_logits"].argmax(1) == batch["label"]).sum()
    shards = stored.manifest.shards[:-1]  # the last holds the validation images
    told = sum(shard.teacher_label_agreement * shard.views for shard in shards)
    assert told == pytest.approx(agreeing)


def test_several_teachers_give_the_mean_of_their_logits(
    make_set, teacher_path, tmp_path
):
    keras.utils.set_random_seed(4)
    other = save(build_teacher(), tmp_path / "other")
    logits = []
    for paths in ([teacher_path], [other], [teacher_path, other]):
        made = make_set(f"set {len(logits)}", teacher_paths=paths, passes=1)
        stored = distillation_set.open(made.distillation_set).dataset(41)
        logits.append(next(stored.as_numpy_iterator())["teacher_logits"])
    assert not np.allclose(logits[0], logits[1], atol=1e-3)
    np.testing.assert_allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-6)


def test_the_content_depends_on_the_request_and_on_nothing_else(make_set):
    reference = make_set("reference").content_digest
    for name, same in {
        "store": {"store": "replay"},
        "shards": {"views_per_shard": 1},
    }.items():
        assert make_set(name, **same).content_digest == reference, name
    for name, other in {
        "seed": {"seed": 6},
        "augmentation": {"augmentation": Augmentation(min_crop=6, hue=0.05)},
    }.items():
        assert make_set(name, **other).content_digest != reference, name


def test_the_content_digest_ignores_the_order_of_blocks():
    blocks = [[0, 0, "aa"], [0, 1, "bb"], [1, 0, "cc"]]
    digest = planning.content_digest(blocks)
    assert planning.content_digest(blocks[::-1]) == digest
    assert planning.content_digest([[0, 0, "bb"], [0, 1, "aa"], blocks[2]]) != digest


def test_resuming_makes_only_what_is_missing_or_damaged(make_set):
    first = make_set()
    path = Path(first.distillation_set)
    shards = sorted(path.glob("*.tfrecord-*"))
    before = {shard.name: shard.stat().st_mtime_ns for shard in shards}
    (path / "manifest.json").unlink()
    shards[0].unlink()
    shards[2].write_bytes(shards[2].read_bytes()[:-1])
    (path / "sidecars" / f"{shards[4].name}.json").unlink()
    again = make_set()
    assert (again.shards_done, again.shards_skipped) == (3, 4)
    assert again.content_digest == first.content_digest
    kept = [s.name for s in shards if before[s.name] == s.stat().st_mtime_ns]
    assert kept == [shards[index].name for index in (1, 3, 5, 6)]
    distillation_set.open(path)
    third = make_set()
    assert (third.shards_done, third.views_per_second) == (0, 0.0)
    assert dataclasses.replace(third, shards_done=3, shards_skipped=4) == (
        dataclasses.replace(again, views_per_second=0.0)
    )


def test_more_passes_extend_the_set_and_fewer_leave_it(make_set):
    make_set(passes=1)
    longer = make_set(passes=3)
    assert (longer.shards_done, longer.shards_skipped) == (6, 4)
    assert longer.content_digest == make_set("whole", passes=3).content_digest
    fewer = make_set(passes=2)
    assert (fewer.shards_done, fewer.content_digest) == (0, longer.content_digest)


def test_an_extension_that_stops_halfway_leaves_the_set_readable(make_set, monkeypatch):
    path = make_set(passes=1).distillation_set

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(precompute, "run_pipeline", stop)
        make_set(passes=2)
    assert len(distillation_set.open(path).dataset(41)) == 1
    assert make_set(passes=2).shards_skipped == 4


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": 6}, "seed"),
        ({"store": "replay"}, "store"),
        ({"augmentation": Augmentation(min_crop=6, value=0)}, r"augmentation\.value"),
        ({"views_per_shard": 8}, "views_per_shard"),
    ],
)
def test_a_directory_of_another_request_is_refused(make_set, changes, field):
    make_set(passes=1)
    with pytest.raises(StaleArtifactError, match=f"field {field} is"):
        make_set(passes=1, **changes)


def test_a_directory_of_another_teacher_is_refused(make_set, tmp_path, teacher_path):
    make_set(passes=1)
    renamed = tmp_path / "renamed.keras"
    renamed.write_bytes(Path(teacher_path).read_bytes())
    assert make_set(passes=1, teacher_paths=[str(renamed)]).shards_done == 0
    other = save(last_layer(build_teacher()), tmp_path / "other")
    with pytest.raises(StaleArtifactError, match=r"teachers\[0\]\.weights_digest"):
        make_set(passes=1, teacher_paths=[other])


def test_an_unfinished_set_of_another_request_is_refused(make_set):
    path = Path(make_set(passes=1).distillation_set)
    (path / "manifest.json").unlink()
    with pytest.raises(StaleArtifactError, match="field seed is 5 there, 6 here"):
        make_set(passes=1, seed=6)
    (path / "plan.json").write_text("{}")
    with pytest.raises(StaleArtifactError, match=r"plan\.json is damaged"):
        make_set(passes=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"passes": 0}, "passes is 0, expected at least 1"),
        ({"workers": 0}, "workers is 0"),
        ({"store": "pictures"}, "store 'pictures' is not known; use images or replay"),
        ({"teacher_paths": []}, "no teacher given"),
        ({"teacher_paths": ["nowhere.keras"]}, "nowhere.keras does not exist"),
        ({"beam_options": ["--runner=PrismRunner"]}, "downloads a program"),
        ({"beam_options": ["--runner=NoSuchRunner"]}, "NoSuchRunner cannot be used"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_written(
    make_set, tmp_path, changes, message
):
    with pytest.raises(UserError, match=message):
        make_set("refused", **changes)
    assert not (tmp_path / "refused").exists()


def test_a_full_disk_is_noticed_beforehand(make_set, tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 8, 1000))
    with pytest.raises(UserError, match="GB free, .* are needed"):
        make_set("refused")
    assert not (tmp_path / "refused").exists()


def test_an_output_that_cannot_be_written_is_a_bad_request(make_set, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file cannot be written to; choose another"):
        make_set("file")


def test_a_set_takes_about_the_planned_bytes(make_set, image_data):
    for store in ("images", "replay"):
        made = make_set(store, store=store, passes=1)
        planned = planning.planned_bytes(image_data, passes=1, store=store)
        assert made.bytes < planned


def test_a_teacher_with_other_classes_is_refused(make_set, tmp_path):
    path = save(build_teacher(classes=4), tmp_path / "four")
    with pytest.raises(UserError, match="has images of .* and 3 classes"):
        make_set(teacher_paths=[path])


def test_a_teacher_that_outputs_probabilities_is_refused(make_set, tmp_path):
    path = save(build_teacher(activation="softmax"), tmp_path / "softmax")
    with pytest.raises(UserError, match="outputs probabilities, expected logits"):
        make_set(teacher_paths=[path])


def test_a_cardless_teacher_that_ignores_the_labels_needs_force(
    make_set, tmp_path, image_data
):
    path = save(last_layer(build_teacher(), bias=-1.0), tmp_path / "constant")
    with pytest.raises(UserError, match="never says .*`force=True`"):
        make_set(teacher_paths=[path], force=False)
    assert make_set("forced", teacher_paths=[path], passes=1).views == 41
    card = {"class_names": list(image_data.class_names)}
    known = save(last_layer(build_teacher(), bias=-1.0), tmp_path / "known", card)
    assert make_set("known set", teacher_paths=[known], passes=1, force=False)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"class_names": ["star", "square", "circle"]}, r"card's class_names\[0\]"),
        ({"dataset": {"name": "cifar10"}}, r"card's dataset\.name is 'cifar10'"),
        ({"dataset": {"split_seed": 1}}, r"card's dataset\.split_seed is 1"),
        ({"weights_digest": "0"}, "describes other weights"),
        ([], "not a JSON object"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(make_set, tmp_path, card, message):
    path = save(build_teacher(), tmp_path / "carded", card)
    with pytest.raises(UserError, match=message):
        make_set(teacher_paths=[path])


def test_a_card_that_fits_is_accepted(make_set, tmp_path, image_data):
    model = build_teacher()
    card = {
        "class_names": list(image_data.class_names),
        "dataset": image_data.identity(),
        "weights_digest": weights_digest(model),
    }
    path = save(model, tmp_path / "carded", card)
    assert make_set(teacher_paths=[path], passes=1, force=False).views == 41


def test_a_diverged_teacher_is_refused_beforehand(make_set, tmp_path):
    path = save(last_layer(build_teacher(), bias=np.nan), tmp_path / "nan")
    with pytest.raises(UserError, match="gives NaN or infinite logits"):
        make_set("refused", teacher_paths=[path])
    assert not (tmp_path / "refused").exists()


def test_logits_that_turn_out_infinite_stop_the_job_with_one_line(
    make_set, tmp_path, monkeypatch
):
    path = save(last_layer(build_teacher(), bias=np.inf), tmp_path / "infinite")
    monkeypatch.setattr(checking, "check_teacher", lambda *_, **__: None)
    message = r"^shard pass-0000\d.tfrecord-.*: the teacher gave NaN or infinite"
    with pytest.raises(UserError, match=message):
        make_set(teacher_paths=[path])


def test_progress_counts_shards_and_says_when_it_ends(make_set):
    seen = []
    make_set(progress=lambda *state: seen.append(state))
    assert seen[0] == (0, 7, None)
    assert seen[-1] == (7, 7, 0.0)


def test_the_workers_start_says_nothing_of_the_shards_to_come():
    for ready in (1, 5, 24):  # a second each, after twenty
        left = progress.seconds_left(20.0 + ready, ready, 25, start=20.0)
        assert left == pytest.approx(25 - ready)


def test_a_teacher_that_the_plan_has_tried_is_not_tried_again(make_set, tmp_path):
    softmax = build_teacher(activation="softmax")
    path = save(softmax, tmp_path / "softmax")
    with pytest.raises(UserError, match="probabilities"):
        make_set(teacher_paths=[path])
    seen = precompute.Seen(checked={weights_digest(softmax)})
    assert make_set(teacher_paths=[path], seen=seen).shards_done


def test_a_printed_line_of_progress_has_the_time_left(capsys):
    progress.print_progress(3, 6, 3725.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "precompute: 3 of 6 shards, 1:02:05 left\n"


def test_beam_knows_its_own_options():
    argv = ["--runner", "FlinkRunner", "--streaming", "--store", "images", "--typo=3"]
    known, unknown = runners.split_beam_options(argv)
    assert known == ["--runner", "FlinkRunner", "--streaming"]
    assert unknown == ["--store", "images", "--typo=3"]
    assert runners.split_beam_options(["stray"]) == ([], ["stray"])
    assert runners.split_beam_options(["--streaming", "stray"]) == (
        ["--streaming"],
        ["stray"],
    )


def test_a_mistyped_option_is_told_the_nearest_one():
    with pytest.raises(UserError, match="--runer is not known.*did you mean --runner"):
        runners.beam_options(["--runer=FlinkRunner"])
    with pytest.raises(UserError, match="did you mean --passes"):
        runners.beam_options(["--pases", "3"], own_options=["--passes"])
    with pytest.raises(UserError, match="Beam refuses an option"):
        runners.beam_options(["--direct_num_workers=many"])


def test_after_two_dashes_every_option_passes():
    argv = ["--runner=X", "--", "--anything", "goes"]
    assert runners.beam_options(argv) == ["--runner=X", "--anything", "goes"]


def test_a_shard_holds_the_views_its_layout_says(make_set):
    made = make_set(passes=1)
    manifest = distillation_set.open(made.distillation_set).manifest
    layout = Layout(41, 15, passes=1, seed=5, block_views=8, views_per_shard=16)
    assert manifest.layout == layout
    assert [shard.views for shard in manifest.shards] == [16, 16, 9, 15]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_give_the_same_content(make_set, workers):
    here = make_set("here", store="replay")
    apart = make_set("apart", beam_options=(), workers=workers)
    assert apart.content_digest == here.content_digest
    assert apart.shards_done == 7


@pytest.mark.slow
# The threads in which Beam talks to the killed worker end with its connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_worker_fails_the_job_and_what_is_done_stays(make_set, tmp_path):
    failure = []

    def precompute_many():
        try:
            make_set(passes=3000, beam_options=(), workers=2, store="replay")
        except RuntimeError as error:
            failure.append(error)

    thread = threading.Thread(target=precompute_many)
    thread.start()
    while not list(tmp_path.glob("set/sidecars/*.json")) and thread.is_alive():
        time.sleep(0.1)
    os.kill(worker_processes()[0], signal.SIGKILL)
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert "a worker process ended unexpectedly" in str(failure[0])
    assert worker_processes() == []
    with pytest.raises(UserError, match="is unfinished: it has [1-9]"):
        distillation_set.open(tmp_path / "set")


def worker_processes():
    """Ids of this process' own children that are Beam workers."""
    listed = subprocess.run(
        ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, command in lines if "sdk_worker_main" in command]


@pytest.mark.slow
def test_workers_find_the_packages_from_any_folder(image_data, teacher_path, tmp_path):
    root = Path(precompute.__file__).parents[1]
    code = (
        "from pathlib import Path; from tests.conftest import make_examples, CLASSES; "
        "from pipelines import precompute; from pipelines.datasets import ImageData; "
        "from kerasdistill.recipes.base import Augmentation; "
        "data = ImageData('shapes', '1', CLASSES, 0, "
        "*map(make_examples, [41, 3, 3]), "
        "'0' * 64); made = precompute.run(data=data, "
        f"teacher_paths=[{teacher_path!r}], "
        "augmentation=Augmentation(min_crop=6), passes=1, store='replay', "
        "output='set', seed=5, workers=1, block_views=8, force=True); "
        "print(made.content_digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 64
    assert (tmp_path / "set" / "manifest.json").exists()
