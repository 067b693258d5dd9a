"""The stored signal: teachers label augmented passes once, for every student."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments.labelling import FOLDER, STEP, Labelling, Signal
from kerasdistill.files import sha256_file
from kerasdistill.running import opening, steps
from kerasdistill.running.steps import Results, Step
from kerasdistill.runs import RunDirectory, read_json
from pipelines.datasets import ImageData
from pipelines.stored import integrity
from pipelines.stored.manifest import Manifest
from pipelines.views import augment

_ELSEWHERE = (
    "{0} is not inside the run folder that made it; to extend a set that was written "
    "elsewhere repeat its precompute command, `output={0}` included, with more `passes`"
)


@dataclass(frozen=True, kw_only=True)
class Request(Signal):
    """A signal of these teachers (digests of their files) on this data set."""

    teachers: tuple[str, ...]
    dataset: dict[str, Any]


def run_directory(
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    signal: Signal,
) -> RunDirectory:
    """The folder of the set of these teachers, however many passes it has."""
    check_files(teacher_paths)
    request = Request(
        **vars(signal),
        teachers=tuple(sha256_file(path) for path in teacher_paths),
        dataset=data.identity(),
    )
    return RunDirectory.open(workdir, "precompute", request)


def check_files(teacher_paths: Sequence[str | Path]) -> None:
    """UserError for a teacher that is not there."""
    for path in teacher_paths:
        if not Path(path).is_file():
            raise UserError(f"teacher {path} does not exist; pass a .keras file")


def step(
    *,
    data: ImageData,
    workdir: str | Path,
    passes: int,
    signal: Signal,
    given: Sequence[str | Path] = (),
    trained: Sequence[str] = (),
    name: str = STEP,
    **options: Any,
) -> Step:
    """The step that makes, finishes or extends a distillation set.

    Args:
        data: the transfer set and its validation images.
        workdir: where the run folder goes.
        passes: augmented sweeps.
        signal: what is stored.
        given: teachers' `.keras` files, and
        trained: names of the steps whose models are teachers too.
        name: of the step.
        options: output (where the set goes instead of the run folder: a path, or a
            URL that Beam's FileSystems can write), workers (processes of the
            in-process runner), beam_options (Beam's own), force (accept a card-less
            teacher that disagrees with the labels), command (what finishes the set,
            for errors) and measure (instead of `probe.measure`, for a story that
            measures many).
    """
    check_files(given)

    def paths(before: Results) -> list[str]:
        return [*map(str, given), *(before[each]["model"] for each in trained)]

    def place(before: Results) -> RunDirectory:
        how = {"data": data, "workdir": workdir, "signal": signal}
        return run_directory(paths(before), **how)

    how = {"data": data, "passes": passes, "signal": signal, **options}
    return Labelling(place, paths, **how).step(name, needs=tuple(trained))


def run(
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    passes: int,
    signal: Signal | None = None,
    only_plan: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Makes, finishes or extends the distillation set of these teachers.

    Options are those of `step`. With `only_plan`, says what is left and stops.

    Returns:
        The fields of the Beam job's result, as `results.json` keeps them, with what
        the last process that scored anything had planned for that, and took.
    """
    how = {"data": data, "workdir": workdir, "passes": passes, **options}
    story = [step(given=teacher_paths, signal=signal or Signal(), **how)]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[STEP]


def extend(
    path: str | Path,
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    passes: int | None = None,
    only_plan: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Adds passes or members to a finished set; nothing that is there is redone.

    Args:
        path: a `distillation_set` inside the run folder that made it.
        teacher_paths: with more passes, every teacher of the set; new ones join it if
            it keeps members.
        data: what the set was made from.
        passes: how many it will have (None: as many as it has).
        only_plan: say what is left and stop.
        options: workers, beam_options, force and command, as for `step`.

    Returns:
        What `run` returns.
    """
    check_files(teacher_paths)
    if opening.is_url(path):
        raise UserError(_ELSEWHERE.format(path))
    path = Path(path)
    manifest = integrity.read_manifest(path)
    recipe = path.parent / "recipe.json"
    if path.name != FOLDER or not recipe.is_file():
        raise UserError(_ELSEWHERE.format(path))
    passes = manifest.passes if passes is None else passes
    if passes < manifest.passes:
        raise UserError(
            f"{path} has {manifest.passes} passes already; ask for more, or read fewer "
            "with a student's `passes`"
        )
    run = RunDirectory(path.parent, read_json(recipe))
    paths = [str(each) for each in teacher_paths]
    how = {"data": data, "passes": passes, "signal": _signal_of(manifest)}
    how |= {"output": str(path), **options}
    made = Labelling(lambda before: run, lambda before: paths, **how).step()
    return steps.run([made], workdir=path.parent, only_plan=only_plan).results[STEP]


def _signal_of(manifest: Manifest) -> Signal:
    same = ("store", "keep_members", "logits_dtype", "seed")
    return Signal(
        augmentation=augment.from_json(manifest.augmentation),
        targets=tuple(manifest.targets),
        **{name: getattr(manifest, name) for name in same},
    )
