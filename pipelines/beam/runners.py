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

import tensorflow as tf
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

from kerasdistill import errors
from kerasdistill.errors import UserError
from pipelines import scoring
from pipelines.beam import clusters
from pipelines.views import augment

_RUNNERS_IN_PROCESS = ("fnapirunner", "directrunner", "direct")
_SUBPROCESS = "beam:env:harness_subprocess_python:v1"  # Beam has no shorter name


def quieten() -> None:
    """Leaves of Beam's log what nobody else says."""
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # What a DoFn raises comes back as the pipeline's own exception.
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)


def split_beam_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts arguments into those that Beam's PipelineOptions know and all others.

    An option takes the plain words after it along. UserError if a known option has
    a value that Beam refuses.
    """
    clusters.learn_dask_options(argv)
    parser = _beam_parser()
    known: list[str] = []
    unknown: list[str] = []
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

    Args:
        argv: what the command line did not recognise itself.
        own_options: its own option names, offered as corrections.

    Raises:
        UserError: an option that Beam does not know, with the nearest known name.
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
    name = options.view_as(StandardOptions).runner or "FnApiRunner"
    if name.rsplit(".", 1)[-1].lower() not in _RUNNERS_IN_PROCESS:
        if workers:
            raise UserError(
                f"workers is {workers}, but {name} brings its own; leave --workers out"
            )
        return _cluster_runner(name, options, log)
    direct = options.view_as(DirectOptions)
    mode_given = "--direct_running_mode" in " ".join(argv)
    in_this_process = mode_given and direct.direct_running_mode != "multi_processing"
    if workers or "--direct_num_workers" not in " ".join(argv):
        default = 1 if in_this_process else _default_workers()
        direct.direct_num_workers = workers or default
    if in_this_process:
        return FnApiRunner()
    # Not "multi_processing": Beam would then replace the environment by one of its
    # own, whose workers find our packages and TensorFlow's thread count by chance.
    direct.direct_running_mode = None
    command = _worker_command(log)
    return FnApiRunner(
        default_environment=_WatchedEnvironment.from_command_string(command)
    )


def _cluster_runner(name: str, options: PipelineOptions, log: str) -> PipelineRunner:
    """Any runner but the in-process one, its workers' environment as ours must be."""
    if clusters.uses_dask(options):
        clusters.prepare_dask(options)
        name = clusters.DASK_RUNNER if "." not in name else name
    clusters.check_job_service(options)
    portable = options.view_as(PortableOptions)
    if portable.environment_type == "LOOPBACK":
        scoring.pin_to_one_thread()  # this process will be the worker
    elif portable.environment_type in ("SUBPROCESS_SDK", _SUBPROCESS):
        portable.environment_type = _SUBPROCESS
        portable.environment_config = portable.environment_config or _worker_command(
            log
        )
    try:
        return create_runner(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"runner {name} cannot be used: {error}") from error


def _worker_command(log: str | None) -> str:
    """Starts a worker on this machine; what it prints goes to the file `log`, or to
    stderr."""
    roots = [str(Path(module.__file__).parents[1]) for module in (augment, errors)]
    paths = [*dict.fromkeys(roots), os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONSAFEPATH": "1",  # else the current folder would come before these
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "TF_DETERMINISTIC_OPS": "1",
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
    if tf.config.list_physical_devices("GPU"):
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _WatchedEnvironment(SubprocessSDKEnvironment):
    """Beam's worker processes under a watch: see `watching_workers`."""

    URN = "kerasdistill:env:watched_process:v1"

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return self.URN, self.command_string.encode()


@contextlib.contextmanager
def watching_workers(on_death: Callable[[], None], message: str) -> Iterator[None]:
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
                        instruction_id=name, error=message
                    )
                    waiting.pop(name).set(answer)
                time.sleep(0.5)

    known = WorkerHandler._registered_environments
    WorkerHandler.register_environment(_WatchedEnvironment.URN, bytes)(Watched)
    try:
        yield
    finally:
        del known[_WatchedEnvironment.URN]


def _beam_parser() -> Any:
    class Parser(_BeamArgumentParser):
        def error(self, message: str) -> None:
            raise UserError(f"Beam refuses an option: {message}")

    parser = Parser(allow_abbrev=False, add_help=False)
    kinds = {str(kind): kind for kind in PipelineOptions.__subclasses__()}
    for kind in kinds.values():
        kind._add_argparse_args(parser)
    return parser
