"""Python on the how-to pages that does something of its own."""

import keras
import numpy as np

from .conftest import ROOT


def run_block(blocks, page: str, containing: str, **names) -> dict:
    """Runs the page's one Python block with this text in it; returns its names."""
    found = [
        text
        for kind, text in blocks(ROOT / "docs" / "how-to" / page)
        if kind == "python" and containing in text
    ]
    (text,) = found
    exec(compile(text, page, "exec"), names)
    return names


def test_a_teacher_with_softmax_and_small_pixels_is_wrapped(
    blocks, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    mine = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.AveragePooling2D(8),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    mine.save("mine.keras")
    run_block(blocks, "own-teacher.md", "its softmax")
    teacher = keras.models.load_model("teacher.keras", compile=False)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    logits = keras.ops.convert_to_numpy(teacher(pixels))
    assert not np.allclose(logits.sum(1), 1, atol=0.01)  # no probabilities
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.softmax(logits)),
        keras.ops.convert_to_numpy(mine(pixels / 255)),
        atol=1e-5,
    )


def test_the_oracle_serves_a_tuner_of_keras_tuner_s(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def build(hyperparameters):
        units = hyperparameters.Int("units", 1, 8)
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])

    tuner = run_block(blocks, "search.md", "keras_tuner.Tuner", build=build)["tuner"]
    trial = tuner.oracle.create_trial("tuner0")
    assert 1 <= trial.hyperparameters.get("units") <= 8
    tuner.oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
    trial.status = "COMPLETED"
    tuner.oracle.end_trial(trial)
    assert tuner.oracle.get_best_trials(1)[0].score == 0.5
