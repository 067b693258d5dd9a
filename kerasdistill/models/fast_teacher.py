"""The fast teacher's network (airbench94: Jordan 2024, arXiv:2404.00498)."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kerasdistill.models.fast_layers import BatchNormalization, max_pooling
from kerasdistill.recipes.base import FastTeacher
from kerasdistill.recipes.urban2017_layers import PATCH
from kerasdistill.seeds import derive_seed

_SAMPLE = 5000  # images at most that the whitening is computed from
_EPSILON = 5e-4  # added to the patches' variances
_BEND = 1.702  # x sigmoid(1.702 x) is nearly GELU, and cheaper


def build(
    architecture: FastTeacher,
    *,
    images: np.ndarray,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    precision: str = "float32",
) -> keras.Model:
    """Builds the network that trains; `published` makes the one to keep.

    Pixels are normalised by channel; 2x2 patches are whitened by a fixed convolution
    (both signs of every component). Three blocks follow, each conv-pool-norm-gelu-
    conv-norm-gelu with 3x3 filters, then the maximum over all places and a dense
    layer. Kernels pass their inputs on at first, as far as there are outputs for
    them. Differs from airbench94 in that the whitening has no bias.

    Args: those of `build.build`; `images` are of the training split, one or more, with
    sides of 17 pixels or more.
    """
    sample = images[:: -(-len(images) // _SAMPLE)]  # of all of them: classes may follow
    normalise = _normalisation(sample)
    inputs = keras.Input(image_shape, name="image")
    x = normalise(inputs)
    stem = _stem(2 * PATCH**2 * image_shape[-1])
    x = _gelu(stem(x), "whiten", precision)
    for name, filters, pooled in _layers(architecture):
        start = _passing(derive_seed(seed, name, "weights"))
        options = {"use_bias": False, "kernel_initializer": start}
        x = _convolution(filters, name, precision, **options)(x)
        if pooled:
            x = _pool(name, precision, max_pooling)(x)
        x = BatchNormalization(
            scale=False,
            momentum=0.6,
            epsilon=_norm_epsilon(sample),
            dtype=precision,
            name=f"{name}_bn",
        )(x)
        x = _gelu(x, name, precision)
    last = architecture.filters[-1]
    model = keras.Model(inputs, _head(x, num_classes, last, seed), name="fast_teacher")
    pixels = ops.convert_to_numpy(normalise(sample.astype(np.float32)))
    stem.set_weights([whitening(pixels)])
    return model


def published(model: keras.Model) -> keras.Model:
    """The same function from stock layers alone, normalisation folded into kernels.

    Pooling comes before batch normalisation, which without a scale of its own never
    turns the order of values, so folding passes through it. The new model loads
    without our code and is faster; equal up to rounding.
    """
    inputs = keras.Input(model.input_shape[1:], name="image")
    precision = model.get_layer("conv_1_1").dtype_policy.name
    normalise = model.get_layer("normalise")
    x = type(normalise).from_config(normalise.get_config())(inputs)
    # silu(1.702 x) / 1.702 is the activation; the factors go into the kernels.
    kernels = {"whiten": [_BEND * _kernel(model, "whiten")]}
    x = _silu(_stem(kernels["whiten"][0].shape[-1])(x), "whiten", precision)
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        name = layer.name.removesuffix("_bn")
        kernels[name] = _folded(_kernel(model, name), layer)
        x = _convolution(layer.input.shape[-1], name, precision)(x)
        if f"{name}_pool" in {each.name for each in model.layers}:
            x = _pool(name, precision)(x)
        x = _silu(x, name, precision)
    head = model.get_layer("logits")
    kernels["logits"] = [_kernel(model, "logits") / _BEND]
    x = _head(x, head.units, head.kernel.shape[0], 0)
    folded = keras.Model(inputs, x, name=model.name)
    for name, values in kernels.items():
        folded.get_layer(name).set_weights(values)
    return folded


def whitening(images: np.ndarray) -> np.ndarray:
    """Filters whose answers to the images' patches are uncorrelated, unit variance.

    From normalised float32 [N, height, width, channels] to float32 [2, 2, channels,
    8 * channels]: the patches' principal components over the roots of their variances,
    then the same with the other sign.
    """
    windows = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), (1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3)
    shape = (*patches.shape[3:], -1)
    patches = patches.reshape(-1, PATCH**2 * images.shape[-1])
    variances, components = np.linalg.eigh(
        (patches.T @ patches / len(patches)).astype(np.float64)
    )
    filters = components / np.sqrt(variances + _EPSILON)
    return np.concatenate([filters, -filters], 1).reshape(shape).astype(np.float32)


def _layers(architecture: FastTeacher) -> list[tuple[str, int, bool]]:
    return [
        (f"conv_{block}_{index}", filters, index == 1)
        for block, filters in enumerate(architecture.filters, start=1)
        for index in (1, 2)
    ]


def _normalisation(images: np.ndarray) -> keras.layers.Normalization:
    pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
    return keras.layers.Normalization(
        mean=pixels.mean(0).tolist(),
        variance=np.maximum(pixels.var(0), 1.0).tolist(),
        dtype="float32",
        name="normalise",
    )


def _norm_epsilon(images: np.ndarray) -> float:
    """Added to the variances of batch normalisation.

    Colours of grey images cancel in the stem. On JAX they leave residues that differ
    between training and scoring, and the usual number would make signals of them: the
    digits' validation accuracy is 10 % with 1e-6 there, and 94 % with 1e-3.
    """
    cancels = images.shape[-1] > 1 and (images == images[..., :1]).all()
    return 1e-3 if cancels and keras.backend.backend() == "jax" else 1e-6


def _stem(filters: int) -> keras.Layer:
    # Exact, so that what should cancel does: half-precision residues of colours in
    # grey images, divided by their tiny variances, would be taken for a signal.
    return keras.layers.Conv2D(
        filters, PATCH, use_bias=False, trainable=False, dtype="float32", name="whiten"
    )


def _convolution(filters: int, name: str, precision: str, **options) -> keras.Layer:
    return keras.layers.Conv2D(
        filters, 3, padding="same", dtype=precision, name=name, **options
    )


def _pool(
    name: str, precision: str, kind: Callable = keras.layers.MaxPooling2D
) -> keras.Layer:
    return kind(2, dtype=precision, name=f"{name}_pool")


def _gelu(x, name: str, precision: str):
    return keras.layers.Activation(_bent, dtype=precision, name=f"{name}_gelu")(x)


def _bent(x):
    return x * ops.sigmoid(_BEND * x)


def _silu(x, name: str, precision: str):
    return keras.layers.Activation("silu", dtype=precision, name=f"{name}_silu")(x)


def _head(x, num_classes: int, features: int, seed: int):
    x = keras.layers.GlobalMaxPooling2D(dtype="float32", name="pool")(x)
    widest = 3**0.5 / features
    return keras.layers.Dense(
        num_classes,
        use_bias=False,
        dtype="float32",
        kernel_initializer=keras.initializers.RandomUniform(
            -widest, widest, seed=derive_seed(seed, "logits", "weights")
        ),
        name="logits",
    )(x)


def _passing(seed: int):
    """Uniform weights, but the first outputs are the inputs themselves."""

    def kernel(shape, dtype=None):
        height, width, inputs, outputs = shape
        widest = (height * width * inputs) ** -0.5
        values = np.random.default_rng(seed).uniform(-widest, widest, shape)
        same = np.arange(min(inputs, outputs))
        values[..., same] = 0.0
        values[height // 2, width // 2, same, same] = 1.0
        return ops.convert_to_tensor(values.astype(np.float32), dtype=dtype)

    return kernel


def _kernel(model: keras.Model, name: str) -> np.ndarray:
    return ops.convert_to_numpy(model.get_layer(name).kernel)


def _folded(kernel: np.ndarray, norm: keras.Layer) -> list[np.ndarray]:
    """Kernel and bias that do what the convolution and its normalisation do."""
    values = norm.moving_mean, norm.moving_variance, norm.beta
    mean, variance, beta = map(ops.convert_to_numpy, values)
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    # What comes in is 1.702 times what it was, and so is to be what goes out.
    return [kernel * scale, _BEND * (beta - mean * scale)]
