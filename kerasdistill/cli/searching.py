"""--trials and what goes with it: from a command line to a search."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from kerasdistill.cli import interpret, requested, search_options
from kerasdistill.errors import UserError
from kerasdistill.objectives import LogitRegression
from kerasdistill.recipes import base
from pipelines import datasets

Make = Callable[..., Any]  # image_shape, num_classes -> Space


def asked_for(asked: argparse.Namespace) -> bool:
    """Whether the verb is to search; options of a search alone are refused."""
    if asked.trials is not None or asked.space:
        _check_crew(asked)
        return True
    given = [name for name in search_options.ONLY if getattr(asked, name, None)]
    if given:
        option = given[0].replace("_", "-")
        raise UserError(f"--{option} belongs to a search; add --trials N")
    return False


def run_student(asked: argparse.Namespace) -> dict[str, Any]:
    """student --trials: on a set, which is made first if need be."""
    make = family(asked)
    if asked.space:
        return {"space": make().to_json()}
    interpret.check_signal(asked)
    data = interpret.data(asked, set_path=asked.distillation_set)
    return _done(student_story(asked, make, data), asked)


def student_story(
    asked: argparse.Namespace, make: Make, data: datasets.ImageData
) -> Any:
    """The search of student --trials, and the steps before it."""
    from kerasdistill.experiments import chain
    from kerasdistill.experiments.search import families

    wanted = _search(asked, make, data)
    where = {"data": data, "workdir": asked.workdir}
    if asked.distillation_set:
        how = interpret.set_options(asked)
        how["given"] = how.pop("distillation_set_path")
        return families.on_set(wanted, **where, **how)
    led_by = interpret.chain_of(asked, wanted.middle, data)
    command = interpret.command()
    return families.on_set(
        wanted,
        **where,
        before=chain.before(led_by, **where, force=asked.force, command=command),
        store=led_by.store,
        passes=led_by.passes,
        resident=led_by.resident,
    )


def run_baseline(asked: argparse.Namespace) -> dict[str, Any]:
    """baseline --trials: a student's architectures on hard labels."""
    return _on_labels(asked, family(asked))


def run_teacher(asked: argparse.Namespace) -> dict[str, Any]:
    """teacher --trials: all of the paper's 18 dimensions."""
    if asked.fast:
        raise UserError("--fast has no space to search; leave out --trials")
    if (asked.published, asked.filters, asked.dense) != (None, None, None):
        raise UserError(
            "--trials searches the widths too; pin them with --fix, such as --fix "
            "filters_1=76, instead of --published, --filters and --dense"
        )

    return _on_labels(asked, teacher_space(asked))


def teacher_space(asked: argparse.Namespace) -> Make:
    """The space of teacher --trials."""
    from tuners import spaces

    def make(**geometry: Any) -> Any:
        return _pinned(spaces.teacher(tie_dropout=asked.tie_dropout), asked)

    return make


def _on_labels(asked: argparse.Namespace, make: Make) -> dict[str, Any]:
    if asked.space:
        return {"space": make().to_json()}
    make()  # refuses a bad request before any data is read
    return _done(labelled_story(asked, make, interpret.data(asked)), asked)


def labelled_story(
    asked: argparse.Namespace, make: Make, data: datasets.ImageData
) -> Any:
    """The search of baseline --trials or teacher --trials."""
    from kerasdistill.experiments.search import families

    wanted = _search(asked, make, data)
    return families.on_labels(wanted, data=data, workdir=asked.workdir)


def _done(story: Any, asked: argparse.Namespace) -> dict[str, Any]:
    from kerasdistill.experiments.search import story as search

    return search.run(story, only_plan=asked.plan)


def family(asked: argparse.Namespace) -> Make:
    """The space of student --trials or baseline --trials; refuses a bad request."""
    from tuners import spaces

    for option in ("recipe", "preset", "student", "arch"):
        if getattr(asked, option, None) is not None:
            raise UserError(
                f"--{option} fixes what --trials searches; leave one of them out"
            )
    requested.check_objective(asked, LogitRegression())
    families = {"student": spaces.student, "baseline": spaces.baseline}
    shape = {"convs": asked.convs, "hidden": asked.hidden, "kernel": asked.kernel}
    space = families[asked.verb]
    space = partial(space, budget=requested.budget_of(asked), **shape)

    def make(**geometry: Any) -> Any:
        return _pinned(space(**geometry), asked)

    make()
    return make


def _pinned(space: Any, asked: argparse.Namespace) -> Any:
    from tuners.space import parse_pins

    for name in ("learning_rate", "momentum"):
        if getattr(asked, name) is not None:
            option = name.replace("_", "-")
            raise UserError(
                f"--{option} is searched; pin it with --fix "
                f"{name}={getattr(asked, name):g}"
            )
    return space.fix(parse_pins(asked.fix or ()))


def _search(asked: argparse.Namespace, make: Make, data: datasets.ImageData) -> Any:
    from kerasdistill.experiments.search.definition import Search
    from tuners import cluster

    space = make(image_shape=data.image_shape, num_classes=data.num_classes)
    family = {
        name: getattr(asked, name, None)
        for name in ("budget", "convs", "hidden", "kernel", "tie_dropout")
    }
    if family["budget"] is not None:
        family["budget"] = requested.budget_of(asked).num_params
    return Search(
        kind=asked.verb,
        space=space,
        finish=partial(_finished, asked=asked, image_shape=data.image_shape),
        family=family,
        max_trials=asked.trials,
        oracle=asked.oracle or "gp",
        seed=asked.seed,
        prune=asked.prune,
        seeds=asked.seeds or 0,
        objective_views=asked.objective_views,
        objective_images=asked.objective_images,
        folder=asked.search,
        chief=asked.chief,
        worker=asked.worker,
        worker_timeout=asked.worker_timeout or cluster.WORKER_TIMEOUT,
    )


def _finished(
    recipe: base.Recipe,
    *,
    asked: argparse.Namespace,
    image_shape: tuple[int, int, int],
) -> base.Recipe:
    if isinstance(recipe, base.TeacherRecipe):  # students' are of this size already
        recipe = base.for_images(recipe, image_shape)
    return requested.trained_as_asked(recipe, asked)


def _check_crew(asked: argparse.Namespace) -> None:
    """Refuses a worker without a chief, and what only one process may do."""
    if asked.chief is None:
        if asked.worker is not None or asked.worker_timeout is not None:
            raise UserError("--worker and --worker-timeout need --chief HOST:PORT")
        return
    from tuners import cluster

    cluster.check_address(asked.chief)
    if asked.verb == "student" and asked.distillation_set is None:
        raise UserError(
            "--chief and its workers share a set; make one with precompute and give "
            "it to all of them with --distillation-set"
        )
