"""A SavedModel as a layer; only for those who say that they trust it.

A SavedModel's graph may read and write files, so loading one is running code.
"""

from pathlib import Path

import keras

from kerasdistill.errors import UserError
from kerasdistill.models import trust

ENDPOINT = "serving_default"


@keras.saving.register_keras_serializable(package="kerasdistill")
class TrustedSavedModel(keras.layers.TFSMLayer):
    """Keras' layer of a SavedModel, under our rule of trust instead of safe mode.

    A `.keras` file with it names the SavedModel's folder, which stays where it is.
    """

    def call(self, inputs, training=False):
        """The endpoint's only output, or that called "logits"."""
        outputs = super().call(inputs)
        if isinstance(outputs, dict):
            outputs = outputs.get("logits", next(iter(outputs.values())))
        return outputs

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        """As Keras'; UserError outside of `trust.trusting`."""
        trust.require_trust(config["filepath"])
        return cls(**config)


def model_of(path: str | Path) -> keras.Model:
    """A SavedModel as a Keras model, images -> its first output.

    Raises:
        UserError: it is not trusted, cannot be read, or takes more than one tensor.
    """
    import tensorflow as tf

    trust.require_trust(path)
    try:
        signature = tf.saved_model.load(str(path)).signatures[ENDPOINT]
        (spec,) = signature.structured_input_signature[1].values()
        image = keras.Input(spec.shape[1:], dtype="float32", name="image")
        layer = TrustedSavedModel(
            str(Path(path).resolve()), call_endpoint=ENDPOINT, name="saved_model"
        )
        layer.trainable = False
        pixels = keras.ops.round(image) if spec.dtype.is_integer else image
        return keras.Model(image, layer(keras.ops.cast(pixels, spec.dtype.name)))
    except (OSError, KeyError, ValueError, TypeError, tf.errors.OpError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"{path} is no SavedModel with a signature {ENDPOINT} of one tensor "
            f"({reason}); export one, or pass a .keras file"
        ) from error
