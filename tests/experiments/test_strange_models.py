"""Models that strangers bring: read, or refused in one line before anything is stored.

One line of `TEACHERS` or `STUDENTS` is a situation. Each network is the nearest class
mean, or something wrong with it.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.experiments import adapting
from kerasdistill.experiments.adapting import Brought
from kerasdistill.models import given, loading, trust, wrapping
from kerasdistill.models.wrapping import Convention
from kerasdistill.recipes import urban2017
from kerasdistill.running import building
from kerasdistill.training.distillation_models import LogitRegressionModel
from pipelines import checking, datasets

L = keras.layers
# Keras warns of it, and writes it all the same.
pytestmark = pytest.mark.filterwarnings("ignore:You are saving a model that has not")
SIDE = 8
NAMES = ("0", "1", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three of the digits, in RGB."""
    digits = datasets.load("digits", image_shape=(SIDE, SIDE, 3))
    splits = {}
    for name in ("train", "validation", "test"):
        split = digits.split(name)
        splits[name] = split.take(np.flatnonzero(split.labels < 3))
    return datasets.ImageData("three", "1", NAMES, 0, **splits, digest="3" * 64)


@pytest.fixture(scope="module")
def pair(data):
    """Two of them."""
    splits = {}
    for name in ("train", "validation", "test"):
        split = data.split(name)
        splits[name] = split.take(np.flatnonzero(split.labels < 2))
    return datasets.ImageData("two", "1", NAMES[:2], 0, **splits, digest="2" * 64)


@pytest.fixture
def weights(data):
    """Of the nearest class mean, for pixels 0-1: [inputs, 3] and [3]."""
    images = data.train.images.reshape(len(data.train), -1) / 255
    means = [images[data.train.labels == label].mean(axis=0) for label in range(3)]
    means = np.stack(means)
    return 0.3 * means.T, -0.15 * (means**2).sum(axis=1)


class Maker:
    """Makes networks of these weights."""

    def __init__(self, folder: Path, weights):
        self.folder, self.weights = folder, weights

    def head(self, x, *, columns=(0, 1, 2), activation=None, name=None):
        """The dense layer; `columns` are its classes."""
        layer = L.Dense(len(columns), activation=activation, name=name)
        logits = layer(L.Flatten()(x))
        kernel, bias = self.weights
        layer.set_weights([kernel[:, list(columns)], bias[list(columns)]])
        return logits

    def image(self, **options):
        return keras.Input((SIDE, SIDE, 3), name="image", **options)

    def model(self, *, scale=1 / 255, offset=0.0, after=None, **options):
        image = self.image()
        x = self.head(L.Rescaling(scale, offset)(image), **options)
        return keras.Model(image, x if after is None else after(x))

    def keras(self, **options) -> Path:
        return self.saved(self.model(**options))

    def saved(self, model, name="mine.keras") -> Path:
        model.save(self.folder / name)
        return self.folder / name

    def exported(self, outputs: Callable, *, more=False, **options) -> Path:
        image = self.image(**options)
        inputs, pixels = image, L.Rescaling(1 / 255)(image)
        if more:
            inputs = [image, keras.Input((1, 1, 1), name="flag")]
            pixels = L.Add()([pixels, inputs[1]])
        model = keras.Model(inputs, outputs(self, pixels))
        model.export(self.folder / "saved", verbose=False)
        return self.folder / "saved"


@pytest.fixture
def make(tmp_path, weights):
    return Maker(tmp_path, weights)


def two_heads(make, x):
    return {"aux": make.head(x, columns=(2, 1, 0)), "main": make.head(x)}


def single(make):
    """z of class 1 against class 0, as a sigmoid."""
    return make.keras(columns=(0, 1), after=minus)


def minus(x):
    layer = L.Dense(1, activation="sigmoid")
    z = layer(x)
    layer.set_weights([np.array([[-1.0], [1.0]]), np.zeros(1)])
    return z


def h5(make, **options):
    return make.saved(make.model(**options), "mine.h5")


def changed_h5(make, change):
    path = h5(make)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def of_keras_2(file):
    """As Keras 2 and Teachable Machine write depthwise convolutions and precisions."""
    config = json.loads(file.attrs["model_config"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "DepthwiseConv2D":
            layer["config"]["groups"] = 1
        policy = {"class_name": "Policy", "config": {"name": "float32"}}
        layer["config"]["dtype"] = policy
    file.attrs["model_config"] = json.dumps(config)


def depthwise(make):
    """Each channel is convolved with 1."""
    image = make.image()
    x = L.Rescaling(1 / 255)(image)
    x = L.DepthwiseConv2D(1, depthwise_initializer="ones", use_bias=False)(x)
    path = make.saved(keras.Model(image, make.head(x)), "mine.h5")
    with h5py.File(path, "r+") as file:
        of_keras_2(file)
    return path


def linked(file):
    file["model_weights/more"] = h5py.ExternalLink("other.h5", "/dense")


def without_config(file):
    del file.attrs["model_config"]


def nested(make):
    image = make.image()
    return make.saved(keras.Model([image], [make.head(L.Rescaling(1 / 255)(image))]))


def by_name(make):
    image = make.image()
    logits = make.head(L.Rescaling(1 / 255)(image))
    return make.saved(keras.Model({"image": image}, {"logits": logits}))


def heads(make):
    image = make.image()
    return make.saved(keras.Model(image, two_heads(make, L.Rescaling(1 / 255)(image))))


def batch_of_one(make):
    image = make.image(batch_size=1)
    return make.saved(keras.Model(image, make.head(L.Rescaling(1 / 255)(image))))


def half(make):
    image = make.image()
    logits = make.head(L.Rescaling(1 / 255)(image))
    return make.saved(
        keras.Model(image, L.Activation("linear", dtype="float16")(logits))
    )


def unbuilt(make):
    return make.saved(never_built())


def never_built():
    return keras.Sequential([L.Rescaling(1 / 255), L.Flatten(), L.Dense(3)])


def shell(make):
    trains = LogitRegressionModel(make.model())
    trains.compile(keras.optimizers.SGD())
    return make.saved(trains)


def pointer(make):
    path = make.folder / "mine.keras"
    path.write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n")
    return path


def channels_first(make):
    image = keras.Input((3, SIDE, SIDE))
    return make.saved(keras.Model(image, L.Dense(3)(L.Flatten()(image))))


def two_inputs(make):
    image, other = make.image(), keras.Input((1,))
    logits = L.Add()([make.head(image), L.Dense(3)(other)])
    return make.saved(keras.Model([image, other], logits))


def features(make):
    image = make.image()
    return make.saved(keras.Model(image, L.Conv2D(3, 3)(image)))


def in_training_mode(make):
    """A SavedModel whose dropout is at work."""
    image = make.image()
    model = keras.Model(image, make.head(L.Dropout(0.5)(L.Rescaling(1 / 255)(image))))
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda image: model(image, training=True),
        input_signature=[keras.InputSpec(shape=(None, SIDE, SIDE, 3), dtype="float32")],
    )
    archive.write_out(str(make.folder / "saved"), verbose=False)
    return make.folder / "saved"


def lambda_h5(make):
    image = make.image()
    x = L.Lambda(lambda pixels: pixels / 255)(image)
    return make.saved(keras.Model(image, make.head(x)), "mine.h5")


P, S = Convention("probabilities"), Convention("sigmoid")
MAIN = Convention(head="main")
# Maker, how it is read, and the words of the refusal (None: it is as good as the
# nearest class mean).
TEACHERS = {
    "logits": (Maker.keras, Convention(), None),
    "softmax": (lambda m: m.keras(activation="softmax"), P, None),
    "softmax, undeclared": (
        lambda m: m.keras(activation="softmax"),
        Convention(),
        "probabilities",
    ),
    "sigmoids": (lambda m: m.keras(activation="sigmoid"), S, None),
    "sigmoids, undeclared": (
        lambda m: m.keras(activation="sigmoid"),
        Convention(),
        "`convention.output='sigmoid'`",
    ),
    "sigmoids as probabilities": (
        lambda m: m.keras(activation="sigmoid"),
        P,
        "`convention.output='sigmoid'`",
    ),
    "logits as probabilities": (Maker.keras, P, "not probabilities"),
    "logits as sigmoids": (Maker.keras, S, "not sigmoid"),
    "softmax, hidden": (
        lambda m: m.keras(activation="softmax", after=L.Activation("linear")),
        Convention(),
        "probabilities",
    ),
    "pixels 0-1": (
        lambda m: m.keras(scale=1),
        Convention(),
        "`convention.input='0-1'`",
    ),
    "pixels 0-1, declared": (lambda m: m.keras(scale=1), Convention(input="0-1"), None),
    "pixels -1 to 1": (
        lambda m: m.keras(scale=0.5, offset=0.5),
        Convention(input="minus1-1"),
        None,
    ),
    "pixels 0-255 as 0-1": (
        Maker.keras,
        Convention(input="0-1"),
        "`convention.input='0-255'`",
    ),
    "NaN": (lambda m: m.keras(after=lambda x: x / 0.0 * 0.0), Convention(), "NaN"),
    "absurd": (
        lambda m: m.keras(after=lambda x: x * 1e4),
        Convention(),
        "root mean square",
    ),
    "two classes swapped": (
        lambda m: m.keras(columns=(1, 0, 2)),
        Convention(),
        "'0' is called '1'",
    ),
    "all classes moved": (
        lambda m: m.keras(columns=(1, 2, 0)),
        Convention(),
        "another order",
    ),
    "a class never said": (
        lambda m: m.keras(after=lambda x: x - np.array([0.0, 0.0, 1e3])),
        Convention(),
        "never says '2'",
    ),
    "other classes": (lambda m: m.keras(columns=(0, 1)), Convention(), "3 classes"),
    "training mode": (in_training_mode, Convention(), "training mode"),
    "lists": (nested, Convention(), None),
    "dicts": (by_name, Convention(), None),
    "two heads": (heads, Convention(), "aux, main"),
    "two heads, named": (heads, MAIN, None),
    "two heads, a third named": (heads, Convention(head="mian"), "aux, main"),
    "batch of one": (batch_of_one, Convention(), None),
    "float16": (half, Convention(), None),
    "never built": (unbuilt, Convention(), "no weights"),
    "channels first": (channels_first, Convention(), "channels first"),
    "two inputs": (two_inputs, Convention(), "images alone"),
    "no classifier": (features, Convention(), "expected logits"),
    "h5": (h5, Convention(), None),
    "h5 of a softmax": (lambda m: h5(m, activation="softmax"), P, None),
    "h5 of Keras 2": (depthwise, Convention(), None),
    "h5 with a Lambda": (lambda_h5, Convention(), "mine.h5"),
    "h5 with links": (
        lambda m: changed_h5(m, linked),
        Convention(),
        "another file",
    ),
    "h5 of weights": (
        lambda m: changed_h5(m, without_config),
        Convention(),
        "weights alone",
    ),
    "shell": (shell, Convention(), "student alone"),
    "h5 called keras": (
        lambda m: h5(m).rename(m.folder / "mine.keras"),
        Convention(),
        "rename",
    ),
    "keras called h5": (
        lambda m: m.keras().rename(m.folder / "mine.h5"),
        Convention(),
        "rename",
    ),
    "pointer": (pointer, Convention(), "git lfs pull"),
    "run folder": (lambda m: m.keras().parent, Convention(), "mine.keras"),
    "SavedModel, two inputs": (
        lambda m: m.exported(Maker.head, more=True),
        Convention(),
        "images alone",
    ),
    "no file": (lambda m: m.folder / "none.keras", Convention(), "none.keras"),
    "SavedModel": (lambda m: m.exported(Maker.head), Convention(), None),
    "SavedModel, two heads": (
        lambda m: m.exported(two_heads),
        Convention(),
        "aux, main",
    ),
    "SavedModel, two heads, named": (lambda m: m.exported(two_heads), MAIN, None),
    "SavedModel of one image": (
        lambda m: m.exported(Maker.head, batch_size=1),
        Convention(),
        None,
    ),
}


def accuracy(path, data):
    model = loading.load(path)
    checking.check_teacher(model, path, data=data)
    return evaluation.accuracy(
        evaluation.predict(model, data.test.images), data.test.labels
    )


@pytest.mark.parametrize("name", TEACHERS)
def test_teachers(name, make, data, tmp_path, capsys):
    maker, convention, refused = TEACHERS[name]
    source = maker(make)
    how = {"data": data, "workdir": tmp_path / "runs"}
    how["brought"] = Brought(convention, declared=True)
    with trust.trusting(True):
        if refused is None:
            (path,) = adapting.adapted([str(source)], **how)
            assert accuracy(path, data) > 0.9
            assert (path == str(source)) == (name in ("logits", "float16"))
            return
        with pytest.raises(UserError, match=refused) as error:
            (path,) = adapting.adapted([str(source)], **how)
            accuracy(path, data)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("output", ["sigmoid", "probabilities"])
def test_one_sigmoid_of_two_classes(output, make, pair, tmp_path):
    how = {"data": pair, "workdir": tmp_path / "runs"}
    brought = Brought(Convention(output), declared=True)
    (path,) = adapting.adapted([str(single(make))], brought=brought, **how)
    assert accuracy(path, pair) > 0.9
    logits = loading.load(path)(pair.test.images[:4]).numpy()
    kernel, bias = make.weights
    both = pair.test.images[:4].reshape(4, -1) / 255 @ kernel + bias
    expected = np.stack([np.zeros(4), both[:, 1] - both[:, 0]], axis=1)
    np.testing.assert_allclose(logits, expected, atol=1e-3)


FORCED = ("two classes swapped", "a class never said", "absurd", "pixels 0-1")


@pytest.mark.parametrize("name", FORCED)
def test_what_is_suspicious_can_be_forced(name, make, data, tmp_path):
    maker, convention, _ = TEACHERS[name]
    path = str(maker(make))
    brought = Brought(convention, force=True, declared=True)
    how = {"data": data, "workdir": tmp_path / "runs"}
    (path,) = adapting.adapted([path], brought=brought, **how)
    checking.check_teacher(loading.load(path), path, data=data, force=True)


def test_force_is_for_what_is_only_suspicious(make, data):
    model = loading.load(make.keras(activation="softmax"))
    with pytest.raises(UserError, match="probabilities"):
        checking.check_teacher(model, "t.keras", data=data, force=True)


def test_a_head_is_the_same_in_every_process(make, data):
    """The order of a dict's keys once decided, and differs between processes."""
    source = make.exported(two_heads)
    with trust.trusting(True):
        model = adapting.read(
            source, image_shape=(SIDE, SIDE, 3), num_classes=3, brought=Brought(MAIN)
        )[0]
        model.save(make.folder / "adapted.keras")
        again = loading.load(make.folder / "adapted.keras")
    assert again.get_layer("saved_model").get_config()["head"] == "main"
    found = evaluation.predict(again, data.test.images)
    assert evaluation.accuracy(found, data.test.labels) > 0.9


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
@pytest.mark.parametrize("form", ["mine.keras", "mine.h5"])
def test_what_is_looked_at_needs_no_declaration(activation, form, make, data, capsys):
    """Probabilities are not put through a softmax again."""
    path = make.saved(make.model(activation=activation), form)
    model = adapting.looked_at(path, data=data)
    logits = evaluation.predict(model, data.test.images)
    kernel, bias = make.weights
    pixels = data.test.images.reshape(len(data.test), -1) / 255
    expected = evaluation.probabilities(pixels @ kernel + bias)
    if activation != "sigmoid":
        found = evaluation.probabilities(logits)
        np.testing.assert_allclose(found, expected, atol=1e-3)
    else:
        np.testing.assert_allclose(logits, pixels @ kernel + bias, atol=1e-3)


def test_unlabelled_images_tell_a_scale_by_saturation(make, data):
    model, unlabelled = make.model(scale=1), without_labels(data)
    facts = {"adapted": {}}
    with pytest.raises(UserError, match="`convention.input='0-1'`"):
        checking.check_values(model, "t", data=unlabelled, facts=facts)
    shape = {"image_shape": (SIDE, SIDE, 3), "num_classes": 3}
    model = make.model(scale=1, activation="softmax")
    softmaxed, _ = wrapping.adapt(model, **shape, convention=P)
    facts = {"adapted": {"output": "probabilities"}}
    checking.check_values(make.model(), "t", data=unlabelled, facts={})
    with pytest.raises(UserError, match="`convention.input='0-1'`"):
        checking.check_values(softmaxed, "t", data=unlabelled, facts=facts)


def without_labels(data):
    train = data.train
    nothing = datasets.Examples(train.images, np.full(len(train), -1), train.sample_ids)
    return datasets.ImageData(
        "unlabelled", "1", data.class_names, 0, nothing, nothing, nothing, "0" * 64
    )


def body(final=None, units=3):
    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), L.Flatten(), L.Dense(units, activation=final)]
    )


def inside(final):
    """The layer that ends it is not the model's last one."""
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), L.Rescaling(1), body(final)])


def cast(final):
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(
        image, L.Activation("linear", dtype="float32")(body(final)(image))
    )


STUDENTS = {
    "logits": (body, None),
    "softmax": (lambda: body("softmax"), "softmax"),
    "softmax inside": (lambda: inside("softmax"), "softmax"),
    "softmax and a cast": (lambda: cast("softmax"), "softmax"),
    "sigmoids": (lambda: inside("sigmoid"), "sigmoid"),
    "log-softmax": (lambda: body("log_softmax"), "log-softmax"),
    "ReLU": (lambda: body("relu"), "ReLU"),
    "one unit": (lambda: body(units=1), "expected 3 logits"),
    "never built": (never_built, None),
    "zeros": (
        lambda: keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 3)),
                L.Flatten(),
                L.Dense(3, kernel_initializer="zeros"),
            ]
        ),
        None,
    ),
}


@pytest.mark.parametrize("form", ["student.keras", "student.h5"])
@pytest.mark.parametrize("name", STUDENTS)
def test_students(name, form, data, tmp_path):
    made, refused = STUDENTS[name]
    path = tmp_path / form
    if form.endswith("h5") and name in ("never built",):
        pytest.skip("Keras writes no such file")
    made().save(path)
    recipe = urban2017.given(given.network(str(path)), image_shape=data.image_shape)
    if refused is None:
        building.built(recipe, data)
        return
    with pytest.raises(UserError, match=refused):
        building.built(recipe, data)


@pytest.mark.parametrize("form", ["mine.keras", "mine.h5"])
def test_a_file_says_the_size_of_its_images(form, make, tmp_path):
    path = make.saved(make.model(), form)
    assert loading.image_shape(path) == (SIDE, SIDE, 3)
    assert loading.image_shape(tmp_path / "none.keras") is None
    (tmp_path / "bad.keras").write_bytes(b"no archive")
    assert loading.image_shape(tmp_path / "bad.keras") is None
    os.mkdir(tmp_path / "folder.keras")
    assert loading.image_shape(tmp_path / "folder.keras") is None


def test_a_student_without_weights_gets_those_of_the_seed(tmp_path):
    never_built().save(tmp_path / "student.keras")
    network = given.network(str(tmp_path / "student.keras"))
    shape = {"image_shape": (SIDE, SIDE, 3), "num_classes": 3}
    models = [given.build(network, **shape, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (model.get_weights()[0] for model in models)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
