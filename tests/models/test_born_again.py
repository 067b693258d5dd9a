"""The second paper's networks against its tables (docs/papers/born-again.md)."""

import keras
import numpy as np
import pytest

from kerasdistill.errors import UserError
from kerasdistill.models import born_again, fast_layers, summary
from kerasdistill.models.build import build
from kerasdistill.recipes import born_again as recipes
from kerasdistill.recipes.architectures import BanResNet, DenseNet, WideResNet

# Name, classes, factors, count.
SMALL = [
    ("wide-resnet-28-1", 10, {}, 369_498),
    ("wide-resnet-28-1", 100, {}, 375_348),
    ("wide-resnet-28-2", 10, {}, 1_467_610),
    ("ban-wide-resnet-1-1", 100, {}, 20_990_580),
]
LARGE = [
    ("wide-resnet-28-2", 100, {}, 1_479_220),
    ("wide-resnet-28-5", 10, {}, 9_132_634),
    ("wide-resnet-28-5", 100, {}, 9_161_524),
    ("wide-resnet-28-10", 10, {}, 36_479_194),
    ("wide-resnet-28-10", 100, {}, 36_536_884),
    ("densenet-bc-100-12", 10, {}, 769_162),
    ("densenet-bc-190-40", 10, {}, 25_624_430),
    ("densenet-bc-250-24", 10, {}, 15_324_406),
    ("densenet-112-33", 10, {}, 6.271e6),
    ("densenet-112-33", 100, {}, 6.361e6),
    ("densenet-90-60", 10, {}, 16.173e6),
    ("densenet-90-60", 100, {}, 16.241e6),
    ("densenet-80-80", 10, {}, 22.422e6),
    ("densenet-80-80", 100, {}, 22.499e6),
    ("densenet-80-120", 10, {}, 50.363e6),
    ("densenet-80-120", 100, {}, 50.480e6),
    ("densenet-90-60", 100, {"depth_factor": 0.5}, 21.35e6),
    ("densenet-90-60", 100, {"depth_factor": 2}, 13.74e6),
    ("densenet-90-60", 100, {"depth_factor": 3}, 12.95e6),
    ("densenet-90-60", 100, {"depth_factor": 4}, 12.60e6),
    ("densenet-90-60", 100, {"compression_factor": 0.5}, 5.05e6),
    ("densenet-90-60", 100, {"compression_factor": 0.75}, 10.15e6),
    ("densenet-90-60", 100, {"compression_factor": 1.5}, 29.4e6),
    ("ban-wide-resnet-2-1", 100, {}, 43.111e6),
    ("ban-wide-resnet-4-0.5", 100, {}, 24.329e6),
    ("ban-wide-resnet-4-1", 100, {}, 87.352e6),
    ("ban-pre-resnet-14-0.5", 100, {}, 7.56e6),
    ("ban-pre-resnet-14-1", 100, {}, 19.10e6),
]
SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), "uint8")


def count(architecture, classes):
    """Convolutions, normalisations and classifier, summed without building any."""
    if isinstance(architecture, WideResNet):
        size, total = 16, 3 * 9 * 16
        for width in (16 * architecture.width * 2**stage for stage in range(3)):
            total += size * width * (size != width)
            for _ in range(architecture.units):
                total += 9 * (size + width) * width + 2 * (size + width)
                size = width
    elif isinstance(architecture, DenseNet):
        size, total = architecture.stem, 27 * architecture.stem
        for block, growths in enumerate(architecture.growths):
            for k in growths:
                total += 2 * size + size * 4 * k + 8 * k + 36 * k * k
                size += k
            if block < len(architecture.transitions):
                total += 2 * size + size * architecture.transitions[block]
                size = architecture.transitions[block]
    else:
        return count_frozen(architecture)
    return total + 2 * size + (size + 1) * classes


def count_frozen(architecture):
    size, total, wide = architecture.stem, 0, architecture.kind == "wide"
    for output in architecture.sizes:
        trunk = int(architecture.ratio * output) if wide else output
        w = trunk if wide else int(architecture.ratio * output / 4)
        total += size * trunk * (size != trunk)
        for _ in range(architecture.units):
            if wide:
                total += 2 * size + 9 * size * w + 2 * w + 9 * w * w
            else:
                total += 2 * size + size * w + 2 * w + 9 * w * w + 2 * w + w * trunk
            size = trunk
        if wide:
            total += 2 * size + size * output
        size = output
    return total + 2 * size


@pytest.mark.parametrize(("name", "classes", "factors", "expected"), SMALL + LARGE)
def test_sizes_give_the_counts(name, classes, factors, expected):
    architecture = recipes.architecture(name, **factors)
    found = count(architecture, classes)
    exact = isinstance(expected, int)
    assert found == expected if exact else found == pytest.approx(expected, rel=2e-3)
    if not factors.get("compression_factor") and "pre" not in name and not exact:
        assert found == pytest.approx(expected, rel=4e-4)


def built(architecture, *, classes=10, shape=SHAPE, precision="float32"):
    return build(
        architecture,
        image_shape=shape,
        num_classes=classes,
        seed=0,
        precision=precision,
    )


@pytest.mark.parametrize(("name", "classes", "factors", "expected"), SMALL)
def test_networks_have_the_counts(name, classes, factors, expected):
    model = built(recipes.architecture(name, **factors), classes=classes)
    assert summary.num_trainable(model) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes", "factors", "expected"), LARGE)
def test_large_networks_have_the_counts(name, classes, factors, expected):
    architecture = recipes.architecture(name, **factors)
    model = built(architecture, classes=classes)
    assert summary.num_trainable(model) == count(architecture, classes)


TINY = {
    "wide": WideResNet(units=1, width=2),
    "dense": DenseNet(4, ((2, 3), (3,), (2,)), (4, 5)),
    "dense, third": DenseNet(4, ((2,), (3,), (2,)), (4, 5, 4)),
    "ban wide": BanResNet("wide", 1, 0.5, stem=4, sizes=(4, 5, 4)),
    "ban pre": BanResNet("pre", 1, 1.0, stem=4, sizes=(4, 8, 4)),
}


@pytest.mark.parametrize("kind", TINY)
def test_every_network_keeps_the_contract(kind, tmp_path):
    options = {"precision": "mixed_bfloat16", "shape": (8, 8, 3)}
    model, images = built(TINY[kind], **options), IMAGES[:, :8, :8]
    assert model.output.dtype == "float32" and model.input_shape == (None, 8, 8, 3)
    assert model.get_layer("conv_1").compute_dtype == "bfloat16"
    assert summary.num_trainable(model) == count(TINY[kind], 10)
    logits = model(images, training=False).numpy()
    assert logits.shape == (3, 10) and np.isfinite(logits).all()
    np.testing.assert_array_equal(model(images.astype(np.float32)), logits)
    fast_layers.with_keras_layers(model).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(images), logits)
    assert summary.num_trainable(loaded) == summary.num_trainable(model)
    again = built(TINY[kind], **options)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_pixels_are_normalised_by_channel():
    model = built(WideResNet(1, 1))
    normalize = keras.Model(model.input, model.get_layer("normalize").output)
    found = normalize(IMAGES)
    expected = (IMAGES - np.float32([125.3, 123.0, 113.9])) / [63.0, 62.1, 66.7]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_grey_pixels_have_the_means_of_the_statistics():
    model = built(WideResNet(1, 1), shape=(8, 8, 1))
    grey = IMAGES[:, :8, :8, :1]
    normalize = keras.Model(model.input, model.get_layer("normalize").output)
    mean, deviation = np.mean([125.3, 123.0, 113.9]), np.mean([63.0, 62.1, 66.7])
    np.testing.assert_allclose(normalize(grey), (grey - mean) / deviation, atol=1e-5)
    assert np.isfinite(model(grey)).all()


def test_every_weight_bears_the_penalty():
    model = built(WideResNet(1, 2, weight_decay=0.01))
    squares = sum((w.numpy() ** 2).sum() for w in model.trainable_variables)
    penalty = float(keras.ops.sum(keras.ops.stack(model.losses)))
    assert penalty == pytest.approx(0.005 * squares, rel=1e-5)
    assert not built(WideResNet(1, 2, weight_decay=0.0)).losses


def test_dropout_lies_between_the_convolutions_of_a_unit():
    names = [layer.name for layer in built(WideResNet(1, 1, dropout_rate=0.3)).layers]
    order = [
        names.index(f"unit_2_1_{part}")
        for part in ("conv_1", "2_norm", "2_relu", "dropout", "conv_2")
    ]
    assert order == sorted(order)
    without = built(WideResNet(1, 1, dropout_rate=0.0))
    assert not any("dropout" in layer.name for layer in without.layers)


def test_width_1_keeps_the_identity_in_stage_one():
    names = [layer.name for layer in built(WideResNet(1, 1)).layers]
    shortcuts = [name for name in names if "shortcut" in name]
    assert shortcuts == ["unit_2_1_shortcut", "unit_3_1_shortcut"]


def test_a_ban_resnet_takes_over_and_freezes_the_teachers_ends():
    teacher = built(TINY["dense, third"])
    student = built(TINY["ban wide"])
    before = [w.numpy() for w in student.trainable_variables]
    born_again.take_over(student, fast_layers.with_keras_layers(teacher))
    for name in ("conv_1", "logits"):
        own, given = student.get_layer(name), teacher.get_layer(name)
        assert not own.trainable and own.weights
        for one, other in zip(own.get_weights(), given.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(before, student.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_teacher_of_other_sizes_has_nothing_to_take_over():
    with pytest.raises(UserError, match="conv_1.*densenet-90-60"):
        born_again.take_over(built(TINY["ban wide"]), built(WideResNet(1, 1)))
