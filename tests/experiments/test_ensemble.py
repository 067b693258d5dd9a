"""Choosing and joining members, with networks that know one class each."""

import dataclasses

import keras
import numpy as np
import pytest

from kerasdistill.errors import UserError
from kerasdistill.experiments import ensemble


def knows(class_index, path):
    """A teacher that answers `class_index`, whatever it is shown."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, kernel_initializer="zeros"),
        ]
    )
    model.layers[-1].bias.assign(4 * np.eye(3, dtype="f4")[class_index])
    model.save(path)
    return str(path)


@pytest.fixture
def data(image_data):
    """With 3, 5 and 7 validation images of the classes."""
    labels = np.repeat([0, 1, 2], [3, 5, 7])
    validation = dataclasses.replace(image_data.validation, labels=labels)
    return dataclasses.replace(image_data, validation=validation)


@pytest.fixture
def candidates(tmp_path):
    """Validation accuracy 3/15, 5/15, 7/15."""
    return [knows(index, tmp_path / f"{index}.keras") for index in range(3)]


def run(paths, data, tmp_path, **asked):
    return ensemble.run(
        paths, data=data, workdir=tmp_path / "runs", force=True, **asked
    )


def test_top_members_are_the_most_accurate_on_validation(candidates, data, tmp_path):
    found = run(candidates, data, tmp_path, select="top", size=1)
    assert found["members"] == candidates[-1:]
    assert found["val_accuracy"] == pytest.approx(7 / 15)
    np.testing.assert_allclose(
        found["candidate_val_accuracy"], [3 / 15, 5 / 15, 7 / 15]
    )
    model = keras.models.load_model(found["model"], compile=False)
    logits = model.predict(data.test.images, verbose=0)
    right = float(np.mean(logits.argmax(1) == data.test.labels))
    assert found["test_accuracy"] == pytest.approx(right)


def test_top_of_fewer_candidates_than_its_size_keeps_all(candidates, data, tmp_path):
    found = run(candidates, data, tmp_path, select="top", size=16)
    assert found["members"] == candidates
    again = run(candidates, data, tmp_path, select="all")
    assert again["model"] == found["model"]


def test_greedy_stops_where_no_member_helps(candidates, data, tmp_path):
    found = run(candidates, data, tmp_path, select="greedy", size=3)
    assert found["members"] == candidates[-1:]
    assert run(candidates, data, tmp_path, select="greedy", size=3) == found


def test_a_candidate_named_twice_is_refused(candidates, data, tmp_path):
    with pytest.raises(UserError, match="named twice"):
        run([candidates[0], candidates[0]], data, tmp_path)


def says(logits, path):
    """A teacher that answers these logits, whatever it is shown."""
    knows(0, path)
    model = keras.models.load_model(path)
    model.layers[-1].bias.assign(logits)
    model.save(path)
    return str(path)


def test_probabilities_may_be_averaged(data, tmp_path):
    loud = says([0.0, 9.0, 8.0], tmp_path / "loud.keras")
    sure = says([0.0, 0.0, 1.5], tmp_path / "sure.keras")
    both = [loud, sure]
    by_logits = run(both, data, tmp_path, select="all")
    assert by_logits["averaging"] == "mean-logits"
    told = run(both, data, tmp_path, select="all", averaging="mean-probabilities")
    assert told["model"] != by_logits["model"]
    model = keras.models.load_model(told["model"])
    found = np.exp(model.predict(data.test.images, verbose=0)[0])
    softmax = [np.exp(z) / np.exp(z).sum() for z in ([0, 9.0, 8.0], [0, 0, 1.5])]
    np.testing.assert_allclose(found, np.mean(softmax, axis=0), rtol=1e-5)
    right = float(np.mean(data.validation.labels == found.argmax()))
    assert told["val_accuracy"] == pytest.approx(right)
