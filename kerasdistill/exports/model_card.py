"""A model card in Markdown, for people and for the Hugging Face Hub, of a card.json."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from kerasdistill.errors import escaped
from kerasdistill.recipes.describing import describe_json

NAME = "MODEL_CARD.md"
LANGUAGE_MODEL = "language-model"  # a card's kind
#: Of a run's results, what a card repeats.
RESULTS = (
    *("val_accuracy", "test_accuracy", "teacher_agreement", "num_examples"),
    *("teacher_val_accuracy", "teacher_test_accuracy", "teacher_num_params"),
    *("val_perplexity", "test_perplexity"),
)
_NAMED = 30  # classes, before it is their number that counts
# All of ASCII that could begin or end something in Markdown, HTML, tables or links.
_MARKS = re.compile(r"([\\`*_{}\[\]<>()#+.!|~&:@$^=\"])")

_SHOWN = (
    ("test_accuracy", "accuracy on the test images", "percent"),
    ("val_accuracy", "accuracy on the validation images", "percent"),
    ("test_perplexity", "perplexity on the test text", "number"),
    ("val_perplexity", "perplexity on the validation text", "number"),
    ("teacher_test_accuracy", "its teacher's accuracy on the test images", "percent"),
    ("teacher_val_accuracy", "its teacher's on the validation images", "percent"),
    ("teacher_agreement", "agreement with the teacher (validation)", "percent"),
    ("num_params", "trainable weights", "count"),
    ("teacher_num_params", "its teacher's", "count"),
)
_WORDS = {
    "percent": lambda value: f"{100 * value:.2f} %",
    "number": lambda value: f"{value:.2f}",
    "count": lambda value: f"{value:,}",
}


def with_results(card: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """The card with what a run's results say of its model."""
    known = {name: results[name] for name in RESULTS if results.get(name) is not None}
    return {**card, **known}


def text(card: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        card: what `card.json` holds, with "exports" as `formats.write_formats` gives
            them; without, it is of a SavedModel alone. Fields that are missing are
            left out.
    """
    parts = [_front_matter(card), f"# {_title(card)}", _purpose(card), _facts(card)]
    exports = card.get("exports") or {"saved-model": {"file": ".", **card}}
    parts += ["## How to load it", *(_loading(card, name) for name in exports)]
    parts += ["## Formats", _formats(exports)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(words: Any) -> str:
    """Text from anywhere, as Markdown that shows it on one line as it is."""
    line = " ".join(escaped(str(words)).split())
    return _MARKS.sub(r"\\\1", line)


def _is_text(card: Mapping[str, Any]) -> bool:
    return card.get("kind") == LANGUAGE_MODEL


def _front_matter(card: Mapping[str, Any]) -> str:
    task, metric = "image-classification", "accuracy"
    if _is_text(card):
        task, metric = "text-generation", "perplexity"
    tags = [task, "knowledge-distillation", "kerasdistill"]
    lines = ["library_name: keras", f"pipeline_tag: {task}", "tags:"]
    lines += [*(f"- {tag}" for tag in tags), "metrics:", f"- {metric}"]
    return "\n".join(["---", *lines, "---"])


def _title(card: Mapping[str, Any]) -> str:
    kind = plain(card.get("kind", "model")).capitalize()
    network = describe_json(card.get("recipe"))
    return f"{kind} {plain(network)}" if network else kind


def _purpose(card: Mapping[str, Any]) -> str:
    if _is_text(card):
        return (
            f"It takes text and gives the log-probability of each of "
            f"{len(card.get('words', ())):,} words to be the next."
        )
    shape = " × ".join(map(str, card.get("image_shape", ())))
    size = f" ({plain(shape)})" if shape else ""
    names = card.get("class_names", ())
    classes = f", one for each of {len(names):,} classes" if names else ""
    return f"It takes images as pixels 0–255{size} and gives logits{classes}."


def _facts(card: Mapping[str, Any]) -> str:
    rows = []
    for name, about, kind in _SHOWN:
        value = card.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            rows.append([about, _WORDS[kind](value)])
    data = card.get("dataset") or {}
    if data.get("name"):
        kind, colon, place = str(data["name"]).partition(":")
        # Where a folder lies on somebody's disk tells nobody else anything.
        name = f"{kind}{colon}{PurePath(place).name}"
        rows.append(["data", plain(name)])
    counts = card.get("num_examples") or {}
    split = [f"{count:,} {plain(name)}" for name, count in counts.items()]
    if data.get("split_seed") is not None:
        split.append(f"split seed {plain(data['split_seed'])}")
    rows.append(["split", ", ".join(split)])
    names = [*map(plain, card.get("class_names", ()))]
    if more := len(names) - _NAMED:
        names[_NAMED:] = [f"and {more:,} more (see `card.json`)"] if more > 0 else []
    rows.append(["classes, in the logits' order", ", ".join(names)])
    return _table(["", ""], [row for row in rows if row[1]])


def _formats(exports: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ["format", "file", "bytes", "computes in", "largest difference"]
    heads += ["same class", "1 image", "256 images"]
    rows = []
    for name, each in exports.items():
        parity, latency = each.get("parity") or {}, each.get("latency") or {}
        cells = [name, f"`{each['file']}`", _shown(each.get("bytes"), ",")]
        cells.append(plain(each.get("compute", "-")))
        cells.append(_shown(parity.get("largest_difference"), ".1e"))
        cells.append(_shown(parity.get("top1_agreement"), ".1%"))
        for batch in ("batch_1", "batch_256"):
            seconds = latency.get(batch)
            cells.append(_shown(seconds and 1000 * seconds, ".2f", " ms"))
        rows.append(cells)
    note = "The difference is that of the logits from the Keras model's on the same "
    note += "images. Times are medians on the machine that wrote this."
    return f"{_table(heads, rows)}\n\n{note}"


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [list(heads), ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _loading(card: Mapping[str, Any], name: str) -> str:
    lines = _TEXT_LINES if _is_text(card) else _LINES.get(name)
    return f"```python\n{lines}\n```" if lines else ""


# What loads each format, in the export's folder; `images` are uint8 [N, H, W, C].
_LINES = {
    "saved-model": """\
import tensorflow as tf

loaded = tf.saved_model.load(".")
logits = loaded.signatures["serving_default"](image=tf.constant(images))["logits"]""",
    "keras": """\
import keras

model = keras.saving.load_model("model.keras", compile=False)
logits = model.predict(images)""",
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(None, {"image": images})""",
}
for _name, _file in (("litert", "model.tflite"), ("litert-int8", "model-int8.tflite")):
    _LINES[_name] = f"""\
from ai_edge_litert.interpreter import Interpreter

runner = Interpreter("{_file}").get_signature_runner()
logits = runner(image=images[:1])["logits"]"""
_TEXT_LINES = """\
import tensorflow as tf

loaded = tf.saved_model.load(".")
texts = tf.constant(["the company said"])
after = loaded.signatures["serving_default"](text=texts)["log_probabilities"]"""
