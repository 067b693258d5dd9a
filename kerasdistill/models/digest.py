"""A fingerprint of a model's weights."""

import hashlib

import keras
import numpy as np


def weights_digest(model: keras.Model) -> str:
    """Hex sha256 over every weight's role, dtype, shape and bytes, in order.

    The role is the last part of a weight's path ("kernel", "moving_mean"). The
    layers' own names stay out: Keras drops the model's name from the paths when a
    Sequential model is loaded again, and numbers layers by what was built before.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value))
        role = weight.path.rsplit("/", 1)[-1]
        digest.update(f"{role} {weight.dtype} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
