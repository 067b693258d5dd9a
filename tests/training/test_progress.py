"""What is seen of a training: bars on a terminal, lines in a log, and what they say."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from keras.optimizers import schedules

from kerasdistill.training.progress import EpochProgress

ROOT = Path(__file__).resolve().parents[2]
ROW = {"loss": 1.0, "learning_rate": 0.5, "seconds": 60.0}


def shown(epoch, *, done, total=100):
    """A program that shows the steps of an epoch, as many at once as `done` says."""
    words = f"p = EpochProgress({total}, 3, ('loss',)); p.begin({epoch}, done=0)\n"
    words += "".join(
        f"p.step({epoch}, done={each}); time.sleep(0.6)\n" for each in done
    )
    return (
        f"{words}p.close(); terminal.say(p.line({ROW}, epoch={epoch}, best='best 1'))"
    )


def on_a_terminal(program, **environment):
    """What a program prints to stderr, which is a terminal."""
    ours, theirs = pty.openpty()
    head = "import time\nfrom kerasdistill import terminal\n"
    head += "from kerasdistill.training.progress import EpochProgress\n"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", head + program],
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env=variables,
    )
    os.close(theirs)
    seen = b""
    try:
        while more := os.read(ours, 1 << 16):
            seen += more
    except OSError:  # how Linux says that nobody holds the other end
        pass
    os.close(ours)
    assert process.wait() == 0
    return seen.decode()


@pytest.mark.parametrize("done", [(10, 20), (50, 100), (100,)], ids=str)
def test_a_bar_within_an_epoch(done):
    seen = on_a_terminal(shown(2, done=done))
    *bar, _, line, end = seen.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert any(f"epoch 2/3: {done[0]:3}%" in each for each in bar), seen
    assert line.startswith("epoch 2/3: loss 1.0000 (best 1)") and not end
    assert not line.startswith(" ") and "\x1b[3" not in seen


def test_a_dumb_terminal_has_lines_alone():
    seen = on_a_terminal(shown(1, done=(10, 20)), TERM="dumb")
    assert seen.count("\n") == 1 and "%" not in seen


def test_a_log_has_lines_alone(capsys):
    progress = EpochProgress(10, 3, ("loss",))
    progress.begin(1, done=0)
    for done in range(1, 11):
        progress.step(1, done=done)
    progress.close()
    assert capsys.readouterr().err == ""


def test_compiling_says_nothing_of_the_time_left():
    """Seconds to the first step are no measure of the epochs to come."""
    lines = []
    for startup in (0.0, 30.0):
        clock = iter([0.0, startup]).__next__
        progress = EpochProgress(10, 13, ("loss",), clock=clock)
        progress.begin(1, done=0)
        progress.step(1, done=1)
        lines.append([progress.line(ROW, epoch=n, best="") for n in (1, 2, 13)])
    quick, slow = lines
    assert "about 12:00 left" in quick[0] and "left" not in slow[0]
    assert "about 11:00 left" in slow[1] and "left" not in slow[2]


def test_a_schedule_s_rate_is_that_in_the_middle():
    cosine = schedules.CosineDecay(1.0, 100)
    progress = EpochProgress(100, 1, (), cosine)
    progress.begin(1, done=0)
    progress.step(1, done=100)
    row = {"learning_rate": 0.0, "seconds": 1.0}
    assert "learning rate 0.5," in progress.line(row, epoch=1, best="")
    plain = EpochProgress(100, 1, (), 0.1)
    plain.begin(1, done=0)
    plain.step(1, done=100)
    assert "learning rate 0.2," in plain.line(
        row | {"learning_rate": 0.2}, epoch=1, best=""
    )
