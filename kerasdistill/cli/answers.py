"""What a verb prints for people; programs use --json."""

import shlex
from pathlib import Path
from typing import Any


def readable(answer: dict[str, Any]) -> str:
    """The answer for people: plain fields, one a line, and what to do next."""
    lines = []
    for row in answer.get("layers", ()):
        shape = "x".join(map(str, row["output_shape"] or ["-"]))
        lines.append(
            f"{row['name']:<16}{row['kind']:<20}{shape:<12}{row['num_params']:>12,}"
        )
    for key, value in answer.items():
        if isinstance(value, float):
            value = f"{value:.4f}"
        if not isinstance(value, dict | list) and value is not None:
            lines.append(f"{key + ':':<20}{value}")
    if "saved_model" in answer and "model" in answer:
        saved = shlex.quote(answer["saved_model"])
        dataset = shlex.quote(answer["dataset"]["name"])
        lines += [
            "next:",
            f"  python -m kerasdistill.cli evaluate {saved} --dataset {dataset}",
            f"  tensorboard --logdir {shlex.quote(str(Path(answer['model']).parent))}",
        ]
    return "\n".join(lines)
