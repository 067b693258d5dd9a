"""How an ensemble's logits follow from its members', in TensorFlow."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def mean_logits(members: Sequence[tf.Tensor]) -> tf.Tensor:
    """The paper's super teacher: the mean of the members' logits, float32 [B, K]."""
    # Not a division: inside a graph TensorFlow turns that into this, with other bits.
    return tf.add_n(list(members)) * tf.constant(1 / len(members), tf.float32)


def mean_probabilities(members: Sequence[tf.Tensor]) -> tf.Tensor:
    """Logits whose softmax is the mean of the members' softmax, float32 [B, K]."""
    stacked = tf.nn.log_softmax(tf.stack(list(members)))
    return tf.reduce_logsumexp(stacked, axis=0) - tf.math.log(float(len(members)))


AVERAGINGS: dict[str, Callable[[Sequence[tf.Tensor]], tf.Tensor]] = {
    "mean-logits": mean_logits,
    "mean-probabilities": mean_probabilities,
}
