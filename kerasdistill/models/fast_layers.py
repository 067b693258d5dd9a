"""Keras' layers, faster on one backend or another, and the way back to Keras' own."""

import functools

import keras
from keras import ops

from kerasdistill.models.summary import leaf_layers

_FUSED_DTYPES = ("float32", "bfloat16", "float16")
_LEVELS = 2**16  # of a random number that decides on one activation


@keras.saving.register_keras_serializable("kerasdistill")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, by one fused kernel where TensorFlow has it.

    Variables, arguments, numbers and moving statistics are those of
    `keras.layers.BatchNormalization`, whose own code normalises in five float32
    operations and halves the training speed of residual networks on a CPU. The
    kernel is used on the TensorFlow backend for images
    [batch, height, width, channels]; anything else (other backends, masks, other ranks
    or axes, renorm, training synchronized over two or more replicas) is left to Keras.

    A model's file should not need our code: save `with_keras_layers(model)`.
    """

    def call(self, inputs, training=None, mask=None):
        training = bool(training and self.trainable)
        dtype = keras.backend.result_type(inputs.dtype, self.compute_dtype)
        if (
            mask is not None
            or getattr(self, "renorm", False)  # which Keras has from 3.13 on
            or keras.backend.backend() != "tensorflow"
            or len(inputs.shape) != 4
            or self.axis not in (-1, 3)
            or dtype not in _FUSED_DTYPES
            or (training and self.synchronized and _replicas() > 1)
        ):
            return super().call(inputs, training=training, mask=mask)
        inputs = ops.cast(inputs, dtype)
        outputs, mean, variance = self._fused(inputs, training)
        if training:
            # The kernel divides by count - 1 (Bessel), Keras' variance by count.
            count = ops.cast(ops.size(inputs) // inputs.shape[-1], "float32")
            variance = variance * ops.maximum(count - 1.0, 1.0) / count
            kept = self.momentum
            self.moving_mean.assign(self.moving_mean * kept + mean * (1.0 - kept))
            self.moving_variance.assign(
                self.moving_variance * kept + variance * (1.0 - kept)
            )
        return ops.cast(outputs, self.compute_dtype)

    def _fused(self, inputs, training: bool):
        """Normalised inputs, and the mean and variance [channels] used for it."""
        import tensorflow as tf

        channels = inputs.shape[-1]
        if training:
            mean = variance = tf.zeros(0)  # it takes the batch's
        else:
            mean = ops.cast(self.moving_mean, "float32")
            variance = ops.cast(self.moving_variance, "float32")
        offset = ops.cast(self.beta, "float32") if self.center else tf.zeros(channels)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32") if self.scale else tf.ones(channels),
            offset=offset,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=training,
        )
        return outputs, mean, variance


@keras.saving.register_keras_serializable("kerasdistill")
class Dropout(keras.layers.Dropout):
    """Keras' layer, with two decisions from each random word on TensorFlow.

    Arguments, scaling and the seed's state are those of `keras.layers.Dropout`, whose
    own code draws 32 bits for each activation: a fifth of a Wide-ResNet-16-1's step on
    a CPU. Sixteen decide here, so the rate holds to 1/131072. Other backends and masks
    shared by `noise_shape` are left to Keras.

    A model's file should not need our code: save `with_keras_layers(model)`.
    """

    def call(self, inputs, training=False):
        if (
            not training
            or not 0 < self.rate < 1
            or self.noise_shape is not None
            or keras.backend.backend() != "tensorflow"
        ):
            return super().call(inputs, training=training)
        return inputs * self._mask(inputs)

    def _mask(self, inputs):
        """0 for a dropped input, 1 / (1 - rate) for a kept one, as `inputs`."""
        import tensorflow as tf

        # Stateless kernels take no 64-bit seeds under XLA; Keras narrows its own so.
        seed = self.seed_generator.next()
        seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
        count = tf.size(inputs)
        words = tf.random.stateless_uniform(
            [(count + 1) // 2], seed, minval=None, maxval=None, dtype=tf.uint32
        )
        levels = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:count]
        dropped = min(round(self.rate * _LEVELS), _LEVELS - 1)
        kept = tf.reshape(levels, tf.shape(inputs)) >= dropped
        return tf.cast(kept, inputs.dtype) * tf.cast(1 / (1 - self.rate), inputs.dtype)


@keras.saving.register_keras_serializable("kerasdistill")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras' layer, on JAX as maxima of slices where its windows don't overlap.

    XLA looks for the largest of each window again to hand its gradient on, which takes
    six times as long on a processor. There, equal maxima share their gradient; after a
    ReLU that is of no consequence, as most of them are zeros.

    A model's file should not need our code: save `with_keras_layers(model)`.
    """

    def call(self, inputs):
        apart = tuple(self.strides) == tuple(self.pool_size)
        plain = self.padding == "valid" and self.data_format == "channels_last"
        if not (apart and plain and keras.backend.backend() == "jax"):
            return super().call(inputs)
        down, across = self.pool_size
        height, width = (inputs.shape[1] // down, inputs.shape[2] // across)
        whole = inputs[:, : height * down, : width * across]
        places = [(i, j) for i in range(down) for j in range(across)]
        parts = [whole[:, i::down, j::across] for i, j in places]
        return functools.reduce(ops.maximum, parts)


def max_pooling(*arguments, **options) -> keras.layers.MaxPooling2D:
    """The layer for a network to be trained here; other backends keep Keras' own."""
    on_jax = keras.backend.backend() == "jax"
    kind = MaxPooling2D if on_jax else keras.layers.MaxPooling2D
    return kind(*arguments, **options)


_KINDS = {
    BatchNormalization: keras.layers.BatchNormalization,
    Dropout: keras.layers.Dropout,
    MaxPooling2D: keras.layers.MaxPooling2D,
}


def with_keras_layers(
    model: keras.Model, kinds: tuple[type, ...] = tuple(_KINDS)
) -> keras.Model:
    """A copy that loads without our code: Keras' own layers in the place of ours.

    Names, weights and numbers stay. The copied layers are not synchronized, which only
    TensorFlow's backend accepts. A model without layers of these kinds is returned
    itself.

    Args:
        model: functional or sequential, models inside it included.
        kinds: which of our layers are replaced.
    """
    if not any(isinstance(layer, kinds) for layer in leaf_layers(model)):
        return model

    def copy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if not isinstance(layer, kinds):
            return type(layer).from_config(config)
        if isinstance(layer, BatchNormalization):
            config["synchronized"] = False
        return _KINDS[type(layer)].from_config(config)

    copied = keras.models.clone_model(model, clone_function=copy, recursive=True)
    copied.set_weights(model.get_weights())
    return copied


def use_fast_layers(model: keras.Model) -> keras.Model:
    """Makes Keras' batch normalisations in a model ours, for a teacher that predicts.

    The model, and models inside it, are changed in place, so that layers of its own
    need no copying; weights and numbers stay. Save it as `with_keras_layers(model)`.
    """
    for layer in leaf_layers(model):
        if type(layer) is keras.layers.BatchNormalization:
            layer.__class__ = BatchNormalization  # it has no attributes of its own
    return model


def _replicas() -> int:
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1
