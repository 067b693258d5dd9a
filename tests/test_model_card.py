"""The Markdown beside an export: what it says, whatever names it has to show."""

import html
import importlib.util
import re

import keras
import numpy as np
import pytest
from markdown_it import MarkdownIt

from kerasdistill.exports import cards, formats, model_card
from kerasdistill.models import trust
from kerasdistill.recipes import base, urban2017

SIDE = 8
STRANGE = (
    *("a|b", "`code`", "**bold**", "<script>alert(1)</script>", "[link](http://x.y)"),
    *("![i](x)", "1. one", "# head", "a\nb", "C:\\x", "&amp;", "~~s~~", "$x$", "_u_"),
    *("www.example.org", "http://example.org", "\u202egnp", "überall", "日本語", "🐈"),
    *("--- ---", "a  b", "\x1b[31mred", "\ud800", "", "==h==", "^1^", "a*b*c", "<!--"),
)
PARITY = {"largest_difference": 1e-6, "largest_logit": 9.0, "top1_agreement": 0.996}
EXPORTS = {
    "saved-model": {
        "file": ".",
        "bytes": 123_456,
        "compute": "float32",
        "parity": PARITY,
        "latency": {"batch_1": 0.001, "batch_256": 0.1},
    },
    "onnx": {"file": "model.onnx", "bytes": 7, "compute": "float32", "parity": PARITY},
}


def rendered(text: str) -> str:
    return MarkdownIt("gfm-like", {"linkify": False}).render(text)


def card(**changes) -> dict:
    recipe = base.to_json(urban2017.teacher(1))
    made = {
        "kind": "student",
        "class_names": ["cat", "dog"],
        "image_shape": [32, 32, 3],
        "dataset": {"name": "folder:/home/me/photos", "split_seed": 3},
        "recipe": recipe,
        "num_params": 250_982,
        "test_accuracy": 0.7,
        "teacher_test_accuracy": 0.694,
        "num_examples": {"train": 900, "test": 100},
        "exports": EXPORTS,
    }
    return made | changes


def test_it_says_what_the_model_is_worth():
    text = model_card.text(card())
    front, _, page = text.removeprefix("---\n").partition("\n---\n")
    assert "library_name: keras" in front and "- accuracy" in front
    for said in (
        *("70.00 %", "69.40 %", "250,982", "folder\\:photos", "split seed 3"),
        *("900 train", "cat, dog", "123,456", "99.6%", "1.00 ms", "32 × 32 × 3"),
    ):
        assert said in page
    assert "/home/me" not in text
    page = rendered(page)
    assert page.count("<table>") == 2 and page.count("<pre>") == len(EXPORTS)


@pytest.mark.parametrize("name", STRANGE, ids=ascii)
def test_strange_names_are_shown_as_they_are(name):
    text = model_card.text(card(class_names=["cat", name, "dog"]))
    usual = rendered(model_card.text(card(class_names=["cat", "x", "dog"])))
    page = rendered(text)
    assert re.findall(r"<\w+", page) == re.findall(r"<\w+", usual)
    shown = html.unescape(re.search(r"<td>cat, (.*), dog</td>", page)[1])
    assert shown == " ".join(model_card.escaped(name).split())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_names": [str(number) for number in range(1000)]},
        {"recipe": {"kind": "another's"}},
        {"kind": "language-model", "words": ["a", "b"], "test_perplexity": 120.5},
        {"dataset": {}, "num_examples": {}},
    ],
    ids=("whole", "many", "recipe", "words", "none"),
)
def test_cards_of_all_kinds_have_a_page(changes):
    page = model_card.text(card(**changes))
    assert page.startswith("---\n") and len(page) < 6000
    assert rendered(page).count("<table>") == 2


def test_a_card_with_nothing_in_it_has_a_page():
    assert "# Model" in model_card.text({})


def test_it_may_be_edited(tmp_path):
    """It is no part of what is checked and trusted."""
    with trust.trusting(workdir=tmp_path):
        folder = tmp_path / "export"
        folder.mkdir()
        (folder / trust.GRAPH).write_bytes(b"graph")
        cards.write_folder_card(folder, card(), workdir=tmp_path)
        page = folder / model_card.NAME
        assert "# Student" in page.read_text()
        page.write_text("# Mine")
        cards.check_files(folder)
        trust.require_trust(folder)


@pytest.mark.slow
def test_what_it_says_loads_each_format(tmp_path, monkeypatch):
    packages = {"ai_edge_litert", "onnxruntime", "tf2onnx"}
    if missing := [p for p in packages if importlib.util.find_spec(p) is None]:
        pytest.skip(f"{missing} not installed: kerasdistill[export]")
    monkeypatch.setattr(formats, "TIMED_CALLS", (1, 2))
    image = keras.Input((SIDE, SIDE, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(4)(flat))
    images = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)
    how = {"images": images, "representative": images, "card": {"kind": "student"}}
    names = tuple(formats.FORMATS)
    formats.write_formats(model, tmp_path / "export", formats=names, **how)
    monkeypatch.chdir(tmp_path / "export")
    page = (tmp_path / "export" / model_card.NAME).read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == len(names)
    expected = model.predict(images, verbose=0)
    for name, block in zip(names, blocks, strict=True):
        assert len(block.strip().splitlines()) <= 4
        scope = {"images": images}
        exec(block, scope)
        found = np.asarray(scope["logits"])
        atol = 0.1 if "int8" in name else 1e-3
        np.testing.assert_allclose(found, expected[: len(found)], atol=atol)
