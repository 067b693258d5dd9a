"""Model files: equal ones for equal models."""

import keras
import numpy as np

from kerasdistill.exports import cards
from kerasdistill.models import loading


def model() -> keras.Model:
    """Layers that share a dtype policy, which Keras writes with its address."""
    policy = keras.DTypePolicy("mixed_bfloat16")
    inputs = keras.Input((4,), name="image")
    x = keras.layers.Dense(3, dtype=policy, name="dense")(inputs)
    x = keras.layers.Dropout(0.5, seed=1, dtype=policy, name="dropout")(x)
    logits = keras.layers.Dense(2, dtype=policy, name="logits")(x)
    made = keras.Model(inputs, logits, name="student")
    made.set_weights([np.full(each.shape, 0.5, "float32") for each in made.weights])
    return made


def test_equal_models_become_equal_files_that_load(tmp_path):
    models = {name: model() for name in "ab"}  # both alive, at their own addresses
    first, second = (
        cards.write(made, tmp_path / name, {"kind": "student"})
        for name, made in models.items()
    )
    assert first.read_bytes() == second.read_bytes()
    found = loading.load(first)
    assert found.get_layer("dense").dtype_policy.name == "mixed_bfloat16"
    images = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(found(images), model()(images))
