"""The verbs that need no TensorFlow: they look at finished work, or count."""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill import terminal
from kerasdistill.cli import flags
from kerasdistill.cli.generation_options import LANGUAGE_MODELS
from kerasdistill.errors import UserError
from kerasdistill.files import why_unwritable, write_atomic


def run_report(args: argparse.Namespace) -> dict[str, Any]:
    """report: every run's results, and the papers' beside them, or one search's."""
    what, *places = args.path or [None]
    if what in REPORTS:
        if not places:
            raise UserError(f"report {what} needs PATH: the folders of its runs")
        return REPORTS[what](args, places)
    from kerasdistill.cli import summing_up
    from kerasdistill.reports import page, plots, render
    from kerasdistill.reports.collect import FILE, collect
    from kerasdistill.reports.overview import overview, shown

    if args.html or args.png:
        plots.require()  # before anything is read
    places = args.path or [args.workdir]
    if not args.path and not Path(args.workdir).exists():
        terminal.say(f"{args.workdir} does not exist: nothing is measured")
        places = []
    collected = collect(places)
    for folder in collected.empty:
        terminal.say(
            f"{folder} holds no finished run: {FILE} was looked for in it and its "
            "folders; a file of another name is read if it is given by name"
        )
    report = overview(collected)
    for row in report["own_runs"]:
        row["next"] = summing_up.next_for(row)
    report["png"] = _own_picture(args, report["own_runs"])
    visible = shown(report, papers=args.papers)
    for problem in report["problems"]:
        terminal.say(problem)
    if args.html:
        try:
            write_atomic(args.html, page.page(visible))
        except OSError as error:
            raise UserError(
                f"{args.html} cannot be written ({error.strerror}); choose another "
                "--html"
            ) from error
    look, name = {}, args.format or "terminal"
    if name == "terminal":
        colour = terminal.has_colours() and not args.no_color
        look = {"width": shutil.get_terminal_size().columns, "colour": colour}
    text = render.FORMATS[name](terminal.fit(visible), **look)
    coloured = look.get("colour", False)
    return {**report, "html": args.html, "text": text, "coloured": coloured}


def _own_picture(args: argparse.Namespace, rows: list[dict[str, Any]]) -> str | None:
    """The picture of the user's runs; by default in the workdir that was read."""
    from kerasdistill.reports import own_plots, plots

    file = args.png
    if file is None and not args.path and why_unwritable(args.workdir) is None:
        file = str(Path(args.workdir) / "report.png")
    if file is None or not plots.available():
        return None
    if (drawn := own_plots.against_weights(rows)) is None:
        return None
    plots.save(drawn, file)
    return file


def report_search(args: argparse.Namespace, places: list[str]) -> dict[str, Any]:
    """report search: tables, and a picture where matplotlib is installed."""
    from kerasdistill.reports import plots, search

    searches = [search.load(path) for path in places]
    picture = _picture(args, any(each.scored for each in searches))
    if picture is not None:
        plots.search_picture(searches, picture)
    return {"searches": [search.describe(each) for each in searches], "png": picture}


def report_born_again(args: argparse.Namespace, places: list[str]) -> dict[str, Any]:
    """report born-again: generations and ensembles, beside the paper's row."""
    from kerasdistill.reports import born_again, generation_curves

    runs = born_again.load(places)
    drawn = [run for run in runs if run["best_generation"] is not None]
    picture = _picture(args, bool(drawn))
    if picture is not None:
        generation_curves.draw(drawn, picture)
    return {"born_again": born_again.describe(runs), "png": picture}


def _picture(args: argparse.Namespace, any_drawn: bool) -> str | None:
    """A picture's file; None without anything to draw, or matplotlib."""
    from kerasdistill.reports import plots

    if args.png:
        plots.require()  # nothing else would do
    if not any_drawn or not plots.available():
        return None
    return args.png or str(Path(args.path[1]) / "report.png")


def run_runs(args: argparse.Namespace) -> dict[str, Any]:
    """runs: list them, or clean some away."""
    from kerasdistill.reports import cleaning, listing

    if args.what == "list":
        runs = listing.runs(args.workdir)
        return {"runs": runs, "text": listing.listed(terminal.fit(runs))}
    same = ("unfinished", "unreferenced", "dry_run")
    options = {name: getattr(args, name) for name in same}
    done = cleaning.clean(args.workdir, names=args.run or (), **options)
    return {**done, "text": cleaning.cleaned(terminal.fit(done))}


def run_doctor(args: argparse.Namespace) -> dict[str, Any]:
    """doctor: versions, devices, space and data, with advice."""
    from kerasdistill import doctor

    options = {"data_dir": args.data_dir, "start": args.start}
    facts = doctor.examine(workdir=args.workdir, **options)
    for check in facts["checks"]:
        check["advice"] = flags.named(check["advice"])
    return {**facts, "text": doctor.readable(terminal.fit(facts))}


def run_completion(args: argparse.Namespace) -> dict[str, Any]:
    """completion: a script for a shell, made from the grammar."""
    import shtab

    from kerasdistill.cli import arguments

    text = shtab.complete(arguments.build_parser(), shell=args.shell)
    return {"shell": args.shell, "script": text, "text": text.rstrip("\n")}


def run_summary(args: argparse.Namespace) -> dict[str, Any]:
    """summary: layers and trainable parameters."""
    from kerasdistill.cli import arguments, requested
    from kerasdistill.recipes import base, born_again, layers, ptb, urban2017

    if (args.what is None) == (args.arch is None):
        raise UserError("summary needs one of teacher, student and --arch NAME")
    shape, notes, rule = arguments.image_shape(args), [], {}
    sizes: dict[str, Any] = {"image_shape": shape, "num_classes": args.classes}
    if args.arch in LANGUAGE_MODELS:
        if args.vocabulary is None:
            raise UserError(f"--arch {args.arch} needs --vocabulary V")
        recipe = ptb.language_model(args.arch, size=args.size, layers=args.layers)
        notes = ptb.notes(args.arch, size=args.size)
        sizes = {"num_words": args.vocabulary}
    elif args.arch is not None:
        factors = requested.factors(args)
        recipe = born_again.recipe(args.arch, **factors)
        notes = born_again.notes(args.arch, **factors)
    elif args.what == "teacher":
        recipe = requested.teacher_recipe(args)
    else:
        widths = requested.widths_of(args)
        recipe = urban2017.student(budget=requested.budget_of(args), **widths, **sizes)
        rule = {"width_rule": recipe.architecture.width_rule}
    rows = layers.table(recipe.architecture, **sizes)
    return {
        **rule,
        "num_params": layers.num_params(rows),
        "layers": rows,
        "recipe": base.to_json(recipe),
        "notes": notes,
    }


REPORTS: dict[str, Callable[[argparse.Namespace, list[str]], dict[str, Any]]] = {
    "search": report_search,
    "born-again": report_born_again,
}

COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "report": run_report,
    "runs": run_runs,
    "doctor": run_doctor,
    "completion": run_completion,
    "summary": run_summary,
}
