"""Hand-made results.json files: what a run of a kind writes, with made-up scores."""

import json
from pathlib import Path
from typing import Any

PASSES = {"passes": 16, "averaging": "mean-logits", "teachers": ["t1", "t2"]}


def training(**changes: Any) -> dict[str, Any]:
    settings = {"loss": "logit-regression", "schedule": "cosine", "seed": 0}
    return {**settings, "precision": "float32", "epochs": 16, **changes}


def results(
    kind: str = "student",
    *,
    filters: tuple[int, ...] = (65, 65, 65),
    hidden: tuple[int, ...] = (746,),
    bottleneck: int | None = None,
    num_params: int = 1_000_376,
    val: float = 0.80,
    test: float = 0.79,
    dataset: str = "cifar10",
    samples: int = 40_000,
    epochs: int = 16,
    loss: str | None = None,
    seed: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """A student's or baseline's."""
    if loss is None:
        loss = "hard-label" if kind == "baseline" else "logit-regression"
    architecture = {"filters": filters, "hidden": hidden, "bottleneck": bottleneck}
    made = {
        "kind": kind,
        "recipe": {
            "kind": "StudentRecipe",
            "architecture": {**architecture, "kernel": 5},
            "training": training(loss=loss, seed=seed, epochs=epochs),
        },
        "dataset": {"name": dataset, "num_samples": samples, "split_seed": 0},
        "num_params": num_params,
        "val_accuracy": val,
        "test_accuracy": test,
        "epochs": epochs,
    }
    if kind == "student":
        made["distillation_set"] = PASSES
    return {**made, **more}


def family(key: str, **more: Any) -> dict[str, Any]:
    """A student of a family of Table 2, named as the table's rows are."""
    what, count = key.split("-")
    shape = {
        "filters": (8,) * int(count) if what == "convs" else (),
        "hidden": (9,) * (int(count) if what == "hidden" else 1),
        "bottleneck": 7 if count == "1" else None,
    }
    return results(**{**shape, **more})


def snn(**more: Any) -> dict[str, Any]:
    """A student of Table 2's last row, which is of no family."""
    shape = {"filters": (128,), "hidden": (30_000,), "bottleneck": 1200}
    student = results(**{**shape, "num_params": 70_900_938, **more})
    student["recipe"]["architecture"]["pool_stride"] = 2
    return student


def search(mean: float, **more: Any) -> dict[str, Any]:
    """Fields that a search has beside."""
    five = {"mean_of_five_best": mean, "best": mean + 0.01, "fifth_best": mean - 0.01}
    return {**five, "max_trials": 20, "val_accuracy": mean + 0.01, **more}


def teacher(**more: Any) -> dict[str, Any]:
    """The published best teacher's."""
    made = results("teacher", num_params=5_339_350, loss="hard-label")
    made["recipe"]["kind"] = "TeacherRecipe"
    made["recipe"]["architecture"] = {"filters": [76, 126, 148], "dense": 1200}
    return {**made, **more}


def ensemble(count: int = 16, **more: Any) -> dict[str, Any]:
    made = {
        "kind": "ensemble",
        "members": [f"{n}.keras" for n in range(count)],
        "member_recipes": [teacher()["recipe"]] * count,
        "dataset": {"name": "cifar10", "num_samples": 40_000, "split_seed": 0},
        "num_params": 83_400_000,
        "val_accuracy": 0.90,
        "test_accuracy": 0.89,
    }
    return {**made, **more}


def born_again(
    arch: str,
    *,
    students: int = 1,
    loss: str = "ban",
    seed: int = 0,
    dataset: str = "cifar100",
    samples: int = 40_000,
    teacher_arch: str | None = None,
    ensembles: tuple[str, ...] = (),
    **factors: float,
) -> dict[str, Any]:
    """A chain's; generation g has test accuracy 0.70 + g/100, ensemble i 0.80 + i."""
    rows = [
        {
            "generation": number,
            "loss": (loss if number else None if teacher_arch else "hard-label"),
            "seed": seed + number,
            "num_params": 1,
            "val_accuracy": 0.7,
            "test_accuracy": 0.70 + number / 100,
            "epochs": 200,
        }
        for number in range(students + 1)
    ]
    joined = [
        {"name": name, "members": [1, 2], "val_accuracy": 0.8, "test_accuracy": test}
        for name, test in zip(ensembles, (0.80, 0.81), strict=False)
    ]
    settings = {"loss": loss, "seed": seed, "label_weight": 0.5, "schedule": "steps"}
    return {
        "kind": "born-again",
        "arch": arch,
        "depth_factor": 1,
        "compression_factor": 1,
        **factors,
        "teacher_arch": teacher_arch,
        "loss": loss,
        "teacher_signal": "live",
        "seed": seed,
        "recipe": {"kind": "BornAgainRecipe", "training": settings},
        "dataset": {"name": dataset, "num_samples": samples, "split_seed": 0},
        "generations": rows,
        "ensembles": joined,
    }


def language_model(
    teachers: tuple[str, ...] | list[str] = (),
    *,
    loss: str = "hard-label",
    units: int = 1500,
    words: int = 10_000,
    val: float = 90.0,
    test: float = 85.0,
) -> dict[str, Any]:
    tokens = {"train": 929_589, "validation": 73_760, "test": 82_430}
    return {
        "kind": "language-model",
        "recipe": {
            "kind": "LanguageModelRecipe",
            "architecture": {"units": units, "layers": 2, "dropout_rate": 0.65},
            "training": {"loss": loss, "seed": 0, "epochs": 40, "schedule": "paper"},
        },
        "dataset": {"name": "ptb", "num_words": words, "num_tokens": tokens},
        "val_perplexity": val,
        "test_perplexity": test,
        "num_params": 51_020_000,
        "epochs": 40,
        "teachers": list(teachers),
    }


def write(folder: Path, *made: dict[str, Any]) -> Path:
    """Each into a run's folder of its own below `folder`."""
    for number, each in enumerate(made):
        run = folder / f"run-{number}"
        run.mkdir(parents=True, exist_ok=True)
        (run / "results.json").write_text(json.dumps(each))
    return folder
