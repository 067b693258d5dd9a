"""--trials and what goes with it: from a command line to a search."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from kerasdistill.cli import interpret, requested
from kerasdistill.errors import UserError
from kerasdistill.objectives import LogitRegression
from kerasdistill.recipes import base
from pipelines import datasets

Make = Callable[..., Any]  # image_shape, num_classes -> Space


def run(args: argparse.Namespace) -> dict[str, Any]:
    """student, baseline or teacher with --trials, or --space."""
    from kerasdistill.experiments.search import story as search

    make = space_maker(args)
    if args.space:
        return {"space": make().to_json()}
    if args.verb == "student":
        interpret.check_resident(args)
    data = interpret.data(args, set_path=getattr(args, "distillation_set", None))
    return search.run(story(args, make, data), only_plan=args.plan)


def story(args: argparse.Namespace, make: Make, data: datasets.ImageData) -> Any:
    """The search, and the steps before it: a student's set is made if need be."""
    from kerasdistill.experiments import chain
    from kerasdistill.experiments.search import families

    context = {"data": data, "workdir": args.workdir}
    wanted = _search(args, make, data)
    if (older := requested.with_older_widths(args)) is not None:
        space = _space(space_maker(older), data)
        wanted = replace(wanted, older_space=space)
    if args.verb != "student":
        return families.on_labels(wanted, **context)
    if args.distillation_set:
        given = {"given": args.distillation_set, **interpret.set_options(args)}
        return families.on_set(wanted, **context, **given)
    led_by, command = interpret.chain_of(args, wanted.middle, data), interpret.command()
    return families.on_set(
        wanted,
        **context,
        before=chain.before(led_by, **context, force=args.force, command=command),
        store=led_by.store,
        passes=led_by.passes,
        resident=led_by.resident,
    )


def space_maker(args: argparse.Namespace) -> Make:
    """The space that is searched, of the data's shapes; refuses a bad request."""
    from tuners import spaces
    from tuners.space import parse_pins

    if args.chief is not None:
        _check_address(args.chief)
    if args.verb == "teacher":
        space = partial(spaces.teacher, tie_dropout=args.tie_dropout)
    else:
        requested.check_objective(args, LogitRegression())
        options = {"budget": requested.budget_of(args), **requested.widths_of(args)}
        family = {"student": spaces.student, "baseline": spaces.baseline}[args.verb]
        space = partial(family, **options)
    pins = parse_pins(args.fix or ())

    def make(**shapes: Any) -> Any:
        # A teacher's widths, which are searched too, are of the paper's images.
        return space(**shapes if args.verb != "teacher" else {}).fix(pins)

    make()
    return make


def _search(args: argparse.Namespace, make: Make, data: datasets.ImageData) -> Any:
    from kerasdistill.experiments.search.definition import Search
    from tuners import cluster

    names = ("budget", "convs", "hidden", "kernel", "tie_dropout")
    family = {name: getattr(args, name, None) for name in names}
    if family["budget"] is not None:
        family["budget"] = requested.budget_of(args).num_params
    return Search(
        kind=args.verb,
        space=_space(make, data),
        finish=partial(_finished, args=args, image_shape=data.image_shape),
        family=family,
        max_trials=args.trials,
        oracle=args.oracle or "gp",
        seed=args.seed,
        prune=args.prune,
        seeds=args.seeds or 0,
        objective_views=args.objective_views,
        objective_images=args.objective_images,
        folder=args.search,
        chief=args.chief,
        worker=args.worker,
        worker_timeout=args.worker_timeout or cluster.WORKER_TIMEOUT,
    )


def _space(make: Make, data: datasets.ImageData) -> Any:
    return make(image_shape=data.image_shape, num_classes=data.num_classes)


def _finished(
    recipe: base.Recipe, *, args: argparse.Namespace, image_shape: tuple[int, int, int]
) -> base.Recipe:
    if isinstance(recipe, base.TeacherRecipe):  # students' are of this size already
        recipe = base.for_images(recipe, image_shape)
    return requested.with_options(recipe, args)


def _check_address(chief: str) -> None:
    try:
        parts = urlsplit(f"//{chief}")
        valid = bool(parts.hostname and parts.port) and parts.netloc == chief
    except ValueError:
        valid = False
    if not valid or "@" in chief:
        raise UserError(
            f"--chief {chief!r} is no address; give HOST:PORT, such as "
            "127.0.0.1:5151 (it only names the search)"
        )
