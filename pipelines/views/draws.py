"""Random numbers of a view, from its seed alone, in TensorFlow."""

import numpy as np
import tensorflow as tf


def uniform(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """float32 [N, count] in [0, 1): splitmix64 streams started at int64 seeds [N]."""
    golden = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    bits = tf.bitcast(seeds, tf.uint64)[:, None] + tf.constant(golden)[None]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        shifted = tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64))
        bits = tf.bitwise.bitwise_xor(bits, shifted) * tf.constant(factor, tf.uint64)
    # The top 24 bits: exactly representable, so 1.0 is never reached.
    top = tf.bitwise.right_shift(bits, tf.constant(40, tf.uint64))
    return tf.cast(top, tf.float32) * 2.0**-24
