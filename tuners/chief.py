"""The chief's side of a search on many machines: KerasTuner's service, with leases."""

import collections
import contextlib
import json
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import grpc
import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.engine import oracle as locks
from keras_tuner.src.engine import trial as trials
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from kerasdistill.requests import leaves
from tuners.leases import LeaseLostError, Leases, TakenError

# KerasTuner's messages name a worker once at most: who asks stands in the metadata.
WORKER, SESSION, MESSAGE = "search-worker", "search-session", "search-message-bin"
LEASE_SERVICE = "kerasdistill.Lease"  # one method, Beat, in JSON; on the same port
MOST_LOSSES = 3  # workers that die at one trial before it is taken to be the reason

_Status = trials.TrialStatus


def say(line: str) -> None:
    print(f"search: {line}", file=sys.stderr, flush=True)


class Chief(OracleServicer):
    """Answers workers; one of them at a time reaches the oracle, whatever it raises.

    An exception of `create_trial` or `end_trial` ends the search, as it does on one
    machine: it is kept in `failure`, and each worker is told when it asks next.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        *,
        leases: Leases,
        request: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(oracle)
        self.leases = leases
        self.failure: Exception | None = None
        self.turn = threading.RLock()  # held by whoever uses the oracle
        # As it looks to whoever sent it through JSON, which knows no tuples.
        self._request = json.loads(json.dumps(request))
        self._nothing_new = False  # the oracle has no further trial to give
        self._losses: collections.Counter[str] = collections.Counter()
        for worker in oracle.ongoing_trials:
            leases.expect(worker)

    @property
    def finished(self) -> bool:
        """Every trial has ended and the oracle gives no more."""
        with self.turn:
            oracle = self.oracle
            waiting = oracle.ongoing_trials or oracle._retry_queue
            full = oracle.max_trials and len(oracle.trials) >= oracle.max_trials
            return not waiting and bool(self._nothing_new or full)

    def add_to(self, server: grpc.Server) -> None:
        """Registers KerasTuner's service and the leases' on `server`."""
        protos.get_service_grpc().add_OracleServicer_to_server(self, server)
        beat = grpc.unary_unary_rpc_method_handler(
            self._beat,
            request_deserializer=json.loads,
            response_serializer=lambda answer: json.dumps(answer).encode(),
        )
        handler = grpc.method_handlers_generic_handler(LEASE_SERVICE, {"Beat": beat})
        server.add_generic_rpc_handlers((handler,))

    def sweep(self) -> None:
        """Takes the trials of workers whose leases have run out for others to run."""
        with self.turn:
            for worker in self.leases.expired():
                self._release(worker, f"unheard for {self.leases.seconds:g} s", loss=1)

    # What workers call. Each of these runs in a thread of the server's.

    def CreateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The worker's running trial, or a new one; IDLE while others still run."""
        with self._asked(context, ends_search=True) as (worker, session):
            trial = self._next_trial(worker, session=session)
            return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def UpdateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Metrics of a trial that the worker holds."""
        with self._asked(context) as (worker, _):
            self._require(worker, request.trial_id)
            return super().UpdateTrial(request, context)

    def EndTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The end of a trial that the worker holds."""
        with self._asked(context, ends_search=True) as (worker, _):
            trial = trials.Trial.from_proto(request.trial)
            trial.message = _metadata(context).get(MESSAGE, b"").decode() or None
            self._require(worker, trial.trial_id)
            self._end(trial)
            return protos.get_service().EndTrialResponse()

    def GetSpace(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The search space."""
        with self._asked(context):
            return super().GetSpace(request, context)

    def UpdateSpace(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Hyperparameters that the worker's model asked for."""
        with self._asked(context):
            return super().UpdateSpace(request, context)

    def GetTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """One trial."""
        with self._asked(context):
            return super().GetTrial(request, context)

    def GetBestTrials(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The best trials."""
        with self._asked(context):
            return super().GetBestTrials(request, context)

    def _beat(self, request: dict[str, Any], context: grpc.ServicerContext) -> Any:
        # Without the turn: a worker stays alive while another's proposal takes long.
        sender = _metadata(context)
        worker, session = sender[WORKER], sender[SESSION]
        answer: dict[str, Any] = {"worker_timeout": self.leases.seconds}
        try:
            if request.get("leaving"):
                self.leases.leave(worker, session=session)
                with self.turn:
                    if worker not in self.leases.live():
                        loss = int(bool(request.get("failed")))
                        self._release(worker, "leaving", loss=loss)
                return answer
            if (ours := self._request) is not None and "request" in request:
                ours, theirs = leaves(ours), leaves(request["request"] or {})
                names = sorted({*ours, *theirs})
                answer["differs"] = [n for n in names if ours.get(n) != theirs.get(n)]
                if answer["differs"]:
                    return answer
            self.leases.hear(worker, session=session)
        except TakenError as error:
            return {**answer, "taken_by": str(error)}
        held = self.oracle.ongoing_trials.get(worker)
        answer["held"] = held is not None and held.trial_id == request.get("trial")
        return answer

    def _next_trial(self, worker: str, *, session: str) -> trials.Trial:
        oracle = self.oracle
        if self.failure is not None:
            raise self.failure
        if self.finished:
            self.leases.leave(worker, session=session)
            return trials.Trial(oracle.get_space(), "", _Status.STOPPED)
        others_run = oracle.ongoing_trials and worker not in oracle.ongoing_trials
        if self._nothing_new and others_run and not oracle._retry_queue:
            # It may yet be needed: for the trial of a worker that dies.
            return trials.Trial(oracle.get_space(), "", _Status.IDLE)
        trial = oracle.create_trial(worker)
        if trial.status != _Status.STOPPED:
            return trial
        self._nothing_new = True
        return self._next_trial(worker, session=session)

    def _end(self, trial: trials.Trial) -> None:
        oracle = self.oracle
        try:
            oracle.end_trial(trial)
        except Exception:
            # Too many failures in a row: this one is tried again by whoever resumes,
            # and doesn't stand in the way of trials that others still finish.
            if trial.trial_id in oracle.end_order:
                oracle.end_order.remove(trial.trial_id)
            raise

    def _require(self, worker: str, trial_id: str) -> None:
        held = self.oracle.ongoing_trials.get(worker)
        if held is None or held.trial_id != trial_id:
            status = self.oracle.trials[trial_id].status
            raise LeaseLostError(
                f"trial {trial_id} is no longer worker {worker}'s; it is {status}"
            )

    def _release(self, worker: str, why: str, *, loss: int) -> None:
        oracle = self.oracle
        oracle.tuner_ids.discard(worker)
        trial = oracle.ongoing_trials.get(worker)
        if trial is None:
            return
        self._losses[trial.trial_id] += loss
        if self._losses[trial.trial_id] >= MOST_LOSSES:
            trial.status = _Status.FAILED
            trial.message = f"{MOST_LOSSES} workers died at it, one after the other"
            say(f"trial {trial.trial_id} failed: {trial.message}")
            with contextlib.suppress(Exception), self._unlocking(ends_search=True):
                self._end(trial)
            return
        say(f"worker {worker} is {why}; another will run its trial {trial.trial_id}")
        trial.metrics = MetricsTracker()  # whoever runs it again tells all of them
        del oracle.ongoing_trials[worker]
        oracle._retry_queue.append(trial.trial_id)
        oracle._save_trial(trial)
        oracle.save()

    @contextlib.contextmanager
    def _asked(
        self, context: grpc.ServicerContext, *, ends_search: bool = False
    ) -> Iterator[tuple[str, str]]:
        """A worker's turn at the oracle; exceptions become the worker's answer."""
        sender = _metadata(context)
        if WORKER not in sender or SESSION not in sender:
            context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "a worker without a name or session"
            )
        worker, session = sender[WORKER], sender[SESSION]
        try:
            self.leases.hear(worker, session=session)
            with self.turn, self._unlocking(ends_search=ends_search):
                yield worker, session
        except TakenError as error:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, str(error))
        except LeaseLostError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except Exception as error:
            if ends_search:  # and so the worker's part in it
                self.leases.leave(worker, session=session)
            # A code that gRPC itself never uses.
            context.abort(
                grpc.StatusCode.ABORTED, f"{type(error).__name__}: {error}"[:2000]
            )

    @contextlib.contextmanager
    def _unlocking(self, *, ends_search: bool) -> Iterator[None]:
        try:
            yield
        except LeaseLostError:
            raise
        except Exception as error:
            # KerasTuner keeps its lock after an exception, and the next thread waits
            # for ever.
            if locks.THREADS[self.oracle] == threading.current_thread().name:
                locks.THREADS[self.oracle] = None
                locks.LOCKS[self.oracle].release()
            if error is not self.failure:
                traceback.print_exception(error)
            if ends_search and self.failure is None:
                self.failure = error
            raise


def _metadata(context: grpc.ServicerContext) -> dict[str, Any]:
    return dict(context.invocation_metadata())
