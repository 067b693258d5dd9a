"""A SavedModel as a layer; only for those who say that they trust it.

A SavedModel's graph may read and write files, so loading one is running code.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill.errors import UserError, reason
from kerasdistill.models import trust
from kerasdistill.models.summary import leaf_layers
from kerasdistill.plain_paths import plain

ENDPOINT = "serving_default"


class RunByTensorFlow:
    """What TensorFlow runs on every backend: a SavedModel.

    On JAX it takes and gives arrays, is no part of what JAX compiles, and passes no
    gradients on.
    """


def compilable(model: Any) -> bool:
    """Whether JAX can compile a model: none of its layers is `RunByTensorFlow`."""
    parts = leaf_layers(model) if isinstance(model, keras.Model) else [model]
    return not any(isinstance(part, RunByTensorFlow) for part in parts)


@keras.saving.register_keras_serializable(package="kerasdistill")
class TrustedSavedModel(keras.layers.TFSMLayer, RunByTensorFlow):
    """Keras' layer of a SavedModel, under our rule of trust instead of safe mode.

    A `.keras` file with it names the SavedModel's folder, which stays where it is. On
    JAX, which Keras' layer does not know, it is `RunByTensorFlow`.

    Args:
        filepath: the folder.
        head: name of the output, of an endpoint that has several (None: its only one).
        one_by_one: the endpoint takes a single image at a time.
        options: Keras'.
    """

    def __init__(
        self,
        filepath: str,
        *,
        head: str | None = None,
        one_by_one: bool = False,
        **options,
    ):
        with plain(filepath) as folder:
            if keras.backend.backend() == "jax":
                self._begin_on_jax(folder, **options)
            else:
                super().__init__(folder, **options)
        self.filepath = filepath
        self.head = head
        self.one_by_one = one_by_one
        if keras.backend.backend() == "jax":
            self._require_shape()

    def _begin_on_jax(
        self,
        folder: str,
        *,
        call_endpoint: str,
        call_training_endpoint: None = None,
        **options,
    ):
        """As Keras' layer begins on TensorFlow, with weights of the same names."""
        import tensorflow as tf

        keras.layers.Layer.__init__(self, **options)
        self.call_endpoint = call_endpoint
        self.call_training_endpoint = call_training_endpoint
        self._reloaded_obj = loaded = tf.saved_model.load(folder)
        function = getattr(loaded, call_endpoint, loaded.signatures[call_endpoint])
        parts = getattr(function, "concrete_functions", [function])
        found = {id(each): each for part in parts for each in part.variables}
        for each in sorted(found.values(), key=lambda each: not each.trainable):
            weight = self.add_weight(
                each.shape,
                initializer="zeros",
                dtype=each.dtype.name,
                trainable=each.trainable,
                name=each.name.replace("/", "_"),
            )
            weight.assign(each.numpy())
        self.supports_jit = False
        self.built = True

    def _require_shape(self):
        shape = self._spec.shape
        if shape.rank is None or None in shape[1:].as_list():
            raise UserError(
                f"{self.filepath} gives {shape}; expected [batch, classes], since JAX "
                "has to know; export it again with that shape, or use TensorFlow"
            )

    def compute_output_spec(self, inputs, **options):
        """As Keras', without a call on JAX."""
        if keras.backend.backend() != "jax":
            return super().compute_output_spec(inputs, **options)
        shape = (inputs.shape[0], *self._spec.shape[1:])
        return keras.KerasTensor(shape, dtype="float32")

    def call(self, inputs, training=False):
        """The endpoint's output."""
        return by_tensorflow(lambda images: [self._answer(images)], inputs)[0]

    def _answer(self, images):
        import tensorflow as tf

        (spec,) = self._signature.structured_input_signature[1].values()
        images = tf.cast(images, spec.dtype)  # JAX has no 64 bits
        if not self.one_by_one:
            return self._output(images)
        return tf.map_fn(
            lambda image: self._output(image[None])[0],
            images,
            fn_output_signature=self._spec.dtype,
        )

    @property
    def _signature(self):
        return self._reloaded_obj.signatures[self.call_endpoint]

    @property
    def _spec(self):
        outputs = self._signature.structured_outputs
        return outputs[head_of(outputs, self.head, what=self.filepath)]

    def _output(self, images):
        (name,) = self._signature.structured_input_signature[1]
        outputs = self._signature(**{name: images})
        return outputs[head_of(outputs, self.head, what=self.filepath)]

    def get_config(self):
        """Keras', with what this one adds where it is not the default."""
        config = super().get_config()
        own = {"head": self.head, "one_by_one": self.one_by_one}
        return config | {name: value for name, value in own.items() if value}

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        """As Keras'; UserError outside of `trust.trusting`."""
        trust.require_trust(config["filepath"])
        return cls(**config)


def by_tensorflow(
    function: Callable[..., Sequence[Any]], *inputs: Any
) -> Sequence[Any]:
    """What a function of TensorFlow's gives for tensors of Keras' backend, as such.

    Raises:
        UserError: on JAX, within what JAX compiles. It could call back, but a processor
            with few threads then waits for itself.
    """
    if keras.backend.backend() != "jax":
        return function(*inputs)
    import jax
    import tensorflow as tf

    if any(isinstance(each, jax.core.Tracer) for each in inputs):
        raise UserError(
            "a SavedModel, which TensorFlow runs, cannot be a part of what JAX "
            "compiles; store its logits with precompute, give its .keras file, or set "
            "KERAS_BACKEND=tensorflow"
        )
    results = function(*(tf.constant(np.asarray(each)) for each in inputs))
    return [keras.ops.convert_to_tensor(each.numpy(), "float32") for each in results]


def head_of(names, head: str | None, *, what: str) -> str:
    """The name among a model's outputs; its order must never decide.

    Raises:
        UserError: there are several and none is named, or another one is.
    """
    names = sorted(map(str, names))
    if head is None and len(names) == 1:
        return names[0]
    if head not in names:
        came = "none was chosen" if head is None else f"{head!r} was asked for"
        raise UserError(
            f"{what} has the outputs {', '.join(names)}, and {came}; choose one with "
            "`convention.head=NAME`"
        )
    return head


def model_of(path: str | Path, *, head: str | None = None) -> keras.Model:
    """A SavedModel as a Keras model, images -> its output, or that called `head`.

    Raises:
        UserError: it is not trusted, cannot be read, takes more than one tensor or
            none of images, or has several outputs of which none is named.
    """
    import tensorflow as tf

    require_saved_model(path)
    trust.require_trust(path)
    try:
        what = f"SavedModel {path}"
        with plain(path) as folder:
            loaded = tf.saved_model.load(folder)
        if ENDPOINT not in loaded.signatures:
            names = ", ".join(loaded.signatures) or "none"
            raise UserError(
                f"{what} has the signatures {names}, expected {ENDPOINT}; export it "
                "again"
            )
        signature = loaded.signatures[ENDPOINT]
        inputs = signature.structured_input_signature[1]
        if len(inputs) != 1:
            names = ", ".join(inputs)
            raise UserError(f"{what} has the inputs {names}, expected images alone")
        (spec,) = inputs.values()
        _check_input(spec, what)
        head = head_of(signature.structured_outputs, head, what=what)
        image = keras.Input(spec.shape[1:], dtype="float32", name="image")
        several = len(signature.structured_outputs) > 1
        layer = TrustedSavedModel(
            str(Path(path).resolve()),
            call_endpoint=ENDPOINT,
            head=head if several else None,
            one_by_one=spec.shape[0] == 1,
            name="saved_model",
        )
        layer.trainable = False
        pixels = keras.ops.round(image) if spec.dtype.is_integer else image
        dtype = spec.dtype.name
        if keras.backend.backend() == "jax":
            dtype = dtype.replace("64", "32")
        return keras.Model(image, layer(keras.ops.cast(pixels, dtype)))
    except (OSError, KeyError, ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError(
            f"{path} is no SavedModel with a signature {ENDPOINT} of one tensor "
            f"({reason(error)[:200]}); export one, or pass a .keras file"
        ) from error


def require_saved_model(path: str | Path) -> None:
    """UserError for any other folder."""
    if (Path(path) / "saved_model.pb").is_file():
        return
    models = sorted(each.name for each in Path(path).glob("*.keras"))
    hint = f"it holds {models[0]}: pass that file" if models else "pass one, or a file"
    raise UserError(f"{path} is a folder but no SavedModel; {hint}")


def _check_input(spec, what: str) -> None:
    """UserError unless the tensor is a batch of images."""
    if not (spec.dtype.is_integer or spec.dtype.is_floating):
        raise UserError(
            f"{what} takes {spec.dtype.name} [{spec.shape}], expected pixels [batch, "
            "height, width, 1 or 3]; export it without its decoder"
        )
    if spec.shape.rank is not None and spec.shape[0] not in (None, 1):
        raise UserError(
            f"{what} takes batches of {spec.shape[0]} images alone; export it with a "
            "batch size of None"
        )
