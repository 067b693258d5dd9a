"""What `inspect` found, for the terminal."""

from collections.abc import Sequence
from typing import Any

from kerasdistill.reports.tables import percent, table

_BAR = 40


def of_set(stored: dict[str, Any]) -> str:
    """A distillation set's findings."""
    lines = [
        f"{stored['path']}: {stored['views']:,} views in {stored['passes']} passes of "
        f"{stored['dataset']}, store {stored['store']}, {stored['teachers']} teacher"
        f"{'s' * (stored['teachers'] != 1)}",
        f"looked at {stored['sampled']:,} views from the first pass on",
    ]
    if stored["label_agreement"] is not None:
        agreed = percent(stored["label_agreement"])
        lines.append(f"the teacher names the label of {agreed} of them")
    lines += ["", *_histogram(stored["confidence"])]
    if stored["agreement_by_shard"]:
        lines += ["", "teacher names the label, fraction in each shard of the set"]
        lines += _bars(stored["agreement_by_shard"])
    if stored["members_agreeing"]:
        lines += ["", "members that name what the mean of all names"]
        counts = stored["members_agreeing"]
        longest = max(counts) or 1
        lines += [
            f"{number:>5}  {count:>8,}  {'#' * round(_BAR * count / longest)}"
            for number, count in enumerate(counts)
        ]
    lines += ["", *_pairs(stored["confused"], labelled=stored["labelled"])]
    return "\n".join([*lines, *_files(stored)])


def of_model(model: dict[str, Any]) -> str:
    """A model's findings."""
    rows = [
        [each["class"], str(each["count"]), percent(each["accuracy"])]
        for each in model["per_class"]
    ]
    lines = [
        f"{model['path']}: {percent(model['accuracy'])} of {model['num_examples']:,} "
        f"{model['split']} images of {model['dataset']}, expected calibration error "
        f"{model['calibration']['ece']:.4f}",
        "",
        *table(["class", "images", "accuracy"], rows),
        "",
        *_histogram(model["confidence"]),
        "",
        *_pairs(model["confused"], labelled=True),
        "",
    ]
    if (parted := model["disagreement"]) is None:
        lines.append("no teacher's logits of these images; give one with `teacher`")
    else:
        lines.append(
            f"agrees with the teacher on {percent(parted['agreement'])}; where not "
            f"({parted['count']:,}): student alone right "
            f"{parted['student_alone_right']:,}, teacher alone right "
            f"{parted['teacher_alone_right']:,}; both wrong {parted['both_wrong']:,}"
        )
    return "\n".join([*lines, *_files(model)])


def _histogram(confidence: dict[str, Any]) -> list[str]:
    lines = [f"largest probability, mean {confidence['mean']:.3f}"]
    return lines + _bars(confidence["histogram"])


def _bars(rows: Sequence[dict[str, Any]]) -> list[str]:
    longest = max(row["count"] for row in rows) or 1
    lines = []
    for row in rows:
        bar = "#" * round(_BAR * row["count"] / longest)
        line = f"{row['low']:.3f}-{row['high']:.3f}  {row['count']:>8,}  {bar}"
        if row["count"] and row.get("right") is not None:
            line += f"  {percent(row['right'] / row['count'])} right"
        lines.append(line)
    return lines


def _pairs(pairs: Sequence[dict[str, Any]], *, labelled: bool) -> list[str]:
    if not pairs:
        return ["no pair of classes is confused"]
    heads = ["label", "taken for"] if labelled else ["first choice", "close second"]
    rows = [
        [pair["label"], pair["taken_for"], str(pair["count"])]
        + [percent(pair["fraction"])]
        for pair in pairs
    ]
    return table([*heads, "views", "of the class"], rows)


def _files(findings: dict[str, Any]) -> list[str]:
    lines = ["", *findings["pictures"]]
    if findings["board"]:
        lines.append(f"tensorboard --logdir {findings['board']}")
    return lines
