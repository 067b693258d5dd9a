"""Stored answers of language models: what is kept, resumed, read back and refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.models import language
from kerasdistill.recipes.architectures import Lstm
from pipelines.words import job as text_job
from pipelines.words import text, text_signal

IN_PROCESS = ("--direct_running_mode=in_memory",)
CUT = {"streams": 5, "length": 4}


def data(seed=0, words=("<eos>", "<unk>", "a", "b", "c", "d")):
    generator = np.random.default_rng(seed)
    splits = [generator.integers(0, 6, n).astype(np.int32) for n in (58, 9, 9)]
    return text.TextData("tiny", words, *splits)


def cut_of(tiny):
    return text.windows(tiny.train, end=0, **CUT)


def teacher(seed=0):
    model = language.build(Lstm(3, 1, 0.0), words=data().words, seed=seed)
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=w.shape) for w in model.get_weights()])
    return model


def job_for(folder, *, top_k=3, tiny=None):
    tiny = tiny or data()
    paths = [folder / f"teacher-{seed}.keras" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        teacher(seed).save(path)
    cut = cut_of(tiny)
    request = text_signal.Request(
        dataset=tiny.identity(),
        teachers=("0" * 64, "1" * 64),
        streams=5,
        window=4,
        windows=len(cut),
        top_k=top_k,
    )
    return text_job.TextJob(
        output=str(folder / "signal"),
        teachers=tuple(map(str, paths)),
        windows=str(folder / "signal" / text_job.SCRATCH / "windows.npz"),
        request=request,
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    made = job_for(tmp_path_factory.mktemp("signal"))
    text_job.make(made, cut_of(data()), beam_options=IN_PROCESS)
    return made


def read(job, path=None, **changes):
    asked = {"data": data(), "streams": 5, "window": 4, **changes}
    return text_signal.read(path or job.output, **asked)


def test_it_holds_the_largest_of_the_mean(job):
    cut, models = cut_of(data()), [teacher(0), teacher(1)]
    states = [language.start(model, 5) for model in models]
    signal = read(job)
    batches = signal.stream(cut).batches(0).take(2 * len(cut)).as_numpy_iterator()
    for number, batch in enumerate(batches):
        if number == len(cut):  # the next epoch reads the same again
            states = [language.start(model, 5) for model in models]
        probabilities = 0
        for i, model in enumerate(models):
            ids = tf.constant(cut.ids[number % len(cut)])
            logits, *states[i] = model([ids, *states[i]])
            probabilities = probabilities + tf.nn.softmax(logits).numpy() / 2
        np.testing.assert_array_equal(batch["targets"], cut.targets[number % len(cut)])
        assert bool(batch["begins"]) == (number % len(cut) == 0)
        kept = np.take_along_axis(probabilities, batch["teacher_ids"], axis=-1)
        largest = np.sort(probabilities, axis=-1)[..., :-4:-1]
        np.testing.assert_allclose(kept, largest, rtol=1e-5)
        stored = np.exp(batch["teacher_log_probabilities"])
        np.testing.assert_allclose(stored, kept, rtol=3e-3)


def test_manifest_tells_size_and_mass(job):
    manifest = read(job).manifest
    assert [shard["name"] for shard in manifest["shards"]] == [
        "signal.tfrecord-00000-of-00002",
        "signal.tfrecord-00001-of-00002",
    ]
    assert sum(shard["words"] for shard in manifest["shards"]) == 58
    assert 0.5 < manifest["covered_probability"] < 1
    assert sum(s["bytes"] for s in manifest["shards"]) >= job.request.num_bytes
    assert job.request.num_bytes == 5 * 4 * job.request.windows * 3 * 4


def test_finished_shards_are_kept(job, tmp_path):
    import shutil

    made = job_for(tmp_path)
    shutil.copytree(job.output, made.output)
    (tmp_path / "signal" / "manifest.json").unlink()
    last = made.request.shards[1]
    (tmp_path / "signal" / "sidecars" / f"{last}.json").unlink()
    first = tmp_path / "signal" / made.request.shards[0]
    before = first.stat().st_mtime_ns
    text_job.make(made, cut_of(data()), beam_options=IN_PROCESS)
    assert first.stat().st_mtime_ns == before
    assert read(made).digest == read(job).digest


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"data": data(seed=1)}, ["another text", "digest"]),
        ({"data": data(words=("<eos>", "<unk>", "a", "b", "c", "x"))}, ["vocabulary"]),
        ({"streams": 4}, ["streams 5, expected 4", "`batch_size=5`"]),
        ({"window": 3}, ["window 4, expected 3", "`window=4`"]),
    ],
)
def test_signal_of_something_else_is_refused(job, changes, fragments):
    with pytest.raises(UserError) as refused:
        read(job, **changes)
    assert all(fragment in str(refused.value) for fragment in fragments)


def test_damage_is_refused(job, tmp_path):
    import shutil

    for name, damage in (
        ("manifest.json", lambda b: b.replace(b'"top_k": 3', b'"top_k": 2')),
        ("manifest.json", lambda b: b[:50]),
        ("signal.tfrecord-00001-of-00002", lambda b: b[:-1] + b"\0"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(job.output, copy, dirs_exist_ok=True)
        file = copy / name
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(StaleArtifactError):
            text_signal.read(copy, data=data(), streams=5, window=4)


def test_unfinished_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a finished signal"):
        text_signal.read(tmp_path, data=data(), streams=5, window=4)


def test_more_words_than_there_are_cannot_be_kept(tmp_path):
    with pytest.raises(UserError, match="`top_k=7`"):
        job_for(tmp_path, top_k=7)


def test_manifest_is_plain_json(job):
    from pathlib import Path

    value = json.loads((Path(job.output) / "manifest.json").read_text())
    assert value["schema_version"] == 1 and len(value["teachers"]) == 2
