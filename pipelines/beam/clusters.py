"""Clusters that somebody else runs: whether they answer, and how a job on one ends."""

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineResult

from kerasdistill.errors import UserError, WorkersLostError
from kerasdistill.reading_files import read_bytes
from kerasdistill.terminal import say

DASK_RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"  # no short name there

_CONNECT_SECONDS = 5.0
_GREET_SECONDS = 10
_WATCH_SECONDS = 10.0
_DASK_PORT = 8786  # where `dask scheduler` listens unless told otherwise
_RESUME = "finished shards are kept: run the same command again"


def runner_name(options: PipelineOptions) -> str:
    """The runner's class or alias in lower case, "" if none is given."""
    name = options.view_as(StandardOptions).runner or ""
    return name.rpartition(".")[2].lower()


def is_dask(runner: str) -> bool:
    return runner.rpartition(".")[2].lower() in ("dask", "daskrunner")


def learn_dask_options(argv: Sequence[str]) -> None:
    """Makes Beam know the options of its Dask runner, where `argv` uses them.

    Beam learns them only from the runner's module. UserError if that needs Dask, which
    is not installed.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", nargs="?")
    name = parser.parse_known_args(argv)[0].runner or ""
    if is_dask(name) or any(word.startswith("--dask_") for word in argv):
        _dask_options()


def check_endpoint(options: PipelineOptions) -> None:
    """UserError, in seconds, if nobody listens where the options send the job."""
    name, portable = runner_name(options), options.view_as(PortableOptions)
    if is_dask(name):
        option, address = "dask_client_address", _dask(options).address
    elif portable.job_endpoint or name == "portablerunner":
        option, address = "job_endpoint", portable.job_endpoint
        if not address:
            name = options.view_as(StandardOptions).runner
            raise UserError(f"{name} needs --job_endpoint HOST:PORT of a job service")
    elif name in ("flink", "flinkrunner"):
        option = "flink_master"
        address = options.view_as(FlinkRunnerOptions).flink_master
    else:
        return
    place = _host_and_port(address or "")
    if place is None:
        return  # a word such as [local], or another kind of network
    try:
        socket.create_connection(place, timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"nobody answers at --{option} {address} ({error}); start the cluster "
            f"there, or leave --runner out to work on this machine"
        ) from error


def prepare_dask(options: PipelineOptions) -> None:
    """UserError unless a Dask scheduler answers at the address or in the file given.

    A task has one shard unless the options say otherwise.
    """
    # What goes wrong comes back as an exception; tracebacks beside it help nobody.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    dask = _dask(options)
    if dask.npartitions is None and dask.partition_size is None:
        # Dask's runner would put 128 shards, perhaps all, into one worker's hands.
        dask.partition_size = 1
    address = dask.address
    if dask.scheduler_file:
        address = _address_in(dask.scheduler_file)
    if address is None:
        return  # Dask then starts a cluster of its own on this machine
    seconds = dask.timeout or _GREET_SECONDS
    try:
        # In a thread: this one may have an event loop, as notebooks do.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _greet(address, seconds)).result()
    except (OSError, ValueError, MemoryError) as error:
        # MemoryError: what another kind of server says, read as a length.
        raise UserError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}); give "
            "--dask_client_address tcp://HOST:PORT"
        ) from error


def _address_in(scheduler_file: str) -> str:
    try:
        return json.loads(read_bytes(scheduler_file, "json"))["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--dask_scheduler_file {scheduler_file} names no scheduler ({error}); "
            "pass what dask scheduler --scheduler-file FILE wrote"
        ) from error


async def _greet(address: str, seconds: float) -> None:
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    # Its own limit leaves out the wait for an answer to its greeting.
    greeting = connect(address, timeout=seconds, **arguments)
    comm = await asyncio.wait_for(greeting, seconds)
    await comm.close()


def check_job_service(options: PipelineOptions) -> None:
    """UserError if what listens at --job_endpoint speaks another language."""
    endpoint = options.view_as(PortableOptions).job_endpoint
    if endpoint in (None, "embed"):
        return
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_GREET_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise UserError(
                f"no job service of Beam's answers at --job_endpoint {endpoint}; give "
                "the HOST:PORT that one printed when it started"
            ) from error


@contextlib.contextmanager
def following(result: PipelineResult) -> Iterator[None]:
    """Follows a job on Dask; other runners say themselves what becomes of theirs.

    WorkersLostError if its workers died, or the scheduler is gone; UserError if the
    cluster lacks this package.
    """
    client = getattr(result, "client", None)
    if client is None:
        yield
        return
    from dask.distributed import KilledWorker

    stop = threading.Event()
    watch = threading.Thread(target=_watch_workers, args=(client, stop), daemon=True)
    watch.start()
    try:
        yield
        if any(future.status != "finished" for future in result.futures):
            raise CancelledError  # Beam takes the end of a lost job for its success
    except KilledWorker as error:
        raise WorkersLostError(
            "several Dask workers died, one after the other, at the same shard (out of "
            f"memory?); {_RESUME}, on workers with more memory or fewer threads"
        ) from error
    except (CancelledError, OSError) as error:
        raise WorkersLostError(
            f"the Dask scheduler is gone, or was told to drop the job; {_RESUME}"
        ) from error
    except (ImportError, RuntimeError) as error:
        missing = error.__cause__ or error  # the scheduler unpacks the job, too
        if not isinstance(missing, ImportError):
            raise
        raise UserError(
            f"the Dask cluster cannot import what it needs ({missing}); install the "
            "same kerasdistill[dask] where its scheduler and workers run"
        ) from error
    finally:
        stop.set()
        client.close()  # what still waits on the scheduler is then dropped
        watch.join()


def _watch_workers(client: Any, stop: threading.Event) -> None:
    """Says so when Dask has no workers: it waits for one for ever."""
    waiting = False
    while not stop.is_set():
        with contextlib.suppress(Exception):  # the job itself will meet it
            nobody = not client.ncores()
            if nobody and not waiting:
                say("precompute: the Dask scheduler has no workers; waiting for one")
            waiting = nobody
        stop.wait(_WATCH_SECONDS)


def _dask(options: PipelineOptions) -> Any:
    return options.view_as(_dask_options())


def _dask_options() -> type[PipelineOptions]:
    try:
        from apache_beam.runners.dask.dask_runner import DaskOptions
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"DaskRunner needs Dask, which is not installed ({error}); install the "
            "extra: pip install 'kerasdistill[dask]'"
        ) from error
    return DaskOptions


def _host_and_port(address: str) -> tuple[str, int] | None:
    """Of tcp://host:port, http://host:port or host:port; None for anything else."""
    try:  # some Pythons refuse [auto], Flink's word for its own cluster, here already
        parts = urlsplit(address if "://" in address else f"//{address}")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("", "tcp", "tls", "http", "https"):
        return None
    if port is None and parts.scheme in ("tcp", "tls"):
        port = _DASK_PORT
    return (parts.hostname, port) if parts.hostname and port else None
