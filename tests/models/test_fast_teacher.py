"""The fast teacher's network: what it starts as, and what is published of it."""

import keras
import numpy as np
import pytest

from kerasdistill.models import fast_teacher, summary
from kerasdistill.recipes import fast
from kerasdistill.recipes.base import FastTeacher

SHAPE = (32, 32, 3)


def pictures(count, side=32):
    """Smooth noise, so that neighbours resemble each other."""
    generator = np.random.default_rng(count)
    coarse = generator.integers(0, 256, (count, side // 4, side // 4, 3))
    noise = generator.integers(-20, 21, (count, side, side, 3))
    smooth = coarse.repeat(4, axis=1).repeat(4, axis=2) + noise
    return smooth.clip(0, 255).astype(np.uint8)


def build(filters=(4, 6, 5), precision="float32", seed=0):
    return fast_teacher.build(
        FastTeacher(filters=filters),
        images=pictures(40),
        image_shape=SHAPE,
        num_classes=7,
        seed=seed,
        precision=precision,
    )


def test_the_recipe_has_airbench_s_size():
    model = build(fast.teacher().architecture.filters)
    kernels = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256) + 256 * 7
    assert summary.num_trainable(model) == kernels + 2 * (64 + 256 + 256)


def test_whitened_patches_have_the_identity_as_their_covariance():
    images = pictures(50).astype(np.float32) / 40.0 - 3.0
    filters = fast_teacher.whitening(images)
    assert filters.shape == (2, 2, 3, 24)
    answers = keras.ops.conv(images, filters, padding="valid")
    answers = keras.ops.convert_to_numpy(answers).reshape(-1, 24)
    np.testing.assert_array_equal(answers[:, :12], -answers[:, 12:])
    second_moments = answers[:, :12].T @ answers[:, :12] / len(answers)
    np.testing.assert_allclose(second_moments, np.eye(12), atol=0.02)


def test_kernels_pass_their_inputs_on_at_first():
    kernel = keras.ops.convert_to_numpy(build().get_layer("conv_2_1").kernel)
    inputs = np.random.default_rng(0).normal(size=(1, 5, 5, 4)).astype(np.float32)
    passed = keras.ops.conv(inputs, kernel, padding="same")
    np.testing.assert_allclose(passed[..., :4], inputs, atol=1e-6)
    assert np.abs(kernel[..., 4:]).max() <= 1 / 6


def test_seeds_choose_the_weights():
    weights = [build(seed=seed).get_weights() for seed in (0, 0, 1)]
    same = [np.array_equal(a, b) for a, b in zip(*weights[:2], strict=True)]
    assert all(same)
    assert not np.array_equal(weights[0][-1], weights[2][-1])


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.05)]
)
def test_what_is_published_is_the_same_function(tmp_path, precision, tolerance):
    model = build(precision=precision)
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            beta, mean, variance = (w.shape for w in layer.get_weights())
            layer.set_weights(
                [
                    generator.normal(size=beta),
                    generator.normal(size=mean),
                    generator.uniform(0.3, 3.0, variance),
                ]
            )
    images = pictures(9)
    expected = model.predict(images, verbose=0)
    folded = fast_teacher.published(model)
    found = folded.predict(images, verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance)
    assert np.ptp(expected, axis=0).max() > 0.01 * scale
    assert summary.num_trainable(folded) == summary.num_trainable(model)
    stock = {type(layer).__module__.split(".")[0] for layer in folded.layers}
    assert stock == {"keras"}
    folded.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again.predict(images, verbose=0), found)
