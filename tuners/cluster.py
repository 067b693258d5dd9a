"""A search on many machines: one chief with the oracle, workers that run its trials.

It is KerasTuner's own chief and worker mode, protocol included, with what that lacks:
leases, so that a dead worker's trial goes to another; calls that end; a chief that
ends. Workers and chief share storage: a trial that changes hands goes on in its folder.

    serve(oracle, address="127.0.0.1:5151")  # in one process

    with connect(oracle, address="127.0.0.1:5151", worker=1) as chief:  # in others
        MyTuner(oracle=chief, ...).search()

Nothing is encrypted and nobody is asked who they are: use addresses of a network that
you trust.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import grpc
import keras_tuner

from kerasdistill.errors import UserError, WorkersLostError
from tuners import handover
from tuners.chief import Chief, say
from tuners.durable import Durable
from tuners.leases import Leases
from tuners.worker import ChiefClient, Line, taken

WORKER_TIMEOUT = 60.0  # seconds unheard, then a worker is taken for dead
IDLE_TIMEOUT = 600.0  # seconds without a live worker, then the chief gives up
PATIENCE = 60.0  # seconds without a sign of the chief, then a worker gives up

# A worker that waits for its turn at the oracle holds a thread; heartbeats need one.
_THREADS = 64
_GOODBYE_SECONDS = 5.0


def serve(
    oracle: Durable,
    *,
    address: str,
    worker_timeout: float = WORKER_TIMEOUT,
    idle_timeout: float = IDLE_TIMEOUT,
    request: dict[str, Any] | None = None,
    on_change: Callable[[], None] | None = None,
) -> None:
    """Serves `oracle` until its search has ended and every live worker knows.

    Where the oracle's project folder holds the state of an earlier chief, the search
    goes on from there, running trials with the workers that run them.

    Args:
        oracle: with its project folder set; given over to this function.
        address: host:port to listen at.
        worker_timeout: seconds; a worker unheard for longer is taken for dead, and
            its trial is given to another.
        idle_timeout: seconds without a live worker, from the start on.
        request: what is searched, by name; a worker that asks otherwise is refused.
        on_change: called after trials have ended, while the oracle rests.

    Raises:
        UserError: nobody can listen at `address`, or it is no address.
        StaleArtifactError: a file of the oracle's is damaged.
        WorkersLostError: no worker was alive for `idle_timeout`.
        Exception: what the oracle raised over `create_trial` or `end_trial`.
    """
    check_address(address)
    handover.resume(oracle)
    oracle.save()
    leases = Leases(seconds=worker_timeout)
    chief = Chief(oracle, leases=leases, request=request)
    # Two chiefs at one port would each get some of the calls.
    server = grpc.server(
        ThreadPoolExecutor(_THREADS), options=(("grpc.so_reuseport", 0),)
    )
    chief.add_to(server)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise UserError(
            f"--chief {address} cannot be listened at; give an address of this machine "
            "and a port that is free"
        )
    server.start()
    say(f"chief at {address}, {_done(oracle)}")
    ended = len(oracle.end_order)
    try:
        while True:
            time.sleep(min(1.0, worker_timeout / 4))
            chief.sweep()
            with chief.turn:
                if on_change is not None and len(oracle.end_order) != ended:
                    ended = len(oracle.end_order)
                    on_change()
            if leases.live():
                continue
            if chief.failure is not None:
                raise chief.failure
            if chief.finished:
                return
            if leases.seconds_alone() > idle_timeout:
                raise WorkersLostError(
                    f"no worker was alive for {idle_timeout:g} s, {_done(oracle)}; "
                    "what is done is kept: start chief and workers again"
                )
    finally:
        server.stop(_GOODBYE_SECONDS).wait()


def connect(
    oracle: keras_tuner.Oracle,
    *,
    address: str,
    worker: int | str,
    patience: float = PATIENCE,
    request: dict[str, Any] | None = None,
) -> ChiefClient:
    """The oracle that a chief serves, for a Tuner on this worker; use with `with`.

    Args:
        oracle: made as the chief's; its objective and space are used.
        address: host:port of the chief.
        worker: a name that no other worker has. A worker that is started again under
            its name waits until its old lease has run out.
        patience: seconds without a sign of the chief, after which any call gives up.
        request: as the chief's.

    Raises:
        UserError: the chief can't be reached, searches something else, or has
            another live worker of this name.
    """
    check_address(address)
    line = Line(address, worker=str(worker), patience=patience)
    began = time.monotonic()
    try:
        while True:
            answer = line.beat(request=request)
            if answer.get("differs"):
                raise UserError(
                    f"the chief at {address} searches with another "
                    f"{', '.join(answer['differs'][:3])}; give both the same command "
                    "(and --precision, where machines differ)"
                )
            worker_timeout = answer["worker_timeout"]
            if "taken_by" not in answer:
                break
            # That one may have been killed: then its lease runs out.
            if time.monotonic() - began > worker_timeout + 1.0:
                raise UserError(taken(line.worker, answer["taken_by"]))
            time.sleep(min(1.0, worker_timeout / 4))
    except BaseException:
        line.close()
        raise
    # By this KerasTuner names the file in which a Tuner keeps its own state.
    os.environ["KERASTUNER_TUNER_ID"] = f"worker{line.worker}"
    return ChiefClient(oracle, line=line, worker_timeout=worker_timeout)


def check_address(address: str) -> None:
    """UserError unless `address` is host:port."""
    try:
        parts = urlsplit(f"//{address}")
        valid = bool(parts.hostname and parts.port) and parts.netloc == address
    except ValueError:
        valid = False
    if not valid or "@" in address:
        raise UserError(
            f"--chief {address!r} is no address; give HOST:PORT, such as 127.0.0.1:5151"
        )


def _done(oracle: keras_tuner.Oracle) -> str:
    ended = f"{len(oracle.end_order)} trials"
    if oracle.max_trials:
        ended = f"{len(oracle.end_order)} of {oracle.max_trials} trials"
    return f"{ended} done"
