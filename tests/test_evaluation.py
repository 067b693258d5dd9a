import keras
import numpy as np
import pytest

from kerasdistill import evaluation


def scorer():
    """Dropout before fixed weights: scoring must leave it out."""
    start = keras.initializers.GlorotUniform(seed=0)
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5, seed=0),
            keras.layers.Dense(5, kernel_initializer=start),
        ]
    )


def pixels(count):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 15])
def test_predict_scores_every_image_in_order(count):
    model = scorer()
    images = pixels(count)
    logits = evaluation.predict(model, images, batch_size=4)
    assert logits.shape == (count, 5)
    assert logits.dtype == np.float32
    expected = images.reshape(count, -1).astype(np.float32) @ model.get_weights()[0]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("count", [9, 11])
def test_predict_on_two_replicas(count, two_replicas):
    with two_replicas.scope():
        model = scorer()
    # With batches of 4 one replica gets nothing, or less, of the last.
    logits = evaluation.predict(model, pixels(count), batch_size=4)
    expected = evaluation.predict(scorer(), pixels(count))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-2)


def test_accuracy_by_hand():
    logits = np.array([[0.1, 0.9], [3.0, 2.0], [-1.0, -2.0], [0.0, 5.0]])
    assert evaluation.accuracy(logits, np.array([1, 0, 1, 1])) == 0.75
    assert evaluation.accuracy(logits, np.array([0, 1, 1, 0])) == 0.0


def test_agreement_by_hand():
    logits = np.array([[0.1, 0.9], [3.0, 2.0], [-1.0, -2.0], [0.0, 5.0]])
    teacher = np.array([[0.0, 9.0], [0.0, 2.0], [7.0, 2.0], [5.0, 4.0]])
    assert evaluation.agreement(logits, teacher) == 0.5
    assert evaluation.agreement(logits, 10 * logits) == 1.0


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="4 predictions for 3 labels"):
        evaluation.accuracy(np.zeros((4, 2)), np.zeros(3, int))


def test_calibration_by_hand():
    # Confidences 0.6 (right), 0.6 (wrong) and 0.9 (right), in two bins of ten.
    found = np.log([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]])
    told = evaluation.calibration(found, np.array([0, 1, 1]), bins=10)
    assert told["ece"] == pytest.approx(2 / 3 * 0.1 + 1 / 3 * 0.1)
    full = [row for row in told["bins"] if row["count"]]
    assert [row["count"] for row in full] == [2, 1]
    assert full[0]["accuracy"] == 0.5 and full[1]["confidence"] == pytest.approx(0.9)
    sure = evaluation.calibration(np.array([[900.0, 0.0]]), np.array([0]))
    assert sure["ece"] == 0 and sure["bins"][-1]["count"] == 1


def test_confusion_by_hand():
    found = evaluation.confusion(np.array([0, 1, 1]), np.array([0, 0, 2]), classes=3)
    assert found.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError):
        evaluation.confusion(np.array([0]), np.array([0, 1]), classes=2)
