"""The printer: what is fit to be seen, and streams that fail."""

import contextlib
import errno
import io
import os
import sys

import pytest

from kerasdistill import terminal
from kerasdistill.errors import escaped, one_line
from tests.strange_names import FIT, UNFIT, lines_of


class Failing(io.StringIO):
    """A stream whose every write fails with an error of the system."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("name", UNFIT.values(), ids=UNFIT)
def test_names_that_control_nothing(name, capsys):
    terminal.say(f"{name}: said")
    with terminal.bar(name, total=1, delay=0, disable=False) as bar:
        bar.update()
    with terminal.guarded(), terminal.libraries_aside():
        print(name.replace("\n", " ").replace("\r", " "))  # a library does
    assert terminal.answer(terminal.fit(f"{name}: answered"))
    captured = capsys.readouterr()
    assert lines_of(captured.out) == [f"{escaped(name)}: answered", ""]
    err = captured.err.replace("\r", "\n")
    assert lines_of(err)[0] == f"{escaped(name)}: said"
    assert "\n" not in one_line(name) and one_line(name).isprintable()


@pytest.mark.parametrize("name", FIT.values(), ids=FIT)
def test_ordinary_names_stay(name, capsys):
    terminal.say(name, "next")
    assert terminal.answer(name) and terminal.fit([{name: (name, 1)}]) == [
        {name: (name, 1)}
    ]
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"{name}\n", f"{name}\nnext\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_the_encoding_lacks(encoding):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        terminal.say("漢 …")
        assert terminal.answer("漢 …\nnext")
    assert out.buffer.getvalue().startswith(b"\\u6f22 ")
    assert out.buffer.getvalue().endswith(b"\nnext\n")
    assert err.buffer.getvalue().startswith(b"\\u6f22 ")


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF])
def test_a_lost_stderr_is_silence(number):
    with contextlib.redirect_stderr(Failing(number)), terminal.guarded():
        terminal.say("said")
        print("said by a library", file=sys.stderr)
        with terminal.bar("a bar", total=2, mininterval=0, disable=False) as bar:
            bar.update(2)
    closed = io.StringIO()
    closed.close()
    for lost in (closed, None):
        with contextlib.redirect_stderr(lost):
            terminal.say("said")


@pytest.mark.parametrize(
    ("number", "well"), [(errno.EPIPE, True), (errno.ENOSPC, False)]
)
def test_a_lost_stdout(number, well, capsys):
    with contextlib.redirect_stdout(Failing(number)):
        assert terminal.answer("answered") is well
    error = capsys.readouterr().err
    assert error.count("\n") == (not well) and (well or os.strerror(number) in error)


def test_errors_stay_guarded(capsys):
    before = sys.stderr
    with pytest.raises(RuntimeError), terminal.guarded():
        raise RuntimeError
    print("a\x1bb", file=sys.stderr)
    assert capsys.readouterr().err == "a\\x1bb\n"
    sys.stderr = before


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),  # as if it were not set
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_can_be_turned_off(variables, coloured, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "__stdout__", Terminal())
    assert terminal.has_colours() is coloured
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    assert not terminal.has_colours()


@pytest.mark.parametrize(
    ("typed", "program"),
    [
        ("/usr/bin/kerasdistill", "kerasdistill"),
        ("kerasdistill/cli/__main__.py", "python -m kerasdistill.cli"),
    ],
)
def test_commands_are_named_as_they_are_typed(typed, program, monkeypatch):
    monkeypatch.setattr(sys, "argv", [typed, "runs", "list"])
    assert terminal.program() == program
