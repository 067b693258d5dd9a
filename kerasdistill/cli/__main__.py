"""`python -m kerasdistill.cli`: one verb, one answer, one exit code."""

import argparse
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from kerasdistill import errors, machine, own_packages, packages, terminal
from kerasdistill.cli import answers, arguments, finished, flags, light, workplace
from kerasdistill.errors import UserError, one_line
from kerasdistill.running.steps import OnlyPlanned
from kerasdistill.training import trackers


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line: 0 done; 2 bad request; 1 diverged, workers lost, the disk
    failed, stdout too, part of a table not done or an installation that can't work;
    130 interrupted."""
    terminal.open_missing()
    own_packages.put_first()
    with terminal.guarded(flags.named):
        return _run(sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    try:
        args = arguments.parse(argv)
        # Libraries print to stdout too; with --json it must hold one object alone.
        with terminal.libraries_aside():
            try:
                answer = _answer(args)
            except ModuleNotFoundError as error:
                packages.require((error.name or "sys").split(".")[0], by=args.verb)
                raise
            except OnlyPlanned as stopped:
                steps = stopped.plan.lines() or ["nothing is left to do"]
                answer = {**stopped.plan.to_json(), "text": "\n".join(steps)}
        coloured = answer.pop("coloured", False) and not args.json
        if args.json:
            text = json.dumps({n: value for n, value in answer.items() if n != "text"})
        else:
            text = answers.readable(answer, same_data=arguments.data_options(args))
            text = flags.named(text)
        said = terminal.answer(text, coloured=coloured)
        works = False not in (answer.get("works"), answer.get("complete"))
        return 0 if said and works else 1
    except (UserError, errors.DivergedError, errors.WorkersLostError) as error:
        terminal.say(f"error: {one_line(str(error))}")
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        terminal.say("interrupted; the same command goes on from here")
        return 130
    except Exception as error:
        if (line := errors.storage_failure(error)) is None:
            raise
        terminal.say(f"error: {one_line(line)}")
        return 1


def _answer(args: argparse.Namespace) -> dict[str, Any]:
    if args.verb in light.COMMANDS:
        return light.COMMANDS[args.verb](args)
    _check_backend()
    kept = finished.of(args)
    if kept is not None and (answer := kept.answer()) is not None:
        return answer
    workplace.check(args)
    with trackers.tracking(getattr(args, "tracker", None)):
        return _done(args, kept)


def _done(args: argparse.Namespace, kept: finished.Finished | None) -> dict[str, Any]:
    """Does what the verb says, and keeps its answer."""
    _start(deterministic=args.deterministic)
    from kerasdistill.cli import commands, elsewhere
    from kerasdistill.models import trust
    from kerasdistill.training import engines

    with (
        engines.current().using(getattr(args, "devices", "all")),
        trust.trusting(getattr(args, "trust_saved_model", False), workdir=args.workdir),
    ):
        elsewhere.bring(args)
        answer = commands.COMMANDS[args.verb](args)
    if kept is not None and finished.of(args) == kept:
        kept.keep(answer)
    return answer


def _check_backend() -> None:
    from kerasdistill.training.engines import ENGINES

    backend = os.environ.get("KERAS_BACKEND") or machine.keras_backend()
    if backend not in ENGINES:
        raise UserError(
            f"KERAS_BACKEND is {backend}, but the command line trains on "
            f"{', '.join(ENGINES)}; unset it, or fit the models of "
            "kerasdistill.training from Python"
        )
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"KERAS_BACKEND is {backend}, which is not installed; install "
            f"kerasdistill[{backend}], or unset it"
        )


def _start(*, deterministic: bool) -> None:
    # TensorFlow's C++ side greets on stderr before any log level is looked at, and
    # would bury the one line that matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger().setLevel(logging.ERROR)  # Beam misses tools of Google's cloud
    with terminal.native_aside():
        from kerasdistill.training import engines

        engines.settle()
        engines.current().start(deterministic=deterministic)


if __name__ == "__main__":
    sys.exit(main())
