"""What people call a run: the name that TensorBoard shows it by, or one like it."""

from collections.abc import Mapping, Sequence
from typing import Any

from kerasdistill.recipes import naming


def readable(kind: str, run: Mapping[str, Any]) -> str:
    """A run's name from the fields of its results, or of its request; other runs may
    have the same."""
    if isinstance(name := run.get("readable_name"), str):
        return name
    members, views = run.get("members"), run.get("views")
    if kind == "precompute":
        count = f"-{naming.rounded(views)}-views" if isinstance(views, int) else ""
        return f"set{count}"
    if kind.endswith("ensemble") and isinstance(members, list):
        return f"{kind}-of-{len(members)}"
    if kind == "born-again":
        parts = (kind, run.get("arch"), run.get("loss"), f"s{run.get('seed', 0)}")
        return naming.fit_for_a_folder("-".join(map(str, parts)))
    if "max_trials" in run:
        kind = f"{kind}-search"
    count, seed = run.get("num_params"), None
    if kind == "generation":  # all but the 0th have seeds that nobody chose
        seed = "" if run.get("teacher") else None
    count = count if isinstance(count, int) and count > 0 else None
    return naming.name_of(kind, run.get("recipe"), num_params=count, seed=seed)


def distinct(names: Sequence[str], *, fixed: Sequence[bool]) -> list[str]:
    """The same names, but with -2, -3 and so on where another has it already; those
    that are fixed stay."""
    taken = {name for name, stays in zip(names, fixed, strict=True) if stays}
    made = []
    for name, stays in zip(names, fixed, strict=True):
        other, number = name, 1
        while not stays and other in taken:
            number += 1
            other = f"{name}-{number}"
        taken.add(other)
        made.append(other)
    return made
