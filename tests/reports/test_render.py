"""The forms a report is given in: nothing is cut, nothing is taken for markup."""

import base64
import csv
import html
import io
import re
import shutil
import subprocess
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
    text = made.language_model(units=200, test=93.43)
    return overview(collect([made.write(tmp_path, evil, *seeds, text)]))


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


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "page"])
def test_a_language_model_without_a_cell_is_told_with_its_perplexity(found, form):
    text = {**render.FORMATS, "page": page.page}[form](found)
    assert "perplexity 93.43" in text


@pytest.mark.parametrize("form", [*render.FORMATS, "page"])
def test_what_the_paper_quotes_has_a_note_in_every_form(found, form):
    text = {**render.FORMATS, "page": page.page}[form](found)
    text = re.sub(r"\\(.)", r"\1", html.unescape(text))  # as it is read
    assert "quoted by the paper from Ba & Caruana (2014)" in text
    assert "quoted by the paper from He et al. (2016)" in text
    if form != "csv":
        assert re.search(r"quoted by\s+the\s+paper\s+\[[a-z]\]", text)


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
    papers = [row for row in rows if row["table"] != "runs"]
    assert len(papers) == cells + 2 + 4 + 5  # single runs, gaps, orderings
    own = [row for row in rows if row["table"] == "runs"]
    assert {row["column"] for row in own} == {
        *("val_accuracy", "test_accuracy", "num_params"),
        *("val_perplexity", "test_perplexity"),
    }
    tables = [row for row in rows if "-table-" in row["table"]]
    (ours,) = (row for row in tables if row["status"] == "measured")
    assert (ours["table"], ours["column"]) == ("urban-table-2", "1M")
    assert (ours["published"], ours["mean"], ours["n"]) == ("90.7", "79.0000", "2")
    assert (ours["epochs"], ours["passes"]) == ("16", "16")
    missing = [row for row in tables if row["status"] == "missing"]
    assert len(missing) == 139 and all(row["published"] for row in missing)
    quoted = [row for row in tables if row["status"] == "quoted"]
    assert [row["published"] for row in quoted] == ["88.0", "89.0", "22.71"]


def test_csv_has_the_figure(tmp_path):
    ten = {"num_params": 10_000_000, "loss": None}
    twin = {**made.family("convs-2", **ten, val=0.80), "kind": "baseline"}
    twin["recipe"]["training"]["loss"] = "hard-label"
    runs = [made.family("convs-2", **ten, **made.search(0.85)), twin, made.snn()]
    found = overview(collect([made.write(tmp_path, *runs)]))
    rows = list(csv.DictReader(io.StringIO(render.comma_separated(found))))
    points = [row for row in rows if row["table"] == "urban-figure-1"]
    told = [(row["row"].split(",")[0], row["column"], row["mean"]) for row in points]
    assert sorted(told) == [
        ("baseline", "10000000", "80.0000"),
        ("student", "10000000", "85.0000"),
        ("student", "70900938", "80.0000"),
    ]
    (best,) = (row for row in points if row["mean"] == "85.0000")
    assert (best["n"], best["epochs"], best["passes"]) == ("", "16", "16")
    assert best["how"].startswith("mean of five 85.00, best 86.00, fifth 84.00")
    gaps = {row["row"]: row for row in rows if row["table"] == "urban-gaps"}
    assert len(gaps) == 4 and {row["unit"] for row in gaps.values()} == {"points"}
    ours = gaps["2 conv, 2 pool"]
    assert (ours["published"], ours["mean"]) == ("1.10", "5.0000")
    other = gaps["3 conv, 3 pool"]
    assert (other["mean"], other["status"]) == ("", "missing")


def test_markdown_escapes_and_keeps_its_columns(found):
    text = render.markdown(found)
    assert "90.7 / 79.00 ± 1.41 (n=2, 16 epochs, 16 passes \\[b\\])" in text
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
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 9
    assert text.count("{") == text.count("}")


def test_latex_tables_fit_the_page(found):
    text = render.latex(found)
    assert "graphicx" in text.splitlines()[0] and text.startswith("%")
    fitted = r"\\resizebox\{.*\\textwidth.*\}\{!\}\{%\n\\begin\{tabular\}"
    assert len(re.findall(fitted, text)) == 9  # the papers' eight, and own runs
    assert text.count("\\end{tabular}}\n") == 9


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_compiles(found, tmp_path):
    packages = "\\usepackage{booktabs}\\usepackage{graphicx}"
    body = f"\\begin{{document}}\n{render.latex(found)}\n\\end{{document}}\n"
    (tmp_path / "a.tex").write_text(f"\\documentclass{{article}}{packages}{body}")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_page_stands_alone_and_escapes(found):
    text = page.page(found)
    shown = Page(text)
    assert shown.open == [] and "script" not in shown.tags
    assert EVIL in "".join(shown.text)
    assert shown.tags.count("table") == 9
    assert len(shown.links) == 2  # own runs, and the paper's figure
    for link in shown.links:
        assert link.startswith("data:image/svg+xml")
        drawn = base64.b64decode(link.partition(",")[2])
        assert b"<svg" in drawn and b"<script" not in drawn
    assert "http" not in re.sub("Content-Security-Policy|http-equiv", "", text)
    assert 'name="viewport"' in text
    assert "missing" in text and "79.00 ± 1.41" in text
