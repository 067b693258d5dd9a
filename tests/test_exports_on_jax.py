"""What a run on JAX leaves: written by TensorFlow in a process of its own.

This module is also the program of such a run: `python test_exports_on_jax.py CASE
FOLDER`. Each case works on Keras' JAX backend; what it left is looked at here.
"""

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill import evaluation
from kerasdistill.budget import Budget
from kerasdistill.errors import UserError, WorkersLostError
from kerasdistill.exports import cards, formats, saved_model
from kerasdistill.exports import language as language_export
from kerasdistill.models import (
    copies,
    ensemble,
    fast_layers,
    language,
    loading,
    saved,
    trust,
    urban,
)
from kerasdistill.models.build import build
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes import born_again, urban2017
from kerasdistill.recipes.architectures import CharCnnLstm, Lstm
from kerasdistill.training import engines, language_models

SHAPE = {"image_shape": (16, 16, 3), "num_classes": 4}
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3)).astype("uint8")
DATASET = {"name": "shapes", "vocabulary_digest": "0"}
WORDS = ("<eos>", "<unk>", "a", "of", "the", "company")
SAMPLE = np.array([2, 3, 4, 5, 1, 2], "int32")
TEXT = {"end": 0, "unknown": 1}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="jax is not installed: kerasdistill[jax]",
)


# What runs on JAX -------------------------------------------------------------------


def small(*more, name="small"):
    """With our layers, which the file of a model holds as Keras' own."""
    image = keras.Input(SHAPE["image_shape"], name="image")
    x = keras.layers.Conv2D(4, 3, name="convolution")(image)
    x = fast_layers.BatchNormalization(name="norm")(x)
    x = fast_layers.Dropout(0.3)(x)
    for layer in more:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(4)(x), name=name)
    model.get_layer("norm").moving_mean.assign([9.0, 3.0, 1.0, 5.0])
    return model


def student(convs, precision="float32"):
    recipe = urban2017.student(budget=Budget(30_000), convs=convs, **SHAPE)
    return urban.build(recipe.architecture, seed=3, precision=precision, **SHAPE)


def teacher(name):
    return build(born_again.architecture(name), seed=1, **SHAPE)


NETWORKS = {
    "student, bfloat16": lambda: student(1, "mixed_bfloat16"),
    "teacher": lambda: teacher("wide-resnet-10-1"),
    "ensemble": lambda: ensemble.build(
        [student(2), small()], averaging="mean-probabilities"
    ),
    "lstm": lambda: language.build(Lstm(4, 2, 0.5), words=WORDS),
    "cnn-lstm": lambda: language.build(
        CharCnnLstm(3, (1, 2), (2, 3), 1, 4, 2, 0.5), words=WORDS
    ),
}


def of_words(model):
    return len(model.inputs) > 1


def kept(model, folder):
    """As a run keeps it; its card."""
    how = {"dataset": DATASET, "recipe": {}}
    if of_words(model):
        path = cards.save_language_model(model, folder, words=WORDS, **how)
    else:
        classes = {"kind": "student", "class_names": tuple("abcd")}
        path = cards.save_model(model, folder, **classes, **how)
    return cards.read_card(path)


def exported(model, folder, **how):
    """As a run exports it: the parity."""
    how |= {"card": kept(model, folder), "workdir": folder.parent}
    if of_words(model):
        how |= {"words": WORDS, "sample": SAMPLE, **TEXT}
        return language_export.export_language_model(
            model, folder / "saved_model", **how
        )
    return saved_model.export_saved_model(
        model, folder / "saved_model", images=IMAGES, **how
    )


def answers(model):
    """Logits of the images, or log-probabilities of the words."""
    if not of_words(model):
        return evaluation.predict(model, IMAGES)
    ids = np.concatenate([[TEXT["end"]], SAMPLE]).astype("int32")[None]
    states = language.start(model, 1)
    score = functools.partial(language_models.answers, [model])
    if keras.backend.backend() == "jax" and saved.compilable(model):
        import jax

        score = jax.jit(score)
    return keras.ops.convert_to_numpy(score(keras.ops.array(ids), [states])[0])


def assert_alike(found, expected, name):
    """Up to the order of sums, or to what bfloat16 rounds."""
    tolerance = 0.02 if "bfloat16" in name else 1e-4
    largest = max(1.0, np.abs(expected).max())
    assert np.abs(found - expected).max() <= tolerance * largest, name


def read_back(path):
    if (path / "model.keras").is_file():
        return loading.load(path / "model.keras")
    with trust.trusting(workdir=path.parent.parent):
        if "words" in cards.read_card(path):
            return language_export.SavedLanguageModel(path)
        return saved.model_of(path)


def one(folder):
    networks({"small": small}, folder)


def networks(models, folder):
    for name, make in models.items():
        model, place = make(), folder / name
        parity = exported(model, place)
        assert parity["largest_difference"] <= parity["tolerance"]
        served = read_back(place / "saved_model")
        assert_alike(answers(served), answers(model), name)
        facts = {"digest": weights_digest(model)}
        if not of_words(model):
            facts["served"] = weights_digest(served)
        (place / "facts.json").write_text(json.dumps(facts))
        np.save(place / "answers.npy", answers(model))


def every_network(folder):
    networks(NETWORKS, folder)


def every_format(folder):
    """Of a model in bfloat16; augmentation, which trains only, is left out."""
    flip = keras.layers.RandomFlip()
    bfloat16 = keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16")
    tried = {"images": IMAGES, "representative": IMAGES}
    exports, refused = formats.write_formats(
        small(flip, bfloat16),
        folder / "all",
        formats=[n for n in formats.FORMATS if installed(n)],
        card={"kind": "student"},
        **tried,
    )
    assert not refused
    (folder / "exports.json").write_text(json.dumps(exports))
    exports, _ = formats.write_formats(
        student(1),
        folder / "folded",
        formats=["keras"],
        card={},
        fold_bottleneck=True,
        **tried,
    )
    assert copies.in_float32(small()).count_params() == small().count_params()


def foreign(folder):
    """Layers of a user's own, and SavedModels in the model's place and inside it."""
    sys.path.insert(0, str(folder))
    (folder / "own_layers.py").write_text(OWN_LAYERS)
    import own_layers

    exported(small(own_layers.Doubled()), folder / "own")
    with pytest.raises(UserError, match="TensorFlow.*jax"):
        exported(small(own_layers.Other()), folder / "other")
    assert not (folder / "other" / "saved_model").exists()
    with pytest.raises(UserError, match="random numbers"):
        exported(small(own_layers.Drawing(0.5)), folder / "drawing")
    served = folder / "own" / "saved_model"
    with pytest.raises(UserError, match="--trust-saved-model"):
        saved.model_of(served)
    with trust.trusting(workdir=folder):
        model = saved.model_of(served)
        assert not saved.compilable(model) and saved.compilable(small())
        with pytest.raises(UserError, match="KERAS_BACKEND"):
            __import__("jax").jit(model)(IMAGES)
        exported(model, folder / "again")
        np.testing.assert_allclose(
            answers(loading.load(folder / "again" / "model.keras")), answers(model)
        )


OWN_LAYERS = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2.0 * inputs

class Other(keras.layers.Layer):
    def call(self, inputs):
        return inputs + len(keras.backend.backend())

class Drawing(keras.layers.Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True)
"""


def endless(folder):
    """An export that goes on, half-written, until it is ended."""
    sys.path.insert(0, str(folder))
    (folder / "own_layers.py").write_text(ENDLESS_LAYER)
    import own_layers

    model = small(own_layers.Endless())
    try:
        exported(model, folder / "run")
    except WorkersLostError as error:
        (folder / "lost").write_text(str(error))


ENDLESS_LAYER = """
import pathlib, time
import keras

class Endless(keras.layers.Layer):
    def call(self, inputs):
        run = pathlib.Path(__file__).parent / "run"
        until = time.time() + 120
        while len(list(run.glob(".partial.*"))) == 2 and time.time() < until:
            time.sleep(0.05)
        return inputs
"""


# What is looked at afterwards -------------------------------------------------------


def started(case, folder):
    """The program, working on a case."""
    return subprocess.Popen(
        [sys.executable, __file__, case, str(folder)],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a shell's job: it is interrupted as a group
    )


def worked(case, folder):
    _, told = (process := started(case, folder)).communicate()
    assert process.returncode == 0, told[-5000:]
    assert not [*folder.rglob(".*partial*")]


def check_networks(names, folder):
    """Here, on TensorFlow, files say and hold what they did on JAX."""
    for name in names:
        place = folder / name
        facts = json.loads((place / "facts.json").read_text())
        model = loading.load(place / "model.keras")
        card = cards.own_card(place / "model.keras", model)
        assert facts["digest"] == weights_digest(model) == card["weights_digest"]
        expected = np.load(place / "answers.npy")
        served = read_back(place / "saved_model")
        for each in (model, served):
            assert_alike(answers(each), expected, name)
        if "served" in facts:
            assert facts["served"] == weights_digest(served)
        cards.check_files(place / "saved_model")
        parity = cards.read_card(place / "saved_model")["engine_parity"]
        assert parity["engine"] == "jax" and parity["largest_difference"] < 1e-4


def test_a_run_on_jax_leaves_a_saved_model(tmp_path):
    worked("one", tmp_path)
    check_networks(["small"], tmp_path)


@pytest.mark.slow
def test_every_network_is_exported(tmp_path):
    worked("every_network", tmp_path)
    check_networks(NETWORKS, tmp_path)


def installed(name):
    packages = formats.FORMATS[name].packages
    return all(map(importlib.util.find_spec, packages))


@pytest.mark.slow
def test_every_format_is_written_at_once(tmp_path):
    worked("every_format", tmp_path)
    exports = json.loads((tmp_path / "exports.json").read_text())
    assert list(exports) == sorted(filter(installed, formats.FORMATS))
    card = cards.read_card(tmp_path / "all")
    assert card["exports"] == exports and card["kind"] == "student"
    assert card["engine_parity"]["num_examples"] == len(IMAGES)
    for found in exports.values():
        assert found["parity"]["top1_agreement"] >= formats.INT8_AGREEMENT
        assert found["latency"]["batch_1"] > 0
    assert cards.read_card(tmp_path / "folded")["folded_bottleneck"]


@pytest.mark.slow
def test_layers_and_saved_models_of_others(tmp_path):
    worked("foreign", tmp_path)


def children(pid):
    """Of a process's main thread."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def ended(pid):
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()  # nobody waits for it
    except FileNotFoundError:
        return True


def wait_for(happened, *, seconds=200):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def kill(process, child):
    process.kill()


def terminate(process, child):
    process.terminate()


def interrupt(process, child):
    process.send_signal(signal.SIGINT)


def interrupt_all(process, child):
    os.killpg(process.pid, signal.SIGINT)


def kill_child(process, child):
    os.kill(child, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("end", [kill, terminate, interrupt, interrupt_all, kill_child])
def test_nothing_is_left_of_an_export_that_is_ended(end, tmp_path):
    process = started("endless", tmp_path)
    run = tmp_path / "run"
    wait_for(lambda: len([*run.glob(".partial.*")]) == 2 or process.poll() is not None)
    (child,) = map(int, children(process.pid))
    end(process, child)
    process.communicate()
    wait_for(lambda: ended(child))
    assert sorted(path.name for path in run.iterdir()) == ["card.json", "model.keras"]
    assert (tmp_path / "lost").is_file() == (end is kill_child)
    if end is kill_child:
        assert "SIGKILL" in (tmp_path / "lost").read_text()


if __name__ == "__main__":
    engines.settle()
    assert keras.backend.backend() == "jax"
    globals()[sys.argv[1]](Path(sys.argv[2]))
