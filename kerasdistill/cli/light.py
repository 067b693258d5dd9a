"""The verbs that need no TensorFlow: they look at finished work, or count."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill.cli import summary
from kerasdistill.errors import UserError
from kerasdistill.files import write_atomic


def run_report(asked: argparse.Namespace) -> dict[str, Any]:
    """report: every run's results beside the papers', or one search's."""
    what = REPORTS.get(asked.path[0] if asked.path else None)
    if what is not None:
        if asked.html or asked.format:
            raise UserError(f"report {asked.path[0]} has no --html and no --format")
        return what(asked)
    if asked.png:
        raise UserError("--png belongs to report search; the page is --html FILE")
    from kerasdistill.reports import page, plots, render
    from kerasdistill.reports.collect import FILE, collect
    from kerasdistill.reports.overview import overview

    if asked.html:
        plots.require()  # asked for, it must be possible
    places = asked.path or [asked.workdir]
    if not asked.path and not Path(asked.workdir).exists():
        print(f"{asked.workdir} does not exist: nothing is measured", file=sys.stderr)
        places = []
    collected = collect(places)
    for folder in collected.empty:
        print(
            f"{folder} holds no finished run: {FILE} was looked for in it and its "
            "folders; a file of another name is read if it is given by name",
            file=sys.stderr,
        )
    found = overview(collected)
    for problem in found["problems"]:
        print(problem, file=sys.stderr)
    if asked.html:
        _write(asked.html, page.page(found))
    how = asked.format or "terminal"
    look = {}
    if how == "terminal":
        colour = sys.__stdout__ is not None and sys.__stdout__.isatty()
        look = {"width": shutil.get_terminal_size().columns, "colour": colour}
    return {**found, "html": asked.html, "text": render.FORMATS[how](found, **look)}


def _write(file: str, text: str) -> None:
    try:
        write_atomic(file, text)
    except OSError as error:
        raise UserError(
            f"{file} cannot be written ({error.strerror}); choose another --html"
        ) from error


def report_search(asked: argparse.Namespace) -> dict[str, Any]:
    """report search: tables, and a picture where matplotlib is installed."""
    from kerasdistill.reports import plots, search

    if not asked.path[1:]:
        raise UserError("report search needs PATH: the folders of searches")
    searches = [search.load(path) for path in asked.path[1:]]
    picture = _place_of_picture(asked, any(each.scored for each in searches))
    if picture is not None:
        plots.search_picture(searches, picture)
    return {"searches": [search.describe(each) for each in searches], "png": picture}


def report_born_again(asked: argparse.Namespace) -> dict[str, Any]:
    """report born-again: generations and ensembles, beside the paper's row."""
    from kerasdistill.reports import born_again, generation_curves

    if not asked.path[1:]:
        raise UserError("report born-again needs PATH: the folders of born-again runs")
    runs = born_again.load(asked.path[1:])
    drawn = [run for run in runs if run["best_generation"] is not None]
    picture = _place_of_picture(asked, bool(drawn))
    if picture is not None:
        generation_curves.draw(drawn, picture)
    return {"born_again": born_again.describe(runs), "png": picture}


def _place_of_picture(asked: argparse.Namespace, any_drawn: bool) -> str | None:
    """Where a report's picture goes; None without anything to draw, or matplotlib."""
    from kerasdistill.reports import plots

    if asked.png:
        plots.require()  # asked for, it must be possible
    if not any_drawn or not plots.available():
        return None
    return asked.png or str(Path(asked.path[1]) / "report.png")


def run_runs(asked: argparse.Namespace) -> dict[str, Any]:
    """runs: list them, or clean some away."""
    from kerasdistill.reports import shelf

    if asked.what == "list":
        if asked.run or asked.unfinished or asked.dry_run:
            raise UserError("--run, --unfinished and --dry-run belong to runs clean")
        found = shelf.runs(asked.workdir)
        return {"runs": found, "text": shelf.listed(found)}
    done = shelf.clean(
        asked.workdir,
        names=asked.run or (),
        unfinished=asked.unfinished,
        dry_run=asked.dry_run,
    )
    return {**done, "text": shelf.cleaned(done)}


def run_doctor(asked: argparse.Namespace) -> dict[str, Any]:
    """doctor: versions, devices, space and data, with advice."""
    from kerasdistill import doctor

    found = doctor.examine(
        workdir=asked.workdir, data_dir=asked.data_dir, start=asked.start
    )
    return {**found, "text": doctor.readable(found)}


def run_completion(asked: argparse.Namespace) -> dict[str, Any]:
    """completion: a script for a shell, made from the grammar."""
    import shtab

    from kerasdistill.cli import arguments

    text = shtab.complete(arguments.build_parser(), shell=asked.shell)
    return {"shell": asked.shell, "script": text, "text": text.rstrip("\n")}


REPORTS: dict[str | None, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "search": report_search,
    "born-again": report_born_again,
}

COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "report": run_report,
    "runs": run_runs,
    "doctor": run_doctor,
    "completion": run_completion,
    "summary": summary.run,
}
