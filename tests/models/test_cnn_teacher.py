import keras
import numpy as np
import pytest

from kerasdistill.models import summary, urban
from kerasdistill.recipes import urban2017


def tiny(*, seed=0, precision="float32"):
    recipe = urban2017.teacher_of(filters=(4, 6, 8), dense=10)
    return urban.build(
        recipe.architecture,
        image_shape=(16, 16, 3),
        num_classes=5,
        seed=seed,
        precision=precision,
    )


@pytest.mark.parametrize(
    ("published", "num_params"), [(1, 5_339_350), (2, 2_453_729), (3, 5_823_101)]
)
def test_published_counts(published, num_params):
    model = urban.build(
        urban2017.teacher(published).architecture,
        image_shape=(32, 32, 3),
        num_classes=10,
        seed=0,
    )
    assert summary.num_trainable(model) == num_params == model.count_params()


def test_layer_order():
    kinds = {"Conv2D": "c", "MaxPooling2D": "mp", "Dense": "fc", "Dropout": "do"}
    model = tiny()
    layers = [
        kinds[type(layer).__name__]
        for layer in model.layers
        if type(layer).__name__ in kinds
    ]
    assert "-".join(layers) == ("c-c-mp-do-c-c-mp-do-c-c-c-c-mp-do-fc-do-fc-do-fc")
    rates = [layer.rate for layer in model.layers if hasattr(layer, "rate")]
    assert rates == [0.1, 0.25, 0.3, 0.3, 0.3]


def test_initial_weights():
    model = tiny()
    kernel = model.get_layer("conv_3_2").get_weights()[0]
    limit = 1.25 * np.sqrt(6 / (9 * 8 + 9 * 8))
    assert 0.97 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
    same, other = tiny(), tiny(seed=1)
    np.testing.assert_array_equal(kernel, same.get_layer("conv_3_2").get_weights()[0])
    assert not np.allclose(kernel, other.get_layer("conv_3_2").get_weights()[0])


def test_weight_decay_reaches_kernels_only():
    model = tiny()
    expected = sum(
        0.5e-4 * np.sum(weight**2) for weight in model.get_weights() if weight.ndim > 1
    )
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)


def test_logits_are_float32_under_mixed_precision():
    model = tiny(precision="mixed_bfloat16")
    assert model.output.dtype == "float32"
    assert model.get_layer("conv_1_1").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
