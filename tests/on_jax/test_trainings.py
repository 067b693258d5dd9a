"""What is trained on JAX is what TensorFlow trains, on one device and on two."""

import os

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import small_trainings
from small_trainings import ALL, FEW

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.models.build import build
from kerasdistill.models.fast_layers import MaxPooling2D
from kerasdistill.recipes.base import FastTeacher
from kerasdistill.training import engines
from tests.conftest import make_examples

pytestmark = pytest.mark.engine


def slow_but(few):
    """`ALL`, those not in `few` marked slow."""
    slow = pytest.mark.slow
    return [pytest.param(n, marks=() if n in few else slow) for n in ALL]


@pytest.fixture(scope="module")
def on_tensorflow():
    """What the process that started this one trained, by name."""
    with np.load(os.environ["TRAINED_ON_TENSORFLOW"]) as file:
        return dict(file)


def arrays_of(file, name):
    mine = [key for key in file if key.rpartition("/")[0] == name]
    return [file[key] for key in sorted(mine)]


def assert_close(found, expected, tolerance):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", slow_but(FEW))
def test_the_same_as_on_tensorflow(name, on_tensorflow):
    found = small_trainings.trained(name)
    assert_close(found, arrays_of(on_tensorflow, name), 2e-4)


@pytest.mark.parametrize("name", slow_but({"batch normalisation"}))
def test_two_devices_train_what_one_does(name):
    # Of 41 examples the last batch, 9, does not divide.
    alone = small_trainings.trained(name)
    with engines.current().using("cpu:2"):
        assert keras.distribution.distribution().device_mesh.devices.size == 2
        assert engines.current().threads() == {"devices": 2}
        shared = small_trainings.trained(name)
    assert keras.distribution.distribution() is None
    assert_close(shared, alone, 1e-5)


@pytest.mark.parametrize("text", ["", "some", "0", "-1", "cpu:", "cpu:0", "gpu:1"])
def test_devices_of_no_known_form(text):
    with pytest.raises(UserError, match="expected all, a number or cpu:N"):
        with engines.current().using(text):
            pass


@pytest.mark.parametrize(("text", "word"), [("64", "GPUs here"), ("cpu:3", "with 2")])
def test_more_devices_than_there_are(text, word):
    with pytest.raises(UserError, match=word):
        with engines.current().using(text):
            pass


def test_images_that_two_devices_cannot_share_are_all_scored():
    images = make_examples(15).images
    with engines.current().using("cpu:2"):
        model = small_trainings.network(small_trainings.CNN, seed=1)
        shared = evaluation.predict(model, images, batch_size=7)
    np.testing.assert_allclose(shared, evaluation.predict(model, images), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"pool_size": 2},
        {"pool_size": 3, "strides": 3},
        {"pool_size": (2, 3)},
        {"pool_size": 3, "strides": 2},  # left to Keras
        {"pool_size": 2, "padding": "same"},
    ],
)
def test_pooling_is_keras_own(options):
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype("float32")

    def value_and_gradient(layer):
        def total(x):
            made = layer(x)
            return jnp.sum(made * jnp.arange(made.size).reshape(made.shape)), made

        return jax.value_and_grad(total, has_aux=True)(jnp.asarray(images))

    kinds = (MaxPooling2D, keras.layers.MaxPooling2D)
    pairs = (jax.tree.leaves(value_and_gradient(kind(**options))) for kind in kinds)
    for found, expected in zip(*pairs, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channels", [(0, 0, 0), (0, 1, 2)], ids=["grey", "colours"])
def test_residues_of_grey_images_are_no_signal_to_a_fast_teacher(channels):
    images = make_examples(64, side=20).images[..., channels]
    how = {"image_shape": images.shape[1:], "num_classes": 3, "seed": 0}
    model = build(FastTeacher(filters=(8, 8, 8)), images=images, **how)
    epsilon = 1e-3 if channels == (0, 0, 0) else 1e-6
    norms = [layer for layer in model.layers if hasattr(layer, "moving_mean")]
    assert norms and {layer.epsilon for layer in norms} == {epsilon}
