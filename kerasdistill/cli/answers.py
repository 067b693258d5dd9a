"""What a verb prints for people; programs use --json."""

from collections.abc import Sequence
from typing import Any

from kerasdistill import terminal
from kerasdistill.cli import summing_up
from kerasdistill.recipes import older
from kerasdistill.reports import born_again, own_words, tables

_FIRST = ("test_accuracy", "val_accuracy", "teacher_agreement", "num_params")
_PLACES = ("model", "saved_model", "distillation_set", "results", "best_recipe")
_PLACES += ("trials_table", "picture", "search")
_OF_TRAINED = (*_PLACES, "width_rule")
# Digests and clocks.
_FOR_PROGRAMS = ("weights_digest", "content_digest", "seconds", "planned_seconds")
_FOR_PROGRAMS += ("process_seconds", "images_per_second", "views_per_second")


def readable(answer: dict[str, Any], *, same_data: Sequence[str] = ()) -> str:
    """The answer for people: plain fields, one a line, and what to do next.

    `same_data` are the options that choose the same data set and split.
    """
    if "text" in answer:
        return answer["text"]
    answer, lines = terminal.fit(answer), []
    if "searches" in answer:
        lines += [tables.searches(answer["searches"]), ""]
    if "born_again" in answer:
        lines += [born_again.text(answer["born_again"]), ""]
    if "generations" in answer:
        lines += [*_generations(answer), *summing_up.of_generations(answer), ""]
        answer = summing_up.with_best(answer)
    if (rule := older.width_rule_of(answer.get("recipe"))) is not None:
        answer["width_rule"] = rule  # which older results don't say
    if "layers" in answer and rule is not None:  # whose count comes last
        lines.append(_field("width_rule", answer.pop("width_rule")))
    for row in answer.get("layers", ()):
        shape = "x".join(map(str, row["output_shape"] or ["-"]))
        lines.append(
            f"{row['name']:<16}{row['kind']:<20}{shape:<12}{row['num_params']:>12,}"
        )
    if "exports" in answer:
        lines += [*_exports(answer), ""]
    for row in answer.get("space", ()):
        ends = f"{row['low']:g} to {row['high']:g}, {row['scale']}"
        fixed = "" if row["fixed"] is None else f"fixed at {row['fixed']:g}"
        lines.append(f"{row['name']:<20}{row['kind']:<8}{ends:<28}{fixed}".rstrip())
    trained = {"model", "saved_model", "num_params"} <= answer.keys()
    if trained and "generations" not in answer:
        lines += [*summing_up.summary(answer), ""]
    if isinstance(made := answer.get("distillation_set"), dict):
        answer["distillation_set"] = made.get("path")
    first = {key: answer[key] for key in _FIRST if key in answer}
    for key, value in {**first, **answer}.items():
        plain = not isinstance(value, dict | list) and value is not None
        # How good it is has been said.
        if plain and key not in _FOR_PROGRAMS and (not trained or key in _OF_TRAINED):
            lines.append(_field(key, value))
    lines += [f"note: {note}" for note in answer.get("notes", ())]
    if trained:
        lines += summing_up.next_steps(answer, same_data=same_data)
    return "\n".join(lines)


def _field(key: str, value: Any) -> str:
    value = f"{value:.4f}" if isinstance(value, float) else value
    return f"{key + ': ':<20}{value}"


def _exports(answer: dict[str, Any]) -> list[str]:
    """A line for each format: what it is worth and what it costs."""
    heads = ["format", "file", "bytes", "error", "same class", "1 image", "256 images"]
    rows = []
    for name, each in answer["exports"].items():
        parity, latency = each["parity"], each["latency"]
        error = parity["largest_difference"] / max(parity["largest_logit"], 1e-12)
        seconds = [f"{1000 * latency[f'batch_{n}']:.2f} ms" for n in (1, 256)]
        same = tables.percent(parity["top1_agreement"])
        size = f"{each['bytes']:,}"
        rows.append([name, each["file"], size, f"{error:.1e}", same, *seconds])
    lines = tables.table(heads, rows)
    return [*lines, *(f"refused: {why}" for why in answer["refused"].values())]


def _generations(answer: dict[str, Any]) -> list[str]:
    """A line for each generation and each ensemble of them."""
    heads = ["model", "weights", "validation", "test", "file"]
    rows = []
    for row in (*answer["generations"], *answer["ensembles"]):
        name = row.get("name") or _numbered(row)
        count, model = row.get("num_params"), row.get("model", "-")
        # Of several teachers, their files.
        model = model if isinstance(model, str) else f"{len(model)} models"
        scores = [own_words.score(row, split) for split in ("val", "test")]
        rows.append([name, "-" if count is None else f"{count:,}", *scores, model])
    return tables.table(heads, rows)


def _numbered(row: dict[str, Any]) -> str:
    """What a generation is called, or an ensemble of some on text."""
    if "generation" in row:
        return f"generation {row['generation']}"
    return f"mean of generations {', '.join(map(str, row['members']))}"
