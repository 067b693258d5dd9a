"""The papers' losses, one value per example. Pure functions of arrays.

All take logits (before softmax) in any float type, compute in float32 and return
float32 [batch]; the mean over the global batch is taken by the model shells. Unless a
function says more, `labels` are integers [batch], `teacher_logits` and
`student_logits` are [batch, classes], and `temperature` is T > 0.
"""

import numpy as np
from keras import ops


def hard_label(labels, student_logits, *, smoothing=0.0):
    """Cross-entropy with class ids: -log softmax(z)[y].

    Args:
        smoothing: this much of the target is spread evenly over all classes
            (Szegedy et al. 2016, section 7).
    """
    student_logits = ops.cast(student_logits, "float32")
    # Fused where the backend can: with 10,000 words, one-hot labels are slow.
    loss = ops.sparse_categorical_crossentropy(labels, student_logits, from_logits=True)
    if smoothing:
        log_probabilities = ops.log_softmax(student_logits, axis=-1)
        evenly = -ops.mean(log_probabilities, axis=-1)
        loss = (1.0 - smoothing) * loss + smoothing * evenly
    return loss


def logit_regression(teacher_logits, student_logits):
    """Squared distance of the logits, *summed* over classes (Urban, eq. 1).

    Keras' mean squared error divides by the number of classes as well, which would
    change what the paper's learning rates mean.
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    difference = ops.cast(student_logits, "float32") - teacher_logits
    return ops.sum(ops.square(difference), axis=-1)


def soft_cross_entropy(teacher_logits, student_logits, *, temperature=1.0):
    """-sum_c softmax(t/T)_c log softmax(z/T)_c (Hinton et al. 2015; BAN, eq. 2)."""
    targets = ops.softmax(ops.cast(teacher_logits, "float32") / temperature, axis=-1)
    logits = ops.cast(student_logits, "float32") / temperature
    return ops.categorical_crossentropy(targets, logits, from_logits=True)


def knowledge_distillation(
    labels, teacher_logits, student_logits, *, temperature=1.0, alpha=1.0
):
    """alpha T^2 CE(soft targets at T) + (1 - alpha) CE(label).

    T^2 keeps the size of the soft term's gradients (Hinton et al. 2015, section 2).

    Args:
        labels: not looked at when alpha is 1.
        alpha: weight of the soft term, in [0, 1].
    """
    soft = soft_cross_entropy(teacher_logits, student_logits, temperature=temperature)
    loss = alpha * temperature**2 * soft
    if alpha != 1.0:
        loss = loss + (1.0 - alpha) * hard_label(labels, student_logits)
    return loss


def ban(teacher_logits, student_logits, *, temperature=1.0):
    """T^2 CE(p, q), p and q softmax at T: the Born-Again loss (BAN, eq. 2; T = 1).

    By the student's logits its gradient is T (q - p), eq. 5.
    """
    soft = soft_cross_entropy(teacher_logits, student_logits, temperature=temperature)
    return temperature**2 * soft


def ban_of_largest(ids, log_probabilities, student_logits):
    """BAN where only the teacher's largest probabilities are stored.

    What they leave, r = 1 - sum_k p_k, is one outcome more, "another word":
    -sum_k p_k log q_k - r log(1 - sum_k q_k). With all of the probabilities this is
    `ban`; with fewer it is the cross-entropy of coarser distributions.

    Args:
        ids: integers [batch, K], the classes, each once.
        log_probabilities: the teacher's, [batch, K].
    """
    stored = ops.exp(ops.cast(log_probabilities, "float32"))
    rest = ops.maximum(1.0 - ops.sum(stored, axis=-1), 0.0)
    student = ops.log_softmax(ops.cast(student_logits, "float32"), axis=-1)
    student = ops.take_along_axis(student, ops.cast(ids, "int32"), axis=-1)
    # Kept off 1, where the student leaves nothing to other words either.
    covered = ops.minimum(ops.sum(ops.exp(student), axis=-1), 1.0 - 1e-6)
    return -ops.sum(stored * student, axis=-1) - rest * ops.log1p(-covered)


def ban_plus_labels(
    labels,
    teacher_logits,
    student_logits,
    *,
    label_weight=1.0,
    teacher_weight=1.0,
    temperature=1.0,
):
    """BAN+L: label_weight CE(y, q) + teacher_weight T^2 CE(p, q).

    The paper prints no weights, which are >= 0; 1 and 1 are ours.
    """
    soft = ban(teacher_logits, student_logits, temperature=temperature)
    return label_weight * hard_label(labels, student_logits) + teacher_weight * soft


def cwtm(labels, teacher_logits, student_logits, *, temperature=1.0):
    """Confidence-weighted by teacher max (BAN, eq. 10): cross-entropy with labels.

    The loss of a batch is sum_s w_s CE(y_s, q_s) / sum_s w_s with w = max_c p_c,
    whether the teacher is right or wrong. The sums run over the *global* batch, so
    both parts are returned and the caller divides.

    Returns:
        (CE(y, q), w), both float32 [batch].
    """
    weights = confidence(teacher_logits, temperature=temperature)
    return hard_label(labels, student_logits), weights


def confidence(teacher_logits, *, temperature=1.0):
    """max_c softmax(t/T)_c: float32 [batch] from [batch, classes], T > 0."""
    logits = ops.cast(teacher_logits, "float32") / temperature
    return ops.max(ops.softmax(logits, axis=-1), axis=-1)


def dkpp(teacher_logits, student_logits, *, keys, temperature=1.0):
    """Dark knowledge with permuted predictions (BAN, eq. 11): BAN, but the teacher's
    probabilities other than its largest change places.

    Args:
        keys: whole numbers >= 0 [batch, classes], such as `shuffle_keys`; see
            `permuted_others`.
    """
    # Softmax commutes with permutations, so the logits may move instead.
    shuffled = permuted_others(ops.cast(teacher_logits, "float32"), keys)
    return ban(shuffled, student_logits, temperature=temperature)


def permuted_others(values, keys):
    """Each row's values in the order of its keys, but the largest stays in place.

    Args:
        values: [batch, classes].
        keys: whole numbers >= 0 [batch, classes]; the j-th of the places other than
            the largest's receives the value that has the j-th smallest key.
    """
    classes = values.shape[-1]
    largest = ops.one_hot(ops.argmax(values, axis=-1), classes, dtype="bool")
    places = ops.broadcast_to(ops.arange(classes, dtype="int32"), ops.shape(values))
    first = -ops.ones_like(places)
    order = ops.argsort(ops.where(largest, first, ops.cast(keys, "int32")), axis=-1)
    natural = ops.argsort(ops.where(largest, first, places), axis=-1)
    moved = ops.take_along_axis(values, order, axis=-1)
    return ops.take_along_axis(moved, ops.argsort(natural, axis=-1), axis=-1)


def shuffle_keys(sample_ids, *, classes, seed, step):
    """Random keys that are a function of (seed, sample id, step, class) alone.

    Args:
        sample_ids: integers [batch].
        classes: their number.
        seed: whole number from 0 to 2^31 - 1.
        step: whole number, or an integer scalar tensor.

    Returns:
        int32 >= 0 [batch, classes]: MurmurHash3's finalizer, chained.
    """
    bits = _mixed(ops.convert_to_tensor(seed, "uint32"))
    bits = _mixed(bits + _GOLDEN * ops.cast(sample_ids, "uint32"))
    bits = _mixed(bits + _GOLDEN * ops.cast(step, "uint32"))
    each = _GOLDEN * ops.cast(ops.arange(1, classes + 1), "uint32")
    bits = _mixed(bits[:, None] + each[None, :])
    return ops.cast(_shifted(bits, 1), "int32")


def no_ids(logits):
    """int32 zeros [batch], for `shuffle_keys` that are the same for all examples."""
    return ops.zeros_like(logits[:, 0], dtype="int32")


_GOLDEN = np.uint32(0x9E3779B9)


def _mixed(bits):
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = ops.bitwise_xor(bits, _shifted(bits, shift)) * np.uint32(factor)
    return ops.bitwise_xor(bits, _shifted(bits, 16))


def _shifted(bits, count):
    return ops.bitwise_right_shift(bits, np.uint32(count))


def same_top_1(logits, other_logits):
    """1.0 where both name the same class, else 0.0: float32 [batch]."""
    same = ops.equal(ops.argmax(logits, axis=-1), ops.argmax(other_logits, axis=-1))
    return ops.cast(same, "float32")


def correct(labels, logits):
    """1.0 where the largest logit is the label's, else 0.0: float32 [batch]."""
    predicted = ops.argmax(logits, axis=-1)
    return ops.cast(ops.equal(predicted, ops.cast(labels, predicted.dtype)), "float32")
