"""What is exported answers as the model does in inference, and nothing of its training
is left in it; or it is refused in one line."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasdistill.errors import UserError
from kerasdistill.exports import formats, saved_model
from kerasdistill.models import copies, fast_layers

SIDE = 8
IMAGES = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3)).astype("uint8")
needs_converters = pytest.mark.skipif(
    any(
        importlib.util.find_spec(package) is None
        for form in formats.FORMATS.values()
        for package in form.packages
    ),
    reason="converters are not installed: kerasdistill[export]",
)


def functional(*steps, dtype="float32", head=True):
    image = keras.Input((SIDE, SIDE, 3), name="image", dtype=dtype)
    steps = (*steps, *tail()) if head else steps
    x = image
    for step in steps:
        x = step(x)
    return keras.Model(image, x)


def sequential(*steps):
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *steps, *tail()])


def tail():
    return layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(4)


def normalised():
    norm = layers.BatchNormalization()
    norm.build((None, SIDE, SIDE, 3))
    scale, offset, mean, variance = [2, 1, 3], [0, 5, 1], [90] * 3, [4000] * 3
    norm.set_weights(np.array([scale, offset, mean, variance], "float32"))
    return norm


class Always(layers.Dropout):
    """Drops in inference too (Monte Carlo dropout)."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


MODELS = {
    "augmentation": lambda: functional(
        layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.2)
    ),
    "mixed views": lambda: functional(layers.RandAugment(), layers.RandomErasing()),
    "dropout": lambda: functional(layers.SpatialDropout2D(0.3), layers.Dropout(0.3)),
    "our dropout": lambda: functional(fast_layers.Dropout(0.3)),
    "noise": lambda: functional(
        layers.GaussianNoise(0.5), layers.AlphaDropout(0.2), layers.GaussianDropout(0.2)
    ),
    "sequential": lambda: sequential(layers.RandomFlip(), layers.Dropout(0.3)),
    "nested": lambda: functional(
        keras.Sequential([layers.RandomFlip(), layers.RandomBrightness(0.2)]),
        functional(layers.Conv2D(3, 3), layers.GaussianNoise(1.0), head=False),
    ),
    "batch norm": lambda: functional(layers.RandomFlip(), normalised()),
    "whole numbers": lambda: functional(
        layers.RandomFlip(), layers.Conv2D(2, 3), dtype="uint8"
    ),
    "bfloat16": lambda: functional(
        layers.RandomFlip(dtype="mixed_bfloat16"),
        layers.Conv2D(2, 3, dtype="mixed_bfloat16"),
        layers.Dropout(0.3, dtype="mixed_bfloat16"),
    ),
    "told to train": lambda: functional(
        lambda x: layers.Dropout(0.3)(layers.RandomFlip()(x, training=True))
    ),
    "resized": lambda: functional(
        layers.Resizing(4, 4), normalised(), layers.Dropout(0.3)
    ),
    "nothing to leave out": lambda: functional(normalised()),
}


def random_operations(graph_definition):
    nodes = [*graph_definition.node]
    nodes += [n for f in graph_definition.library.function for n in f.node_def]
    return {node.op for node in nodes if "Random" in node.op}


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_has_nothing_of_the_training(name):
    model = MODELS[name]()
    kinds = [type(layer) for layer in model.layers]
    bare = copies.without_training_layers(model)
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(bare.predict(IMAGES, verbose=0), expected)
    for one, other in zip(bare.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert kinds == [type(layer) for layer in model.layers]
    assert {e.name for e in model.layers} <= {layer.name for layer in bare.layers}
    # Whoever uses it need not know of `training`.
    call = tf.function(lambda images: bare(images)).get_concrete_function(
        tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)
    )
    assert not random_operations(call.graph.as_graph_def())
    found = call(tf.constant(IMAGES, tf.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_such_layers_is_returned_itself():
    model = MODELS["nothing to leave out"]()
    assert copies.without_training_layers(model) is model


ARGUMENTS = {"RandomTranslation": (0.2, 0.2), "RandomPosterization": (4,)}


@pytest.mark.parametrize("kind", sorted(copies._TRAINS_ONLY, key=lambda k: k.__name__))
def test_what_is_left_out_does_nothing_in_inference(kind):
    takes_rank = {"SpatialDropout1D": IMAGES[0], "SpatialDropout3D": IMAGES[None]}
    given = takes_rank.get(kind.__name__, IMAGES).astype("float32")
    try:
        layer = kind(*ARGUMENTS.get(kind.__name__, ()))
    except TypeError:  # it has a rate or a factor
        layer = kind(0.3)
    np.testing.assert_array_equal(layer(given, training=False), given)


@pytest.fixture(autouse=True)
def timed_briefly(monkeypatch):
    monkeypatch.setattr(formats, "TIMED_CALLS", (1, 2))
    monkeypatch.setattr(formats, "LATENCY_BATCHES", (1,))


def written(model, directory, *names):
    images = {"images": IMAGES, "representative": IMAGES}
    how = {"formats": names, "card": {}, **images}
    return formats.write_formats(model, directory, **how)[0]


def test_a_saved_model_and_a_keras_file(tmp_path):
    model = MODELS["augmentation"]()
    written(model, tmp_path / "out", "saved-model", "keras")
    graph = saved_model.load_saved_model(tmp_path / "out").loaded
    graph = graph.signatures["serving_default"].graph.as_graph_def()
    assert not random_operations(graph)
    loaded = keras.saving.load_model(tmp_path / "out" / "model.keras")
    found = loaded(IMAGES)  # without `training`
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=1e-5)


@needs_converters
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_format(name, tmp_path):
    model = (MODELS)[name]()
    exports = written(model, tmp_path / "out", *formats.FORMATS)
    assert exports.keys() == formats.FORMATS.keys()
    for file in ("model.tflite", "model.onnx"):
        assert b"andomUniform" not in (tmp_path / "out" / file).read_bytes()


def test_a_model_that_draws_when_it_answers_is_refused(tmp_path):
    model = functional(Always(0.5))
    assert copies.without_training_layers(model) is model
    with pytest.raises(UserError, match="training=True"):
        written(model, tmp_path / "out", "saved-model")
    assert not (tmp_path / "out").exists()


def test_what_a_format_cannot_hold_is_refused_in_one_line(tmp_path, monkeypatch):
    def write(model, path, representative):
        raise RuntimeError("no such op\nin this format")

    form = formats.Format("model.bin", write, run=lambda path: None)
    monkeypatch.setitem(formats.FORMATS, "binary", form)
    with pytest.raises(UserError, match="binary .no such op in this") as refusal:
        written(MODELS["nothing to leave out"](), tmp_path / "out", "binary")
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()
