"""What `inspect` found, for the terminal."""

from collections.abc import Sequence
from typing import Any

from kerasdistill.reports.tables import percent, table

_BAR = 40


def of_set(found: dict[str, Any]) -> str:
    """A distillation set's findings."""
    lines = [
        f"{found['path']}: {found['views']:,} views in {found['passes']} passes of "
        f"{found['dataset']}, store {found['store']}, {found['teachers']} teacher"
        f"{'s' * (found['teachers'] != 1)}",
        f"looked at {found['sampled']:,} views from the first pass on",
    ]
    if found["label_agreement"] is not None:
        agreed = percent(found["label_agreement"])
        lines.append(f"the teacher names the label of {agreed} of them")
    lines += ["", *_histogram(found["confidence"])]
    if found["agreement_by_shard"]:
        lines += ["", "teacher names the label, fraction in each shard of the set"]
        lines += _bars(found["agreement_by_shard"])
    if found["members_agreeing"]:
        lines += ["", "members that name what the mean of all names"]
        counts = found["members_agreeing"]
        longest = max(counts) or 1
        lines += [
            f"{number:>5}  {count:>8,}  {'#' * round(_BAR * count / longest)}"
            for number, count in enumerate(counts)
        ]
    lines += ["", *_pairs(found["confused"], labelled=found["labelled"])]
    return "\n".join([*lines, *_files(found)])


def of_model(found: dict[str, Any]) -> str:
    """A model's findings."""
    rows = [
        [each["class"], str(each["count"]), percent(each["accuracy"])]
        for each in found["per_class"]
    ]
    lines = [
        f"{found['path']}: {percent(found['accuracy'])} of {found['num_examples']:,} "
        f"{found['split']} images of {found['dataset']}, expected calibration error "
        f"{found['calibration']['ece']:.4f}",
        "",
        *table(["class", "images", "accuracy"], rows),
        "",
        *_histogram(found["confidence"]),
        "",
        *_pairs(found["confused"], labelled=True),
        "",
    ]
    if (parted := found["disagreement"]) is None:
        lines.append("no teacher's logits of these images; give one with --teacher")
    else:
        lines.append(
            f"agrees with the teacher on {percent(parted['agreement'])}; where not "
            f"({parted['count']:,}): student alone right "
            f"{parted['student_alone_right']:,}, teacher alone right "
            f"{parted['teacher_alone_right']:,}; both wrong {parted['both_wrong']:,}"
        )
    return "\n".join([*lines, *_files(found)])


def _histogram(confidence: dict[str, Any]) -> list[str]:
    lines = [f"largest probability, mean {confidence['mean']:.3f}"]
    return lines + _bars(confidence["histogram"])


def _bars(rows: Sequence[dict[str, Any]]) -> list[str]:
    longest = max(row["count"] for row in rows) or 1
    lines = []
    for row in rows:
        right = row.get("right")
        of_it = (
            f"  {percent(right / row['count'])} right"
            if right is not None and (row["count"])
            else ""
        )
        bar = "#" * round(_BAR * row["count"] / longest)
        lines.append(
            f"{row['low']:.3f}-{row['high']:.3f}  {row['count']:>8,}  {bar}{of_it}"
        )
    return lines


def _pairs(pairs: Sequence[dict[str, Any]], *, labelled: bool) -> list[str]:
    if not pairs:
        return ["no pair of classes is confused"]
    heads = ["label", "taken for"] if labelled else ["first choice", "close second"]
    rows = [
        [
            each["label"],
            each["taken_for"],
            str(each["count"]),
            percent(each["fraction"]),
        ]
        for each in pairs
    ]
    return table([*heads, "views", "of the class"], rows)


def _files(found: dict[str, Any]) -> list[str]:
    lines = ["", *found["pictures"]]
    if found["board"]:
        lines.append(f"tensorboard --logdir {found['board']}")
    return lines
