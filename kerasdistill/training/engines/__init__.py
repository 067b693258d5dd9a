"""An engine is how trainings run on one of Keras' backends.

The loop over epochs (`loop.Epochs`: schedule, history, checkpoints, guards) is the
same for all and does nothing but read and assign Keras variables. What is left is a
backend's own, and is all here: a new backend is one module beside `tensorflow.py` with
the functions of `Engine`, and one line in `ENGINES`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from kerasdistill.errors import UserError
from kerasdistill.training.epochs import EpochStream

if TYPE_CHECKING:
    import keras


# Called with a step's number and the metrics so far, scalars of the backend.
AfterStep = Callable[[int, Mapping[str, Any]], None]


class Session(Protocol):
    """One training under way; it has the stream's batches and the validation data.

    Whenever the loop has control (after `train`, after `validate`, in `after_step`) the
    Keras variables of the shell, its optimizer and its metrics hold the current values,
    and the session goes on from whatever the loop has assigned to them.
    """

    def train(self, steps: range, after_step: AfterStep) -> dict[str, float]:
        """Trains on the next batches, one for each of these steps of the epoch.

        An engine that compiles many steps into one calls `after_step` after the last
        of them, with metrics that are floats already, and goes no further once one is
        not finite. Returns the epoch's metrics without those that saw no examples.
        """

    def validate(self) -> dict[str, float]:
        """The same metrics on all of the validation data, each named `val_…`."""

    def close(self) -> None:
        """Ends what still reads ahead."""


class Engine(Protocol):
    """What a backend's module offers, each as a plain function."""

    def start(self, *, deterministic: bool) -> None:
        """Makes a backend, before it begins, quiet and maybe slower but repeatable."""

    def using(self, devices: str) -> AbstractContextManager[None]:
        """Within it, trainings are on "all" devices, some GPUs ("2") or parts of the
        processor ("cpu:2"); a `UserError` for other text or more than there are."""

    def scope(self) -> AbstractContextManager[Any]:
        """Models that are built within it lie on those devices."""

    def allow_gpu_growth(self) -> None:
        """Lets several processes share a GPU; no effect once the backend has begun."""

    def devices(self) -> list[str]:
        """Names of all that it sees."""

    def device(self) -> str:
        """What computes here: "cpu", "gpu" or "tpu"."""

    def resolve_precision(self, precision: str) -> str:
        """The Keras dtype policy of `precision`; "auto" depends on the hardware."""

    def threads(self) -> dict[str, int]:
        """Settings that the last bits of a result depend on; kept in checkpoints."""

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether it says that a device has too little memory."""

    def compile(self, shell: "keras.Model", make_optimizer: Callable[[], Any]) -> None:
        """Gives a shell, whose weights all exist, its optimizer and that its state.

        The optimizer is made here, because it belongs on the shell's devices. On
        several, every step's loss stays the mean over the whole batch.
        """

    def session(
        self,
        shell: "keras.Model",
        train: EpochStream,
        *,
        validation: Any = None,
        first_epoch: int = 0,
        first_step: int = 0,
        epochs: int | None = None,
    ) -> Session:
        """Trains a compiled shell from `first_step` of `first_epoch`, both from 0.

        Its weights may be assigned before the first step. `validation` are the batches
        of a whole split (None: `validate` is not called). After `epochs` in all (None:
        not known) nothing more is read.
        """

    def compiled(self, function: Callable, models: Sequence["keras.Model"]) -> Callable:
        """`function` of arrays compiled; it calls `models`, with their current weights,
        in inference mode."""


def _tensorflow() -> Engine:
    from kerasdistill.training.engines import tensorflow

    return tensorflow


def _jax() -> Engine:
    from kerasdistill.training.engines import jax

    return jax


# Functions, so that only the backend in use is imported.
ENGINES: dict[str, Callable[[], Engine]] = {"tensorflow": _tensorflow, "jax": _jax}


def settle() -> None:
    """Makes Keras compute as our recipes mean it, whatever a user's keras.json, their
    KERAS_HOME or variables for debugging say; the backend stays theirs.

    Every process of ours calls it at its start, workers too.
    """
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


def current() -> Engine:
    """The engine of Keras' backend; a `UserError` where there is none."""
    from keras.backend import backend

    if backend() not in ENGINES:
        raise UserError(
            f"Keras' backend is {backend()}, but there are engines for "
            f"{', '.join(ENGINES)} only; set KERAS_BACKEND to one of them, or fit the "
            "models of kerasdistill.training with Keras itself"
        )
    return ENGINES[backend()]()
