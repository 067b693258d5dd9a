"""The page as a browser lays it out, in a telephone's width and a desk's."""

import html
import json
import re
import shutil
import subprocess

import pytest

from kerasdistill.reports import page
from kerasdistill.reports.collect import collect
from kerasdistill.reports.overview import overview

from . import made

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# A window of headless Chromium is never narrower than 500 px, a frame in it is. The
# page is shown as it is written, its ban on scripts included: this one looks from
# outside.
LOOKING = """<!doctype html><body style="margin:0">
<iframe id="frame" src="page.html" style="border:0;width:{width}px;height:{height}px">
</iframe><pre id="seen"></pre><script>
onload = () => {{
  const page = document.getElementById("frame").contentDocument;
  const hints = [...page.querySelectorAll(".hint")];
  document.getElementById("seen").textContent = JSON.stringify({{
    width: page.documentElement.clientWidth,
    needs: page.documentElement.scrollWidth,
    images: [...page.images].map((image) => image.complete && image.naturalWidth),
    boxes: [...page.querySelectorAll(".wide")].map((box) => ({{
      hint: box.previousElementSibling.className === "hint",
      scrolls: box.scrollWidth > box.clientWidth,
    }})),
    hints: hints.map((hint) => getComputedStyle(hint).display),
  }});
}};
</script>"""


@pytest.fixture
def shown(tmp_path):
    """Lays a page out in a width; what was seen of it, and a picture."""
    text = page.page(overview(collect([made.write(tmp_path / "runs", *_runs())])))
    (tmp_path / "page.html").write_text(text)

    def show(width, height):
        looking = LOOKING.format(width=width, height=height)
        (tmp_path / "looking.html").write_text(looking)
        picture = tmp_path / f"page-{width}.png"
        words = [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--allow-file-access-from-files", "--hide-scrollbars"),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={max(width, 500)},{height}",
            *("--virtual-time-budget=10000", f"--screenshot={picture}", "--dump-dom"),
            (tmp_path / "looking.html").as_uri(),
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=180)
        seen = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)
        assert seen, done.stderr
        return json.loads(html.unescape(seen[1])), picture

    return show


def _runs():
    dense, far = "densenet-90-60", "/".join(["a-long-name-without-a-place"] * 6)
    chain = made.born_again(dense, students=3, ensembles=("Ens*2", "Ens*3"))
    large = made.family("convs-4", num_params=100_000_000)
    return [
        *(made.family("convs-3"), made.family("hidden-2"), large, made.snn()),
        *(chain, made.teacher(), made.language_model(units=200)),
        made.results(dataset=far),
    ]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page")
@pytest.mark.parametrize(("width", "height"), [(390, 9000), (1280, 7000)])
def test_the_page_fits_the_window_and_shows_its_figure(shown, width, height):
    seen, picture = shown(width, height)
    assert seen["width"] == width and seen["needs"] <= width
    assert seen["images"] and all(seen["images"])
    narrow = width < 640
    assert set(seen["hints"]) == {"block" if narrow else "none"}
    if narrow:  # what is said to scroll does
        assert all(box["scrolls"] for box in seen["boxes"] if box["hint"])
        assert sum(box["hint"] for box in seen["boxes"]) >= 3
    assert picture.read_bytes().startswith(b"\x89PNG")
