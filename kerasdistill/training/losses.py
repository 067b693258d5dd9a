"""The papers' losses, one value per example. Pure functions of arrays.

All take logits (before softmax) in any float type, compute in float32 and return
float32 [batch]; the mean over the global batch is taken by the model shells.
"""

from keras import ops


def hard_label(labels, student_logits, *, smoothing=0.0):
    """Cross-entropy with class ids: -log softmax(z)[y].

    Args:
        labels: integers [batch].
        student_logits: [batch, classes].
        smoothing: this much of the target is spread evenly over all classes
            (Szegedy et al. 2016, section 7).
    """
    log_probabilities = ops.log_softmax(ops.cast(student_logits, "float32"), axis=-1)
    one_hot = ops.one_hot(labels, log_probabilities.shape[-1], dtype="float32")
    loss = -ops.sum(one_hot * log_probabilities, axis=-1)
    if smoothing:
        evenly = -ops.mean(log_probabilities, axis=-1)
        loss = (1.0 - smoothing) * loss + smoothing * evenly
    return loss


def logit_regression(teacher_logits, student_logits):
    """Squared distance of the logits, *summed* over classes (Urban, eq. 1).

    Keras' mean squared error divides by the number of classes as well, which would
    change what the paper's learning rates mean.

    Args:
        teacher_logits: [batch, classes].
        student_logits: [batch, classes].
    """
    difference = ops.cast(student_logits, "float32") - ops.cast(
        teacher_logits, "float32"
    )
    return ops.sum(ops.square(difference), axis=-1)


def soft_cross_entropy(teacher_logits, student_logits, *, temperature=1.0):
    """-sum_c softmax(t/T)_c log softmax(z/T)_c (Hinton et al. 2015; BAN, eq. 2).

    Args:
        teacher_logits: [batch, classes].
        student_logits: [batch, classes].
        temperature: T > 0.
    """
    targets = ops.softmax(ops.cast(teacher_logits, "float32") / temperature, axis=-1)
    log_probabilities = ops.log_softmax(
        ops.cast(student_logits, "float32") / temperature, axis=-1
    )
    return -ops.sum(targets * log_probabilities, axis=-1)


def knowledge_distillation(
    labels, teacher_logits, student_logits, *, temperature=1.0, alpha=1.0
):
    """alpha T^2 CE(soft targets at T) + (1 - alpha) CE(label).

    T^2 keeps the size of the soft term's gradients (Hinton et al. 2015, section 2).

    Args:
        labels: integers [batch]; not looked at when alpha is 1.
        teacher_logits: [batch, classes].
        student_logits: [batch, classes].
        temperature: T > 0.
        alpha: weight of the soft term, in [0, 1].
    """
    soft = soft_cross_entropy(teacher_logits, student_logits, temperature=temperature)
    loss = alpha * temperature**2 * soft
    if alpha != 1.0:
        loss = loss + (1.0 - alpha) * hard_label(labels, student_logits)
    return loss


def same_top_1(logits, other_logits):
    """1.0 where both name the same class, else 0.0: float32 [batch]."""
    same = ops.equal(ops.argmax(logits, axis=-1), ops.argmax(other_logits, axis=-1))
    return ops.cast(same, "float32")


def correct(labels, logits):
    """1.0 where the largest logit is the label's, else 0.0: float32 [batch]."""
    predicted = ops.argmax(logits, axis=-1)
    return ops.cast(ops.equal(predicted, ops.cast(labels, predicted.dtype)), "float32")
