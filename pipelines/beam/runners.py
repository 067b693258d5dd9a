"""Which runner does the work, and what its worker processes are."""

import contextlib
import difflib
import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from kerasdistill import errors, machine
from kerasdistill.errors import UserError
from kerasdistill.training import engines
from pipelines import scoring
from pipelines.beam import clusters, heartbeats
from pipelines.views import augment

_RUNNERS_IN_PROCESS = ("", "fnapirunner", "directrunner", "direct")
WORKER_DIED = (
    "a worker process ended unexpectedly (killed, or out of memory?); finished shards "
    "are kept: run the same command again, with fewer workers if memory was short"
)
_SUBPROCESS = "beam:env:harness_subprocess_python:v1"  # Beam has no shorter name


def score(
    todo: Sequence[Any],
    scorer: beam.DoFn,
    options: PipelineOptions,
    runner: PipelineRunner,
    *,
    scratch: str,
    on_death: Callable[[], None],
) -> None:
    """Runs `scorer` over the shards in `todo`; see `watching_workers`. In the folder
    `scratch` workers show that they live, see `heartbeats`."""
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # What a DoFn raises comes back as the pipeline's own exception.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    pipeline = beam.Pipeline(runner=runner, options=options)
    shards = pipeline | "Shards" >> beam.Create(list(todo))
    _ = shards | "Score" >> beam.ParDo(scorer)
    with watching_workers(on_death), heartbeats.watching(scratch):
        result = pipeline.run()
        with clusters.following(result):
            result.wait_until_finish()


def split_beam_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments that Beam's PipelineOptions know, and all others.

    An option takes the plain words after it along. UserError if Beam refuses a value.
    """
    clusters.learn_dask_options(argv)
    parser = _beam_parser()
    known, unknown = [], []
    side = unknown
    for word in argv:
        if word.startswith("--"):
            name = word.split("=", 1)[0]
            side = known if name in parser._option_string_actions else unknown
        side.append(word)
    _, leftover = parser.parse_known_args(known)
    return [word for word in known if word not in leftover], unknown + leftover


def beam_options(argv: Sequence[str], *, own_options: Sequence[str] = ()) -> list[str]:
    """The arguments to hand to Beam; after `--` everything passes unseen.

    UserError names an option that Beam does not know, and the nearest name among
    Beam's and the command line's `own_options`.
    """
    argv = list(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    known, unknown = split_beam_options(argv[:end])
    if unknown:
        name = unknown[0].split("=", 1)[0]
        names = [*own_options, *_beam_parser()._option_string_actions]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"option {name} is not known to precompute or to Beam{hint} "
            "(arguments after -- pass unchecked)"
        )
    return known + argv[end + 1 :]


def pipeline_options(argv: Sequence[str]) -> PipelineOptions:
    """Beam's options; UserError for a runner that is not installed or not there."""
    clusters.learn_dask_options(argv)
    options = PipelineOptions(list(argv))
    name = clusters.runner_name(options)
    if name.startswith("prism") and not any("prism_location" in word for word in argv):
        raise UserError(
            "PrismRunner downloads a program; give its place with --prism_location, or "
            "leave --runner out for the in-process runner"
        )
    clusters.check_endpoint(options)
    return options


def make_runner(
    options: PipelineOptions, argv: Sequence[str], workers: int | None, *, log: str
) -> PipelineRunner:
    """The in-process runner with worker processes, unless the options say else.

    Never Beam's DirectRunner: it first tries to download a Go program.
    """
    local = local_workers(options, argv, workers)
    if local is None:
        name = options.view_as(StandardOptions).runner
        if workers:
            raise UserError(
                f"workers is {workers}, but {name} brings its own; leave `workers` out"
            )
        return _cluster_runner(name, options, log)
    direct = options.view_as(DirectOptions)
    if workers or "--direct_num_workers" not in " ".join(argv):
        direct.direct_num_workers = workers or local or 1
    if not local:
        return FnApiRunner()
    # Not "multi_processing": Beam would then replace the environment by one of its
    # own, whose workers find our packages and TensorFlow's thread count by chance.
    direct.direct_running_mode = None
    environment = _WatchedEnvironment.from_command_string(_worker_command(log))
    return FnApiRunner(default_environment=environment)


def local_workers(
    options: PipelineOptions, argv: Sequence[str], workers: int | None
) -> int | None:
    """Worker processes on this machine; 0: the job runs in this process; None: it
    runs somewhere else."""
    if clusters.runner_name(options) not in _RUNNERS_IN_PROCESS:
        return None
    given, direct = " ".join(argv), options.view_as(DirectOptions)
    in_processes = direct.direct_running_mode == "multi_processing"
    if "--direct_running_mode" in given and not in_processes:
        return 0
    if workers is None and "--direct_num_workers" in given:
        workers = direct.direct_num_workers
    return workers or _default_workers()


def _cluster_runner(name: str, options: PipelineOptions, log: str) -> PipelineRunner:
    """Any runner but the in-process one, its workers' environment as ours must be."""
    if clusters.is_dask(name):
        clusters.prepare_dask(options)
        name = clusters.DASK_RUNNER if "." not in name else name
    clusters.check_job_service(options)
    portable = options.view_as(PortableOptions)
    if portable.environment_type == "LOOPBACK":
        scoring.pin_to_one_thread()  # this process will be the worker
    elif portable.environment_type in ("SUBPROCESS_SDK", _SUBPROCESS):
        portable.environment_type = _SUBPROCESS
        if not portable.environment_config:
            portable.environment_config = _worker_command(log)
    try:
        return create_runner(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"runner {name} cannot be used: {error}") from error


def _worker_command(log: str | None) -> str:
    """Starts a worker here; what it prints goes to the file `log`, or to stderr."""
    roots = [str(Path(module.__file__).parents[1]) for module in (augment, errors)]
    paths = [*dict.fromkeys(roots), os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONSAFEPATH": "1",  # else the current folder would come before these
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "TF_DETERMINISTIC_OPS": "1",
        "KERAS_BACKEND": machine.keras_backend(),
        "NPROC": "1",  # JAX's threads
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    words = [f"{name}={value}" for name, value in environment.items()]
    # What Beam's workers say below an error is noise; errors come back as exceptions.
    start = (
        "import logging; logging.disable(logging.WARNING); "
        "from apache_beam.runners.worker.sdk_worker_main import main; main([])"
    )
    # stdout may be read as JSON by whoever called us, and stderr shows progress.
    local = log is not None and FileSystems.get_scheme(log) is None
    aside = f"1>>{shlex.quote(log)} 2>&1" if local else "1>&2"
    return f"exec env {shlex.join([*words, sys.executable, '-c', start])} {aside}"


def _default_workers() -> int:
    return machine.cores() if engines.current().device() == "cpu" else 1


class _WatchedEnvironment(SubprocessSDKEnvironment):
    """Beam's worker processes under a watch: see `watching_workers`."""

    URN = "kerasdistill:env:watched_process:v1"

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return self.URN, self.command_string.encode()


@contextlib.contextmanager
def watching_workers(on_death: Callable[[], None]) -> Iterator[None]:
    """Lets the pipeline fail, rather than wait for ever, when a worker dies.

    Beam's runner does not notice the end of a worker process: if memory runs out
    and the system kills one, it would hang.
    """

    class Watched(SubprocessSdkWorkerHandler):
        stopping = False

        def start_worker(self) -> None:
            super().start_worker()
            threading.Thread(target=self.watch, daemon=True).start()

        def close(self) -> None:
            self.stopping = True
            if self.worker_thread.is_alive():  # else its connections are broken
                super().close()

        def watch(self) -> None:
            self.worker_thread.join()
            if not self.stopping:
                on_death()
            while not self.stopping:  # answer in its place: the runner waits for it
                waiting = self.control_conn._futures_by_id
                for name in list(waiting):
                    answer = beam_fn_api_pb2.InstructionResponse(
                        instruction_id=name, error=WORKER_DIED
                    )
                    waiting.pop(name).set(answer)
                time.sleep(0.5)

    handlers = WorkerHandler._registered_environments
    WorkerHandler.register_environment(_WatchedEnvironment.URN, bytes)(Watched)
    try:
        yield
    finally:
        del handlers[_WatchedEnvironment.URN]


def _beam_parser() -> Any:
    class Parser(_BeamArgumentParser):
        def error(self, message: str) -> None:
            raise UserError(f"Beam refuses an option: {message}")

    parser = Parser(allow_abbrev=False, add_help=False)
    for kind in {str(kind): kind for kind in PipelineOptions.__subclasses__()}.values():
        kind._add_argparse_args(parser)
    return parser
