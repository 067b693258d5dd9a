"""Other people's networks inside layers, and back from files; unsafe ones refused."""

import keras
import numpy as np
import pytest
from PIL import Image

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.exports import saved_model as export
from kerasdistill.models import (
    applications,
    ensemble,
    given,
    loading,
    saved,
    trust,
    wrapping,
)
from kerasdistill.models.digest import weights_digest

PROBABILITIES = wrapping.Convention("probabilities")
RNG = np.random.default_rng(0)


def foreign(side=8, channels=3, classes=3, activation=None):
    return keras.Sequential(
        [
            keras.Input((side, side, channels)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation=activation),
        ]
    )


def pixels(side, channels):
    return RNG.integers(0, 256, (4, side, side, channels)).astype(np.uint8)


def test_a_model_that_fits_is_left_alone():
    model = foreign()
    assert wrapping.adapt(model, image_shape=(8, 8, 3), num_classes=3) == (model, [])


def test_size_colour_and_probabilities_become_layers(tmp_path):
    model = foreign(activation="softmax")
    adapted, told = wrapping.adapt(
        model, image_shape=(16, 16, 1), num_classes=3, convention=PROBABILITIES
    )
    assert len(told) == 3
    images = pixels(16, 1)
    small = keras.layers.Resizing(8, 8)(images.astype("f4"))
    expected = np.log(np.maximum(model(np.repeat(small, 3, axis=-1)), 1e-7))
    np.testing.assert_allclose(adapted(images), expected, atol=1e-5)
    adapted.save(tmp_path / "model.keras")
    again = loading.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), adapted(images))
    assert weights_digest(again) == weights_digest(adapted)


def test_probabilities_of_zero_have_the_floors_logit():
    model = foreign(activation="softmax")
    model.set_weights([np.zeros((192, 3)), np.array([200.0, 0.0, 0.0])])
    adapted, _ = wrapping.adapt(
        model, image_shape=(8, 8, 3), num_classes=3, convention=PROBABILITIES
    )
    found = adapted(pixels(8, 3)).numpy()
    np.testing.assert_allclose(found[0], [0, np.log(1e-7), np.log(1e-7)], rtol=1e-5)


def test_grey_of_rgb_is_pillows():
    model = foreign(channels=1)
    model.set_weights([np.eye(64, 3), np.zeros(3)])
    adapted, _ = wrapping.adapt(model, image_shape=(8, 8, 3), num_classes=3)
    images = pixels(8, 3)
    grey = np.stack([np.asarray(Image.fromarray(i).convert("L")) for i in images])
    found = 255 * adapted(images).numpy()
    np.testing.assert_allclose(found, grey.reshape(4, 64)[:, :3], atol=0.6)


def test_what_takes_no_images_is_refused():
    flat = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.raises(UserError, match="expected images"):
        wrapping.adapt(flat, image_shape=(8, 8, 3), num_classes=3)


@pytest.mark.parametrize("module", ["resnet", "mobilenet_v2", "densenet"])
def test_preprocessing_is_the_applications_own(module):
    function = getattr(keras.applications, module).preprocess_input
    images = pixels(4, 3).astype("f4")
    found = wrapping.linear_preprocessing(function)(images)
    np.testing.assert_allclose(found, function(images.copy()), atol=1e-4)


@pytest.mark.slow
def test_an_application_with_weights_of_a_file(tmp_path):
    net = keras.applications.MobileNetV2(
        weights=None, input_shape=(48, 48, 3), classes=3, classifier_activation=None
    )
    net.save_weights(tmp_path / "w.weights.h5")
    model, told = applications.application(
        "keras:MobileNetV2@48",
        image_shape=(32, 32, 3),
        num_classes=3,
        weights=str(tmp_path / "w.weights.h5"),
    )
    assert told[0] == "keras.applications.MobileNetV2"
    assert "resized to 48x48, bilinear" in told and "preprocess_input" in told
    images = pixels(32, 3)
    seen = keras.layers.Resizing(48, 48)(images.astype("f4"))
    expected = net(seen / 127.5 - 1.0, training=False)
    np.testing.assert_allclose(model(images), expected, atol=1e-4)
    with pytest.raises(UserError, match="cannot be built for 4 classes"):
        applications.application(
            "keras:MobileNetV2",
            image_shape=(32, 32, 3),
            num_classes=4,
            weights=str(tmp_path / "w.weights.h5"),
        )


def test_unknown_applications_are_told():
    for source in ("keras:MobileNet9", "keras:MobileNetV2@big", "keras:imagenet_utils"):
        with pytest.raises(UserError, match="MobileNetV2"):
            applications.application(source, image_shape=(32, 32, 3), num_classes=3)


def test_saved_models_need_trust_and_keep_their_numbers(tmp_path):
    model = foreign()
    images = pixels(8, 3)
    export.export_saved_model(model, tmp_path / "saved", card={}, images=images)
    with pytest.raises(UserError, match="saved_models=True"):
        saved.model_of(tmp_path / "saved")
    with trust.trusting(True):
        wrapped, told = wrapping.adapt(
            saved.model_of(tmp_path / "saved"), image_shape=(16, 16, 3), num_classes=3
        )
        assert told == ["resized to 8x8, bilinear"]
        wrapped.save(tmp_path / "model.keras")
        again = loading.load(tmp_path / "model.keras")
        both = ensemble.build([again, again])
    wide = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    for each in (wrapped, again, both):
        np.testing.assert_allclose(each(wide), model(images), atol=1e-4)
    other = foreign()
    export.export_saved_model(other, tmp_path / "other", card={}, images=images)
    with trust.trusting(True):
        digest = weights_digest(saved.model_of(tmp_path / "other"))
    assert digest != weights_digest(again)
    # The file alone is no way around the question.
    with pytest.raises(UserError, match="saved_models=True"):
        loading.load(tmp_path / "model.keras")


def test_files_that_would_run_code_are_refused(tmp_path):
    unsafe = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    unsafe.add(keras.layers.Lambda(lambda x: x[:, :3]))
    unsafe.save(tmp_path / "unsafe.keras")
    (tmp_path / "model.pkl").write_bytes(b"pickled")
    with trust.trusting(True):  # of SavedModels alone
        for name in ("unsafe.keras", "model.pkl"):
            with pytest.raises(UserError, match=name):
                loading.load(tmp_path / name)


def test_a_given_student_is_the_file_as_it_is(tmp_path):
    model = foreign()
    path = tmp_path / "student.keras"
    model.save(path)
    network = given.network(str(path))
    shape = {"image_shape": (8, 8, 3), "num_classes": 3, "seed": 0}
    built = given.build(network, **shape)
    images = pixels(8, 3)
    np.testing.assert_array_equal(built(images), model(images))
    with pytest.raises(UserError, match="expected 4 logits"):
        given.build(network, **{**shape, "num_classes": 4})
    foreign().save(path)
    with pytest.raises(StaleArtifactError, match="has changed"):
        given.build(network, **shape)
    with pytest.raises(UserError, match="nowhere.keras"):
        given.network("nowhere.keras")
