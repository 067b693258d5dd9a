"""The step in which teachers label augmented passes: what is left, and the work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerasdistill import requests
from kerasdistill.models import loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes import base
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.runs import RunDirectory, read_json
from kerasdistill.terminal import say
from pipelines import checking
from pipelines.datasets import ImageData
from pipelines.stored.layout import Layout
from pipelines.stored.remaining import missing_work

FOLDER = "distillation_set"  # inside the run's
STEP = "distillation set"  # its name in a plan
#: What the results of labelled images say of the teachers: how often their mean names
#: the label, and how many weights they have together.
TEACHERS = ("teacher_val_accuracy", "teacher_test_accuracy", "teacher_num_params")


@dataclass(frozen=True)
class Signal:
    """What is stored of the views and of the teachers' answers.

    `store` is "images" or "replay"; `keep_members` keeps each teacher's logits
    beside their mean; `logits_dtype` is "float32" or "float16"; `targets` are names in
    `targets.TARGETS`, of what is kept beside the logits.
    """

    store: str = "images"
    keep_members: bool = False
    logits_dtype: str = "float32"
    augmentation: base.Augmentation | base.CropAugmentation = base.Augmentation()
    seed: int = 0
    targets: tuple[str, ...] = field(default=(), metadata=requests.LATER)


@dataclass(frozen=True)
class Labelling:
    """A set to make, finish or extend.

    Attributes:
        place: gives the run folder from the results of the steps before, and
        paths: the teachers' `.keras` files.
        data: as for `precompute.step`, like the fields that follow.
    """

    place: Callable[[Results], RunDirectory]
    paths: Callable[[Results], list[str]]
    data: ImageData
    passes: int
    signal: Signal
    output: str | None = None
    workers: int | None = None
    beam_options: Sequence[str] = ()
    force: bool = False
    command: str | None = None
    measure: Callable[..., Any] | None = None
    seen: dict[str, Any] = field(default_factory=dict)  # by the plan, for the work

    def step(self, name: str = STEP, needs: tuple[str, ...] = ()) -> Step:
        """The step that does it; `needs` are those whose results are looked at."""
        how = {"finished": self._finished, "checks": True}
        return Step(name, self.place, self._work, self._cost, needs, **how)

    def _folder(self, run: RunDirectory | None) -> str | None:
        return self.output or (run and str(run.path / FOLDER))

    def _missing(self, run: RunDirectory | None, digests: list[str]) -> tuple:
        """The views in each shard that is not there, and the bytes of them all."""
        train, validation = len(self.data.train), len(self.data.validation)
        layout = Layout(train, validation, self.passes, self.signal.seed)
        how = {"data": self.data, "store": self.signal.store, "kept_digests": digests}
        return missing_work(self._folder(run), layout, **how)

    def _finished(self, run: RunDirectory) -> dict[str, Any] | None:
        # Joining teachers are looked at by the work itself.
        views, _ = self._missing(run, [])
        return None if views or self.signal.keep_members else run.results()

    def _cost(self, run: RunDirectory | None, before: Results) -> Cost | None:
        from pipelines.beam import probe  # a finished set needs no Apache Beam

        teachers = self.paths(before)
        if run is not None:  # else some of them stand in for what is not trained yet
            how = {"data": self.data, "force": self.force, "tell": True}
            for path in teachers:
                model = loading.load(path)
                checking.check_teacher(model, path, **how)
                self.seen.setdefault("checked", set()).add(weights_digest(model))
        kept = teachers if self.signal.keep_members else []
        digests = [weights_digest(loading.load(path)) for path in kept]
        shard_views, num_bytes = self._missing(run, digests)
        if not shard_views:
            return None
        count, speed = probe.count_workers(self.beam_options, self.workers), None
        if count is not None:  # else the job runs elsewhere
            shape, views = self.data.image_shape, self.signal.augmentation
            how = {"image_shape": shape, "augmentation": views, "workers": count}
            speed = (self.measure or probe.measure)(teachers, **how)
        how = f"{sum(shard_views):,} views in {len(shard_views)} shards"
        if speed is None:
            return Cost(None, num_bytes, how=how)
        seconds = probe.expected_seconds(shard_views, workers=count, speed=speed)
        rate = max(1, count) * speed.views_per_second
        shards_per_second = rate * len(shard_views) / sum(shard_views)
        self.seen["start"] = speed.startup_seconds * shards_per_second
        of = f"{count} worker{'s' * (count != 1)}" if count else "this process"
        return Cost(seconds, num_bytes, how=f"{how}, {rate:.0f} views/s in {of}")

    def _work(self, run: RunDirectory, before: Results) -> dict[str, Any]:
        from pipelines import precompute
        from pipelines.beam.progress import print_progress

        teachers, target = self.paths(before), self._folder(run)
        made = precompute.run(
            teacher_paths=teachers,
            data=self.data,
            passes=self.passes,
            output=target,
            progress=print_progress,
            workers=self.workers,
            beam_options=self.beam_options,
            force=self.force,
            command=self.command,
            seen=precompute.Seen(**self.seen),
            **vars(self.signal),
        )
        earlier = run.results() or {}
        # Where verify finds them again.
        every = dict.fromkeys([*earlier.get("teachers", []), *teachers])
        results = {"kind": "precompute", **base.fields(made)}
        results |= {"dataset": self.data.identity()}
        results |= {"distillation_set": target, "teachers": [*every]}
        # Also of one that was killed between its last shard and its results.
        if made.shards_done or not earlier:
            return results | self._teachers(teachers)
        # Nothing was scored this time: what was measured when it was stays.
        kept = ("views_per_second", "planned_seconds", "process_seconds", *TEACHERS)
        return results | {name: earlier[name] for name in kept if name in earlier}

    def _teachers(self, teachers: Sequence[str]) -> dict[str, float]:
        """See `TEACHERS`; the accuracies are also printed. {} without labels."""
        if not self.data.labelled:
            return {}
        models = [loading.load(path) for path in teachers]
        splits = (self.data.validation, self.data.test)
        right = [checking.accuracy(models, split) for split in splits]
        said = f"{right[0]:.1%} of the validation and {right[1]:.1%} of the test images"
        say(f"the teacher names the label of {said}")
        count = sum(model.count_params() for model in models)
        return dict(zip(TEACHERS, (*right, count), strict=True))


def teachers_at(set_path: str | Path) -> dict[str, float]:
    """What the results of the run that made a set say of its teachers, by `TEACHERS`,
    as far as it lies in one."""
    results = Path(set_path).parent / "results.json"
    found = read_json(results) if results.is_file() else {}
    return {name: found[name] for name in TEACHERS if name in found}
