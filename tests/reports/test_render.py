"""The forms a report is given in: nothing is cut, nothing is taken for markup."""

import base64
import csv
import io
import re
from html.parser import HTMLParser

import pytest

from kerasdistill.reports import page, render
from kerasdistill.reports.collect import collect
from kerasdistill.reports.overview import overview

from . import made

EVIL = "<script>alert(1)</script>|$x_1$ & \\bf [red]"


@pytest.fixture
def found(tmp_path):
    evil = made.results(dataset=EVIL)
    seeds = [made.results(test=test, seed=n) for n, test in enumerate((0.78, 0.80))]
    return overview(collect([made.write(tmp_path, evil, *seeds)]))


class Page(HTMLParser):
    VOID = {"meta", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells = [], [], 0
        self.links, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_terminal_cuts_no_number(found, width):
    text = render.terminal(found, width=width)
    for value in ("91.75", "16.79", "68.56", "15.68", "79.00 ±", "n=2,", "EVIL"):
        assert value in text.replace(EVIL, "EVIL")
    assert "…" not in text and "\x1b" not in text
    assert "\x1b" in render.terminal(found, width=width, colour=True)


def test_csv_has_a_line_for_each_cell_and_ordering(found):
    rows = list(csv.DictReader(io.StringIO(render.comma_separated(found))))
    cells = sum(len(row["cells"]) for table in found["tables"] for row in table["rows"])
    assert len(rows) == cells + 5
    (ours,) = (row for row in rows if row["status"] == "measured")
    assert (ours["table"], ours["column"]) == ("urban-table-2", "1M")
    assert (ours["published"], ours["mean"], ours["n"]) == ("90.7", "79.0000", "2")
    assert (ours["epochs"], ours["passes"]) == ("16", "16")
    missing = [row for row in rows if row["status"] == "missing"]
    assert len(missing) == 142 and all(row["published"] for row in missing)


def test_markdown_escapes_and_keeps_its_columns(found):
    text = render.markdown(found)
    assert "90.7 / 79.00 ± 1.41 (n=2, 16 epochs, 16 passes \\[a\\])" in text
    assert "<script>" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        unescaped = [
            re.sub(r"\\\|", "", line).count("|") for line in block.splitlines()
        ]
        assert len(set(unescaped)) == 1


def test_latex_escapes(found):
    text = render.latex(found)
    assert r"90.7 / 79.00 $\pm$ 1.41" in text
    assert r"\textbackslash{}bf" in text and r"\$x\_1\$" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 8
    assert text.count("{") == text.count("}")


def test_the_page_stands_alone_and_escapes(found):
    text = page.page(found)
    shown = Page(text)
    assert shown.open == [] and "script" not in shown.tags
    assert EVIL in "".join(shown.text)
    assert shown.tags.count("table") == 8
    assert len(shown.links) == 1 and shown.links[0].startswith("data:image/svg+xml")
    drawn = base64.b64decode(shown.links[0].partition(",")[2])
    assert b"<svg" in drawn and b"<script" not in drawn
    assert "http" not in re.sub("Content-Security-Policy|http-equiv", "", text)
    assert 'name="viewport"' in text
    assert "missing" in text and "79.00 ± 1.41" in text
