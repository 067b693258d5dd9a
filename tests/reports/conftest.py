"""A hand-made search, small enough to work out on paper."""

import json

import pytest

RATES = (0.002, 0.015, 0.1, 0.0001, 0.05, 0.02, 0.005)
SCORES = (0.80, 0.90, 0.70, 0.60, None, 0.85, 0.88)


def content(**changes) -> dict:
    space = [
        {
            "name": "rate",
            "kind": "float",
            "low": 1e-4,
            "high": 0.1,
            "scale": "log",
            "fixed": None,
        },
        {
            "name": "width",
            "kind": "int",
            "low": 0,
            "high": 9,
            "scale": "linear",
            "fixed": None,
        },
        {"name": "kind", "kind": "choice", "low": None, "high": None, "fixed": None},
        {"name": "momentum", "kind": "float", "low": 0, "high": 1, "fixed": 0.9},
    ]
    trials = [
        {
            "trial_id": f"{number:02d}",
            "number": number,
            "status": "COMPLETED" if score is not None else "FAILED",
            "values": {
                "rate": rate,
                "width": number,
                "kind": "ab"[number % 2],
                "momentum": 0.9,
            },
            "val_accuracy": score,
            "best_epoch": 3,
            "epochs": 5,
            "num_params": 1000,
            "seconds": 60.0,
        }
        for number, (rate, score) in enumerate(zip(RATES, SCORES, strict=True))
    ]
    still = {**trials[0], "trial_id": "07", "number": 7, "status": "RUNNING"}
    still.update(val_accuracy=None, best_epoch=None, epochs=None, seconds=None)
    return {
        "objective": "val_accuracy",
        "max_trials": 8,
        "oracle": "gp",
        "seed": 0,
        "space": space,
        "length_scales": {"rate": 0.2, "width": 4.0, "kind": 1.0},
        "trials": [still, *reversed(trials)],
        **changes,
    }


@pytest.fixture
def write(tmp_path):
    """Writes a trials.json into a folder of that name; the folder's path."""

    def written(name="search", **changes):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "trials.json").write_text(json.dumps(content(**changes)))
        return folder

    return written
