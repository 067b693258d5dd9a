"""What searches' tests share."""

import keras
import numpy as np
import pytest

from kerasdistill.running import training
from kerasdistill.training.epochs import FitResult
from pipelines import precompute


@pytest.fixture
def uncollected(monkeypatch, request):
    """Collecting garbage takes a third of a second in a process of many tests."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


@pytest.fixture
def pretended(monkeypatch):
    """No training: the model as it is built, and a score made of the learning rate.

    Gives the data that every training would have seen.
    """
    seen = []

    def train(recipe, *, data, run, **how):
        seen.append(data)
        count = len(data.validation)
        score = np.float32(round(recipe.training.learning_rate * 40 * count) / count)
        rows = ({"val_accuracy": float(score)}, {"val_accuracy": 0.0})
        fitted = FitResult(2, 1, float(score), 0.1, 100.0, rows)
        return training.built(recipe, data).student, fitted

    monkeypatch.setattr(training, "train", train)
    return seen


@pytest.fixture
def trained(monkeypatch):
    """The data every training sees, in order."""
    seen, train = [], training.train

    def watching(*what, data, **how):
        seen.append(data)
        return train(*what, data=data, **how)

    monkeypatch.setattr(training, "train", watching)
    return seen


@pytest.fixture
def two_passes(image_data):
    """The function that makes a set of two passes in a folder, by a small teacher."""

    def make(folder, *, store, augmentation):
        teacher = str(folder / "teacher.keras")
        keras.Sequential(
            [
                keras.Input(image_data.image_shape),
                keras.layers.Rescaling(1 / 255),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(image_data.num_classes),
            ]
        ).save(teacher)
        precompute.run(
            teacher_paths=[teacher],
            data=image_data,
            augmentation=augmentation,
            passes=2,
            store=store,
            output=str(folder / store),
            seed=5,
            beam_options=["--direct_running_mode=in_memory"],
            force=True,
        )
        return folder / store

    return make
