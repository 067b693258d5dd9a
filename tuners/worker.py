"""A worker's side of a search on many machines: KerasTuner's client, with a heartbeat
and an end to its patience."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Self

import grpc
import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_client import OracleClient
from keras_tuner.src.engine.trial import Trial, TrialStatus

from kerasdistill.errors import UserError
from tuners.chief import LEASE_SERVICE, MESSAGE, SESSION, WORKER, say
from tuners.leases import LeaseLostError

_BEATS = 4  # in the time after which the chief takes a silent worker for dead
_PAUSE_SECONDS = 0.5  # between attempts
_IDLE_SECONDS = 1.0  # before an idle worker asks again
_SHARED_SECONDS = 30.0
_MESSAGE_CHARACTERS = 2000  # gRPC limits metadata to 8 KiB
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # the address given, and no other
    ("grpc.max_reconnect_backoff_ms", 1000),  # a chief that is back is found soon
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)


class ChiefLostError(UserError, keras_tuner.errors.FatalError):
    """The chief can't be reached; fatal, or a tuner would take it for a bad trial."""


class Line:
    """Calls to a chief: they wait for it to come (back), but not for ever.

    Args:
        address: host:port.
        worker: this worker's name.
        patience: seconds without a sign of the chief before a call gives up.
    """

    def __init__(self, address: str, *, worker: str, patience: float) -> None:
        self.address, self._patience = address, patience
        self.worker = worker
        self.place = f"{socket.gethostname()}:{os.getpid()}"
        session = f"{self.place} {uuid.uuid4().hex[:8]}"
        self._sender = ((WORKER, worker), (SESSION, session))
        self._heard = time.monotonic()
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self.methods = protos.get_service_grpc().OracleStub(self._channel)
        self._beat = self._channel.unary_unary(
            f"/{LEASE_SERVICE}/Beat",
            request_serializer=lambda request: json.dumps(request).encode(),
            response_deserializer=json.loads,
        )

    def __getattr__(self, name: str) -> Any:
        # In KerasTuner's client this stands for its stub, whose calls wait an hour.
        method = getattr(self.methods, name)
        return lambda request, **_: self.ask(method, request)

    def ask(self, method: Any, request: Any, *, extra: tuple = ()) -> Any:
        """The chief's answer.

        Raises:
            ChiefLostError: no sign of the chief for as long as patience lasts.
            LeaseLostError: the trial is another worker's by now.
            UserError: another process has this worker's name.
            FatalRuntimeError: the oracle raised; the message is its exception's.
        """
        began = time.monotonic()
        while True:
            # While heartbeats are answered, the oracle is at work: KerasTuner's own
            # takes long over a proposal.
            left = max(began, self._heard) + self._patience - time.monotonic()
            if left <= 0:
                raise ChiefLostError(
                    f"no chief answers at {self.address} for {self._patience:g} s; "
                    "start it there (the same command without --worker), or look "
                    "whether it ended"
                )
            try:
                answer = method(
                    request,
                    wait_for_ready=True,
                    timeout=left,
                    metadata=self._sender + extra,
                )
            except grpc.RpcError as error:
                self._refuse(error)
                time.sleep(min(_PAUSE_SECONDS, left))
            else:
                self._heard = time.monotonic()
                return answer

    def beat(self, *, timeout: float | None = None, **request: Any) -> dict[str, Any]:
        """A sign of life and what the chief says to it; one attempt if timed."""
        if timeout is None:
            return self.ask(self._beat, request)
        answer = self._beat(request, timeout=timeout, metadata=self._sender)
        self._heard = time.monotonic()
        return answer

    def close(self) -> None:
        self._channel.close()

    def _refuse(self, error: grpc.RpcError) -> None:
        code, details = error.code(), error.details()
        if code == grpc.StatusCode.FAILED_PRECONDITION:
            raise LeaseLostError(details) from None
        if code == grpc.StatusCode.ALREADY_EXISTS:
            raise ChiefLostError(taken(self.worker, details)) from None
        if code == grpc.StatusCode.UNIMPLEMENTED:
            raise ChiefLostError(
                f"what answers at {self.address} is no chief of this program; give the "
                "HOST:PORT of one"
            ) from None
        if code == grpc.StatusCode.ABORTED:
            raise keras_tuner.errors.FatalRuntimeError(
                f"the chief's oracle failed: {details}"
            ) from None


def taken(worker: str, session: str) -> str:
    """What to say where two processes have one name."""
    return (
        f"worker {worker} is at work already, as {session.partition(' ')[0]}; give "
        "this one another --worker"
    )


class _Lease:
    """A trial in this worker's hands, until the chief says otherwise."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
        self.lost = False


class ChiefClient(OracleClient, keras_tuner.Oracle):
    """The chief's oracle, as a Tuner on a worker sees it.

    Beside KerasTuner's client: an `Oracle` for the Tuner's constructor; a thread that
    tells the chief that this worker lives; late answers are dropped, with a line on
    stderr, and the Tuner goes on with another trial.
    """

    def __init__(
        self, oracle: keras_tuner.Oracle, *, line: Line, worker_timeout: float
    ) -> None:
        keras_tuner.Oracle.__init__(
            self,
            objective=oracle.objective,
            max_trials=oracle.max_trials,
            hyperparameters=oracle.get_space(),
            allow_new_entries=oracle.allow_new_entries,
            tune_new_entries=oracle.tune_new_entries,
            seed=oracle.seed,
        )
        self._oracle = oracle
        self.stub = self._line = line
        self.tuner_id = line.worker
        self._seconds = worker_timeout / _BEATS
        self._lease = _Lease("")
        self._shared = False  # the chief's folder was seen from here
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # An interrupt says nothing against the trial that it interrupts.
        self.close(failed=kind is not None and issubclass(kind, Exception))

    def close(self, *, failed: bool = False) -> None:
        """Gives back what this worker holds, for another to run; if the chief is gone
        it will find out by itself.

        Args:
            failed: this worker ends because of its trial, as others may.
        """
        if not self._stop.is_set():
            self._rest()
            with contextlib.suppress(grpc.RpcError):
                self._line.beat(timeout=2.0, leaving=True, failed=failed)
        self._line.close()

    def holds(self, trial_id: str) -> bool:
        """Whether the trial is still this worker's: one that goes on although it
        isn't writes into a folder that another works in."""
        return self._lease.trial_id == trial_id and not self._lease.lost

    def create_trial(self, tuner_id: str) -> Trial:
        """A trial to run, under this worker's own name; IDLE after a moment's wait."""
        trial = super().create_trial(self.tuner_id)
        if trial.status == TrialStatus.IDLE:
            self._stop.wait(min(_IDLE_SECONDS, self._seconds))
        elif trial.status == TrialStatus.STOPPED:
            self._rest()
        else:
            self._require_shared(trial.trial_id)
            self._lease = _Lease(trial.trial_id)
        return trial

    def update_trial(self, trial_id: str, metrics: dict, step: int = 0) -> Trial:
        """Metrics of a running trial; LeaseLostError if another runs it by now."""
        if not self.holds(trial_id):
            raise LeaseLostError(f"trial {trial_id} was given to another worker")
        try:
            return super().update_trial(trial_id, metrics, step=step)
        except keras_tuner.errors.FatalRuntimeError as error:
            # As on one machine: metrics that the oracle refuses spoil this trial alone.
            raise RuntimeError(str(error)) from None

    def end_trial(self, trial: Trial) -> None:
        """The end of a trial; too late, it is dropped."""
        if not self.holds(trial.trial_id):
            return
        self._lease = _Lease("")
        # KerasTuner's message has no room for what went wrong.
        text = (trial.message or "")[-_MESSAGE_CHARACTERS:]
        request = protos.get_service().EndTrialRequest(trial=trial.to_proto())
        try:
            self._line.ask(
                self._line.methods.EndTrial, request, extra=((MESSAGE, text.encode()),)
            )
        except LeaseLostError as error:
            say(f"{error}; this worker's answer is dropped")

    def save(self) -> None:
        """Nothing: the chief saves the oracle."""

    def reload(self) -> None:
        """Nothing: the chief holds the state."""

    def _require_shared(self, trial_id: str) -> None:
        folder = getattr(self, "_directory", None)  # set by a Tuner
        if folder is None or self._shared:
            return
        # The chief wrote it before it answered; network file systems take a moment.
        file = Path(folder, self._project_name, f"trial_{trial_id}", "trial.json")
        until = time.monotonic() + _SHARED_SECONDS
        while not file.exists():
            if time.monotonic() > until:
                raise ChiefLostError(
                    f"{file} is not here, though the chief wrote it; give chief and "
                    "workers the same --workdir on storage that they share"
                )
            time.sleep(_PAUSE_SECONDS)
        self._shared = True

    def _rest(self) -> None:
        self._stop.set()
        self._heart.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds):
            lease = self._lease
            try:
                answer = self._line.beat(
                    timeout=max(self._seconds, 1.0), trial=lease.trial_id or None
                )
            except grpc.RpcError:
                continue  # whoever waits for an answer finds out
            # By the time of the answer this worker may hold another trial.
            if lease.trial_id and not answer.get("held") and lease is self._lease:
                if not lease.lost:
                    say(f"trial {lease.trial_id} was given to another worker")
                lease.lost = True
