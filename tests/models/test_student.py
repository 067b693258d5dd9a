import keras
import numpy as np
import pytest

from kerasdistill import requests
from kerasdistill.budget import Budget, student_params
from kerasdistill.errors import UserError
from kerasdistill.models import summary, urban
from kerasdistill.recipes import base, reading, urban2017, urban2017_presets
from kerasdistill.recipes.base import Student

SHAPE = (32, 32, 3)


def tiny(**changes):
    fields = {"filters": (4, 6), "hidden": (8,), "bottleneck": None, "kernel": 3}
    return Student(**{**fields, **changes})


def build(architecture, *, image_shape=(16, 16, 3), seed=0, precision="float32"):
    return urban.build(
        architecture,
        image_shape=image_shape,
        num_classes=5,
        seed=seed,
        precision=precision,
    )


def trace(model):
    kinds = {"Conv2D": "c", "MaxPooling2D": "mp", "Dense": "fc", "Dropout": "do"}
    return "-".join(
        "lfc" if layer.name == "bottleneck" else kinds[type(layer).__name__]
        for layer in model.layers
        if type(layer).__name__ in kinds
    )


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ({"hidden": 1}, "lfc-fc-fc"),
        ({"hidden": 2}, "fc-fc-fc"),
        ({"hidden": 5}, "fc-fc-fc-fc-fc-fc"),
        ({"convs": 1}, "c-mp-lfc-fc-fc"),
        ({"convs": 2}, "c-mp-c-mp-fc-fc"),
        ({"convs": 3}, "c-mp-c-mp-c-mp-fc-fc"),
        ({"convs": 4}, "c-mp-c-c-mp-c-mp-fc-fc"),
    ],
)
def test_layer_order_and_count(kind, layers):
    recipe = urban2017.student(budget=Budget(250_000), **kind)
    architecture = recipe.architecture
    model = urban.build(architecture, image_shape=SHAPE, num_classes=10, seed=0)
    assert trace(model) == layers
    solved = student_params(
        architecture.filters,
        architecture.hidden,
        architecture.bottleneck,
        kernel=architecture.kernel,
        pool=architecture.pool,
        image_shape=SHAPE,
        num_classes=10,
    )
    assert summary.num_trainable(model) == solved == model.count_params()
    assert abs(Budget(250_000).error(solved)) <= 0.01
    assert model.layers[-1].name == "logits"
    assert not model.losses


def test_activations_pooling_and_biases():
    one = build(tiny(filters=(4,), bottleneck=3, pool=3), image_shape=SHAPE)
    assert one.get_layer("bottleneck").activation is keras.activations.linear
    assert one.get_layer("logits").activation is keras.activations.linear
    assert one.get_layer("conv_1").activation is keras.activations.relu
    assert one.get_layer("dense_1").activation is keras.activations.relu
    assert one.get_layer("pool_1").output.shape == (None, 10, 10, 4)
    assert one.get_layer("conv_1").output.shape == (None, 32, 32, 4)
    for layer in one.layers:
        if layer.trainable_variables:
            assert layer.use_bias and not np.any(layer.get_weights()[1])


def test_preprocessing_is_inside():
    model = build(tiny(input_scale=1.25))
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), "uint8")
    images[..., 0] //= 2
    inner = keras.Model(model.input, model.get_layer("input_scale").output)
    pixels = images.astype("float64")
    axes = (1, 2, 3)
    standard = pixels - pixels.mean(axes, keepdims=True)
    standard *= 1.25 / pixels.std(axes, keepdims=True)
    np.testing.assert_allclose(
        inner.predict(images, verbose=0), standard, rtol=1e-4, atol=1e-4
    )
    # Brightness and contrast drop out, so the logits do not see them.
    brighter = images.astype("float32") * 1.5 + 7
    np.testing.assert_allclose(
        model.predict(brighter, verbose=0),
        model.predict(images, verbose=0),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_precision_is_per_layer(precision):
    before = keras.config.dtype_policy().name
    model = build(tiny(), precision=precision)
    assert keras.config.dtype_policy().name == before
    assert model.output.dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert model.get_layer("conv_1").dtype_policy.name == precision
    assert model.get_layer("standardize").compute_dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    logits = model(np.zeros((2, 16, 16, 3), "uint8"))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def kernels(model):
    return [weight for weight in model.get_weights() if weight.ndim > 1]


def test_seeds_fix_the_initial_weights():
    twins = [kernels(build(tiny(), seed=7)) for _ in range(2)]
    other = kernels(build(tiny(), seed=0))
    for first, second, different in zip(*twins, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert np.mean(first == different) < 0.01


def test_layers_of_one_shape_start_differently():
    model = build(tiny(filters=(), hidden=(8, 8, 8)))
    second, third = (model.get_layer(f"dense_{n}").get_weights()[0] for n in (2, 3))
    assert not np.allclose(second, third)


def test_initial_weights_are_scaled_glorot():
    plain, doubled = (
        build(tiny(filters=(32, 48), init_scale=scale)) for scale in (1.0, 2.0)
    )
    for first, second in zip(kernels(plain), kernels(doubled), strict=True):
        np.testing.assert_allclose(2 * first, second, rtol=1e-6)
    kernel = plain.get_layer("conv_2").get_weights()[0]
    limit = np.sqrt(6 / (9 * 32 + 9 * 48))
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)


def test_regularisation_only_where_asked():
    model = build(tiny(dropout_rates=(0.1, 0.2, 0.3), weight_decay=0.5))
    assert trace(model) == "c-mp-do-c-mp-do-fc-do-fc"
    rates = [layer.rate for layer in model.layers if hasattr(layer, "rate")]
    assert rates == [0.1, 0.2, 0.3]
    penalty = float(sum(model.losses))
    expected = sum(0.25 * np.sum(kernel**2) for kernel in kernels(model))
    assert penalty == pytest.approx(expected, rel=1e-4)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), "uint8")
    still = [model(images, training=False) for _ in range(2)]
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, still))
    moved = keras.ops.convert_to_numpy(model(images, training=True))
    assert not np.allclose(moved, keras.ops.convert_to_numpy(still[0]))


def test_saved_model_loads_without_our_code(tmp_path):
    one = tiny(filters=(4,), bottleneck=3, pool=3, input_scale=0.9, init_scale=1.5)
    model = build(one)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), "uint8")
    model.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras", safe_mode=True)
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    for layer in loaded.layers:
        assert type(layer).__module__.startswith("keras."), layer


@pytest.mark.parametrize(
    "architecture",
    [
        tiny(bottleneck=4),
        tiny(filters=(2, 2, 2, 2, 2)),
        tiny(hidden=(4, 4)),
        tiny(hidden=()),
        tiny(dropout_rates=(0.1,)),
        tiny(filters=(2, 2, 2), pool=3),
    ],
)
def test_architectures_against_the_rules_are_refused(architecture):
    with pytest.raises(UserError, match="expected"):
        build(architecture)


def test_frozen_layers_are_not_counted():
    model = build(tiny())
    before = summary.num_trainable(model)
    model.get_layer("conv_1").trainable = False
    assert summary.num_trainable(model) == before - 112


def test_overlapping_pools_and_the_shallow_preset():
    recipe = urban2017_presets.snn_ecnn_mimic_30k()
    built = urban.build(recipe.architecture, image_shape=SHAPE, num_classes=10, seed=0)
    assert summary.num_trainable(built) == 70_900_938
    assert built.get_layer("pool_1").output.shape[1:] == (15, 15, 128)


def test_runs_keep_their_names():
    """A field that is new must not change the JSON that names a run."""
    recipe = urban2017.student(budget=Budget(1_000_000), convs=3)
    for named_by in (requests.canonical, requests.older):
        assert "pool_stride" not in named_by(recipe)["architecture"]
    assert reading.from_json(base.to_json(recipe)) == recipe
