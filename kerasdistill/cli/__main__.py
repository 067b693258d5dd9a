"""`python -m kerasdistill.cli`: one verb, one answer, one exit code."""

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from kerasdistill import own_packages
from kerasdistill.cli import answers, arguments, finished, light
from kerasdistill.errors import (
    DivergedError,
    UserError,
    WorkersLostError,
    one_line,
    storage_failure,
)
from kerasdistill.running.steps import OnlyPlanned, Plan


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line: 0 done; 2 bad request; 1 diverged, workers lost, the disk
    failed, part of a table not done or an installation that can't work; 130
    interrupted."""
    own_packages.put_first()
    try:
        asked = arguments.parse(sys.argv[1:] if argv is None else argv)
        # Libraries print to stdout too; with --json it must hold one object alone.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                answer = _answer(asked)
            except OnlyPlanned as stopped:
                answer = _planned(stopped.plan)
        if asked.json:
            answer.pop("text", None)
            _say(json.dumps(answer))
        else:
            same_data = arguments.data_options(asked)
            _say(answers.readable(answer, same_data=same_data))
        return 1 if False in (answer.get("works"), answer.get("complete")) else 0
    except (UserError, DivergedError, WorkersLostError) as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        if (line := storage_failure(error)) is None:
            raise
        print(f"error: {one_line(line)}", file=sys.stderr)
        return 1


def _planned(plan: Plan) -> dict[str, Any]:
    lines = plan.lines() or ["nothing is left to do"]
    return {**plan.to_json(), "text": "\n".join(lines)}


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # whoever reads, such as head, has seen enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for what Python flushes at its end
        os.close(nowhere)


def _answer(asked: argparse.Namespace) -> dict[str, Any]:
    if asked.verb in light.COMMANDS:
        return light.COMMANDS[asked.verb](asked)
    _check_backend()
    kept = finished.of(asked)
    if kept is not None and (answer := kept.answer()) is not None:
        return answer
    _start(deterministic=asked.deterministic)
    from kerasdistill import devices
    from kerasdistill.cli import commands
    from kerasdistill.models import trust

    with (
        devices.using(getattr(asked, "devices", "all")),
        trust.trusting(getattr(asked, "trust_saved_model", False)),
    ):
        answer = commands.COMMANDS[asked.verb](asked)
    if kept is not None and finished.of(asked) == kept:
        kept.keep(answer)
    return answer


def _check_backend() -> None:
    from kerasdistill.training.engines import ENGINES

    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in ENGINES:
        raise UserError(
            f"KERAS_BACKEND is {backend}, but the command line trains on "
            f"{', '.join(ENGINES)}; unset it, or fit the models of "
            "kerasdistill.training from Python"
        )


def _start(*, deterministic: bool) -> None:
    # TensorFlow's C++ side greets on stderr before any log level is looked at, and
    # would bury the one line that matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger().setLevel(logging.ERROR)  # Beam misses tools of Google's cloud
    with _native_stderr_closed():
        from kerasdistill.training import engines

        engines.current().start(deterministic=deterministic)


@contextlib.contextmanager
def _native_stderr_closed() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


if __name__ == "__main__":
    sys.exit(main())
