import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from packaging.version import Version

from kerasdistill import packages
from kerasdistill.models import fast_layers
from kerasdistill.models.fast_layers import BatchNormalization, Dropout

# What older versions of Keras do not know yet.
NEWER = pytest.mark.skipif(
    Version(packages.version("keras")) < Version("3.13"), reason="Keras is older"
)

IMAGES = np.random.default_rng(0).normal(3, 2, (4, 5, 6, 3)).astype(np.float32)
OPTIONS = [
    {},
    {"center": False, "momentum": 0.9, "epsilon": 1e-5},
    {"scale": False},
    {"axis": 3, "synchronized": True},  # one replica
    {"dtype": "mixed_bfloat16"},
]
COARSE, FINE = {"rtol": 0.02, "atol": 0.05}, {"rtol": 1e-5, "atol": 2e-5}


def is_coarse(options):
    return "bfloat16" in options.get("dtype", "")


def pair(**options):
    """Keras' layer and ours with the same weights, none at its starting value."""
    layers = keras.layers.BatchNormalization(**options), BatchNormalization(**options)
    generator = np.random.default_rng(1)
    for layer in layers:
        layer.build(IMAGES.shape)
    weights = [generator.uniform(0.5, 1.5, w.shape) for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def pulled(layer, images, **call):
    """Outputs, then the gradients of sum(outputs^3) by images and by weights."""
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = tf.cast(layer(images, **call), tf.float32)
        loss = tf.reduce_sum(outputs**3)
    weights = [weight.value for weight in layer.trainable_variables]
    return [outputs.numpy(), *map(np.asarray, tape.gradient(loss, [images, *weights]))]


def is_fused(layer, images, **call):
    graph = tf.function(lambda x: layer(x, **call)).get_concrete_function(images).graph
    return any(op.type == "FusedBatchNormV3" for op in graph.get_operations())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_numbers_gradients_and_statistics_are_those_of_keras(options):
    assert is_fused(pair(**options)[1], IMAGES, training=True)
    stock, ours = pair(**options)
    coarse = is_coarse(options)
    close = COARSE if coarse else FINE
    for _ in range(3):
        for expected, found in zip(
            pulled(stock, IMAGES, training=True),
            pulled(ours, IMAGES, training=True),
            strict=True,
        ):
            assert expected.dtype == found.dtype
            np.testing.assert_allclose(found, expected, **close)
    exact = {"rtol": 1e-3} if coarse else {"rtol": 1e-5, "atol": 1e-6}
    for expected, found in zip(stock.weights, ours.weights, strict=True):
        assert expected.path.split("/")[-1] == found.path.split("/")[-1]
        assert expected.dtype == found.dtype
        np.testing.assert_allclose(found, expected, **exact)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("frozen", [False, True])
def test_inference_and_its_gradients_are_those_of_keras(options, frozen):
    stock, ours = pair(**options)
    if frozen:
        stock.trainable = ours.trainable = False
    before = [weight.numpy() for weight in ours.weights]
    assert is_fused(ours, IMAGES, training=frozen)
    close = COARSE if is_coarse(options) else FINE
    for expected, found in zip(
        pulled(stock, IMAGES, training=frozen),
        pulled(ours, IMAGES, training=frozen),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, **close)
    for expected, found in zip(before, ours.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_moving_variance_has_no_bessel_correction():
    ours = BatchNormalization(momentum=0.0)
    ours(IMAGES[:1, :1, :2], training=True)  # two values a channel: twice as large
    biased = IMAGES[:1, :1, :2].var(axis=(0, 1, 2))
    np.testing.assert_allclose(ours.moving_variance, biased, rtol=1e-5)
    ours(IMAGES[:1, :1, :1], training=True)
    np.testing.assert_allclose(ours.moving_variance, np.zeros(3), atol=1e-6)


MASK = np.arange(4 * 5 * 6).reshape(4, 5, 6) % 3 > 0
LEFT_TO_KERAS = {
    "mask": ({}, IMAGES, {"training": True, "mask": MASK}),
    "axis": ({"axis": 1}, IMAGES, {"training": True}),
    "renorm": ({"renorm": True}, IMAGES, {"training": True}),
    "renorm, inference": ({"renorm": True}, IMAGES, {"training": False}),
    "vectors": ({}, IMAGES[:, 0, 0], {"training": True}),
    "double": ({"dtype": "float64"}, IMAGES.astype(np.float64), {"training": True}),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=NEWER if "renorm" in case else ())
        for case in LEFT_TO_KERAS
    ],
)
def test_the_rest_is_left_to_keras(case):
    options, images, call = LEFT_TO_KERAS[case]
    stock = keras.layers.BatchNormalization(**options)
    ours = BatchNormalization(**options)
    np.testing.assert_array_equal(ours(images, **call), stock(images, **call))
    assert not is_fused(ours, images, **call)
    for expected, found in zip(stock.weights, ours.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_two_replicas_normalise_by_the_global_batch(two_replicas):
    single, _ = pair(synchronized=True, momentum=0.5)
    expected = single(IMAGES, training=True)
    with two_replicas.scope():
        ours = BatchNormalization(synchronized=True, momentum=0.5)
        ours.build(IMAGES.shape)
        ours.set_weights(pair()[0].get_weights())
    halves = iter([IMAGES[:2], IMAGES[2:]])
    given = two_replicas.experimental_distribute_values_from_function(
        lambda _: tf.constant(next(halves))
    )
    run = tf.function(
        lambda: two_replicas.run(lambda x: ours(x, training=True), (given,))
    )
    found = np.concatenate(two_replicas.experimental_local_results(run()))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for expected, found in zip(single.weights, ours.weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def small_model():
    inner = keras.Sequential(
        [keras.Input((5, 6, 3)), BatchNormalization(synchronized=True, name="inside")]
    )
    image = keras.Input((5, 6, 3), name="image")
    x = inner(image)
    x = BatchNormalization(momentum=0.9, epsilon=1e-5, name="norm")(x)
    x = keras.layers.Add()([x, image])
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name="small")


def test_a_saved_stock_model_loads_without_our_code(tmp_path):
    model = small_model()
    model(IMAGES, training=True)
    expected = model.predict(IMAGES, verbose=0)
    stock = fast_layers.with_keras_layers(model)
    assert stock.name == "small" and stock.get_layer("norm").epsilon == 1e-5
    assert type(model.get_layer("norm")) is BatchNormalization  # left as it was
    stock.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = file.read("config.json").decode()
    assert "kerasdistill" not in config and '"synchronized": true' not in config
    assert config.count('"class_name": "BatchNormalization"') == 2
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("norm")) is keras.layers.BatchNormalization
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), expected)


def test_our_own_layer_round_trips_too(tmp_path):
    model = small_model()
    model(IMAGES, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("norm")) is BatchNormalization
    assert loaded.get_layer("norm").get_config() == model.get_layer("norm").get_config()
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_a_model_without_our_layer_is_its_own_stock():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert fast_layers.with_keras_layers(model) is model


def test_a_model_with_fast_layers_answers_as_before_by_the_kernel(tmp_path):
    ours = small_model()
    ours(IMAGES, training=True)
    given = fast_layers.with_keras_layers(ours)
    expected = given(IMAGES)
    assert fast_layers.use_fast_layers(given) is given
    assert type(given.get_layer("norm")) is BatchNormalization
    np.testing.assert_allclose(given(IMAGES), expected, rtol=1e-5, atol=1e-6)
    graph = tf.function(given).get_concrete_function(IMAGES).graph
    kernels = [op.type for op in graph.get_operations()].count("FusedBatchNormV3")
    assert kernels == 2
    fast_layers.with_keras_layers(given).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("norm")) is keras.layers.BatchNormalization


def dropped(layer, inputs):
    """Outputs in training, and the gradients of their sum by the inputs."""
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        total = tf.reduce_sum(outputs)
    return outputs.numpy(), tape.gradient(total, inputs).numpy()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("rate", [0.3, 0.999999])
def test_dropout_keeps_the_share_it_should_and_scales_it(rate, dtype):
    layer = Dropout(rate, seed=1, dtype=dtype)
    inputs = np.ones((9, 31, 31, 7), layer.compute_dtype)  # an odd number
    outputs, gradients = dropped(layer, inputs)
    assert outputs.dtype == layer.compute_dtype
    np.testing.assert_array_equal(outputs, gradients)
    kept = outputs[outputs != 0].astype(np.float32)
    np.testing.assert_allclose(kept, 1 / (1 - rate), rtol=5e-3)
    expected = max(1 - rate, 2**-16)
    error = np.sqrt(expected * (1 - expected) / inputs.size)
    assert abs(kept.size / inputs.size - expected) < 4 * error
    # Neighbours share a random word and yet fall independently.
    falls = outputs.ravel()[: inputs.size // 2 * 2].reshape(-1, 2) != 0
    both = falls.all(axis=1).mean()
    assert abs(both - expected**2) < 6 * np.sqrt(expected**2 / len(falls)) + 1e-9


def test_dropout_draws_anew_in_each_call_and_the_same_from_the_same_seed():
    first, again = Dropout(0.5, seed=3), Dropout(0.5, seed=3)
    masks = [first(IMAGES, training=True).numpy() for _ in range(3)]
    assert len({mask.tobytes() for mask in masks}) == 3
    for mask in masks:
        np.testing.assert_array_equal(again(IMAGES, training=True), mask)
    other = Dropout(0.5, seed=4)(IMAGES, training=True).numpy()
    assert not np.array_equal(other, masks[0])


@pytest.mark.parametrize(
    ("options", "training"),
    [
        ({"rate": 0.5}, False),
        ({"rate": 0.0}, True),
        pytest.param({"rate": 1.0}, True, marks=NEWER),
        ({"rate": 0.5, "noise_shape": (None, 1, 1, 3)}, True),
    ],
    ids=str,
)
def test_the_rest_of_dropout_is_left_to_keras(options, training):
    stock, ours = keras.layers.Dropout(**options, seed=1), Dropout(**options, seed=1)
    expected = stock(IMAGES, training=training)
    np.testing.assert_array_equal(ours(IMAGES, training=training), expected)


def test_stock_dropout_keeps_rate_and_seed():
    model = keras.Sequential([keras.Input((4,)), Dropout(0.25, seed=7, name="drop")])
    assert fast_layers.with_keras_layers(model, kinds=(BatchNormalization,)) is model
    layer = fast_layers.with_keras_layers(model).get_layer("drop")
    assert type(layer) is keras.layers.Dropout
    assert (layer.rate, layer.seed) == (0.25, 7)
