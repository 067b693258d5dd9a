"""The names of run folders, pinned: a run that is finished stays found.

`golden_runs.json` has, for a request of every verb, the folder's name by the older rule
(the digest of the whole JSON), as it was before there was another, and by today's.
"""

import dataclasses
import json
import types
from pathlib import Path

import pytest

from kerasdistill import requests as json_requests
from kerasdistill.budget import Budget
from kerasdistill.experiments import precompute, student
from kerasdistill.experiments.born_again import generations
from kerasdistill.experiments.born_again.signals import Signal
from kerasdistill.experiments.language import (
    generations as language_generations,
)
from kerasdistill.experiments.language import (
    model as language_model,
)
from kerasdistill.experiments.language.saved import Models
from kerasdistill.experiments.search import definition
from kerasdistill.objectives import (
    Ban,
    BanWithLabels,
    ConfidenceWeighted,
    KnowledgeDistillation,
    PermutedPredictions,
)
from kerasdistill.recipes import base, born_again, fast, ptb, urban2017
from kerasdistill.recipes.urban2017_presets import PRESETS
from kerasdistill.running import training
from kerasdistill.runs import RunDirectory
from pipelines.words import text_signal
from tuners import spaces

GOLDEN = Path(__file__).with_name("golden_runs.json")
IMAGES = types.SimpleNamespace(
    identity=lambda: {
        "name": "cifar10",
        "version": "3.0.2",
        "split_seed": 0,
        "num_samples": 40_000,
        "digest": "d1" * 32,
    }
)
TEXT_IDENTITY = {
    "name": "ptb",
    "num_words": 10_000,
    "num_tokens": {"train": 929_589, "validation": 73_760, "test": 82_430},
    "vocabulary_digest": "e5" * 32,
    "digest": "f6" * 32,
}
TEXT = types.SimpleNamespace(identity=lambda: TEXT_IDENTITY)
PASSES = {"passes": 24, "shards_digest": "ab" * 32}
TEACHER = "cd" * 32


def trained(recipe, **changes):
    return dataclasses.replace(
        recipe, training=dataclasses.replace(recipe.training, **changes)
    )


def wide_resnet(**changes):
    return trained(born_again.recipe("wide-resnet-28-2"), **changes)


def requests(workdir) -> dict[str, RunDirectory]:
    """A run of every verb that opens one, none of them entered."""
    where = {"data": IMAGES, "workdir": workdir}

    def labels(recipe, kind):
        return training.run_directory(recipe, kind=kind, **where)

    def students(recipe):
        how = {"kind": student.KIND, "distillation_set": PASSES}
        return training.run_directory(recipe, **how, **where)

    def generation(recipe, **signal):
        signal = Signal(**signal)
        return generations.run_directory(
            recipe, taught_by=TEACHER, signal=signal, **where
        )

    def distillation_set(**signal):
        path = Path(workdir) / "teacher.keras"
        path.write_bytes(b"a teacher")
        signal = precompute.Signal(**signal)
        return precompute.run_directory([path], signal=signal, **where)

    def language(recipe, teachers=(), digest=None):
        signal = digest and types.SimpleNamespace(digest=digest)
        given = Models(tuple({"weights_digest": each} for each in teachers))
        how = {"teachers": given, "signal": signal, "data": TEXT, "workdir": workdir}
        return language_model.step(recipe, **how).place({})

    def search(kind, space, finish=lambda recipe: recipe, **options):
        asked = definition.Search(kind, space, finish, {"budget": None}, 20, **options)
        identity = definition.identity(asked, IMAGES, {})
        return RunDirectory.open(workdir, f"{kind}-search", identity)

    cosine = {"schedule": "cosine", "epochs": 24, "batch_size": 32}
    convs = urban2017.student(budget=Budget(1_000_000), convs=3)
    hidden = urban2017.student(budget=Budget(300_000), hidden=2)
    network = base.GivenNetwork("own.keras", "12" * 32)
    given = urban2017.given(network, image_shape=(64, 64, 3))
    lstm = ptb.language_model("lstm", size="small")
    cnn_lstm = ptb.language_model("cnn-lstm")
    taught = language_generations.Lineage(lstm, objective=BanWithLabels(1.0, 0.5, 0.5))
    on_teacher = language_generations.Lineage(lstm, objective=Ban())
    born = wide_resnet(objective=Ban(), seed=3)
    return {
        "teacher": labels(urban2017.teacher(), "teacher"),
        "teacher quick": labels(trained(urban2017.quick_teacher(), seed=2), "teacher"),
        "teacher of widths": labels(
            trained(urban2017.teacher_of(filters=(8, 16, 32), dense=64), **cosine),
            "teacher",
        ),
        "fast teacher": labels(fast.teacher(), "teacher"),
        "fast teacher small": labels(
            base.for_images(fast.quick(fast.teacher()), (64, 64, 3)), "teacher"
        ),
        "student": students(convs),
        "student kd": students(
            trained(hidden, objective=KnowledgeDistillation(4.0, 0.7), **cosine)
        ),
        "student given": students(given),
        "student preset": students(PRESETS["snn-ecnn-mimic-30k"]()),
        "baseline": labels(
            urban2017.baseline(budget=Budget(10_000_000), convs=4), "baseline"
        ),
        "set": distillation_set(),
        "set replay": distillation_set(
            store="replay",
            keep_members=True,
            logits_dtype="float16",
            augmentation=base.CropAugmentation(),
            seed=7,
        ),
        "ensemble": ensemble(workdir),
        "ensemble top": ensemble(workdir, select="top", size=3),
        "generation 0": labels(
            generations.recipe_of(wide_resnet(objective=PermutedPredictions()), 0),
            "generation",
        ),
        "generation ban": generation(wide_resnet(objective=Ban(), seed=5)),
        "generation ban+l": generation(
            wide_resnet(objective=BanWithLabels(1.0, 0.5, 2.0))
        ),
        "generation cwtm": generation(
            wide_resnet(objective=ConfidenceWeighted(3.0)), kind="stored", passes=10
        ),
        "generation dkpp": generation(
            wide_resnet(objective=PermutedPredictions(1.0, "fixed")), kind="stored"
        ),
        "generation densenet": generation(
            trained(
                born_again.recipe("densenet-90-60", style="densenet"), objective=Ban()
            )
        ),
        "generation residual": generation(born_again.recipe("ban-wide-resnet-4-0.5")),
        "born-again": born_again_run(workdir, born, None, Signal()),
        "born-again of a teacher": born_again_run(
            workdir, born, TEACHER, Signal("stored", 4)
        ),
        "student search": search(
            "student", spaces.student(budget=Budget(300_000), convs=2), seed=4
        ),
        "baseline search": search(
            "baseline",
            spaces.baseline(budget=Budget(300_000), convs=2),
            lambda recipe: trained(recipe, **cosine),
            prune=True,
        ),
        "teacher search": search("teacher", spaces.teacher(), objective_views=1000),
        "adapted teacher": RunDirectory.open(
            workdir,
            "adapted-teacher",
            {
                "teacher": {"name": "keras:MobileNet", "weights": "34" * 32},
                "output": "logits",
                "image_shape": [32, 32, 3],
                "num_classes": 10,
            },
        ),
        "language model": language(lstm),
        "language model characters": language(trained(cnn_lstm, seed=1)),
        "language model ban+l": language(
            language_generations._recipe(1, taught), [TEACHER]
        ),
        "language model ban": language(
            language_generations._recipe(2, on_teacher), [TEACHER], "56" * 32
        ),
        "text signal": text_signal_run(workdir),
        "language ensemble": RunDirectory.open(
            workdir,
            "language-ensemble",
            {"members": [TEACHER, "ef" * 32], "dataset": TEXT_IDENTITY},
        ),
    }


def ensemble(workdir, **select):
    request = {
        "members": [TEACHER, "ef" * 32],
        "averaging": "mean-logits",
        "dataset": IMAGES.identity(),
        **select,
    }
    return RunDirectory.open(workdir, "ensemble", request)


def born_again_run(workdir, recipe, teacher, signal):
    request = {
        "arch": "wide-resnet-28-2",
        "depth_factor": 1,
        "compression_factor": 1,
        "recipe": recipe,
        "generations": 2,
        "teacher": teacher,
        "dataset": IMAGES.identity(),
        **signal.request(recipe),
    }
    return RunDirectory.open(workdir, "born-again", request)


def text_signal_run(workdir):
    request = text_signal.Request(TEXT_IDENTITY, (TEACHER,), 32, 35, 830, 64)
    return RunDirectory.open(workdir, "text-signal", request)


def golden() -> dict[str, dict[str, str]]:
    return json.loads(GOLDEN.read_text())


def test_names(tmp_path):
    names = {name: run.path.name for name, run in requests(tmp_path).items()}
    assert names == {name: each["name"] for name, each in golden().items()}
    # What is made of plain values alone has no fields at their default to leave out.
    same = [name for name, each in golden().items() if each["name"] == each["older"]]
    assert same == [
        "ensemble",
        "ensemble top",
        "adapted teacher",
        "text signal",
        "language ensemble",
    ]


@pytest.mark.parametrize("name", [*json.loads(GOLDEN.read_text())])
def test_folders_of_the_older_rule_are_found(name, tmp_path):
    older = tmp_path / golden()[name]["older"]
    older.mkdir()
    run = requests(tmp_path)[name]
    assert run.path == older
    # What the older version wrote of it.
    (older / "recipe.json").write_text(json.dumps(json_requests.older(run.given)))
    with run:
        assert run.results() is None
        run.finish({"accuracy": 0.5})
    assert requests(tmp_path)[name].results() == {"accuracy": 0.5}
    # Today's own folder goes before.
    (tmp_path / golden()[name]["name"]).mkdir(exist_ok=True)
    assert requests(tmp_path)[name].path.name == golden()[name]["name"]
