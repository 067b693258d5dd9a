"""The one way out: all that is printed, on stdout and on stderr, passes here.

What is said can hold names from anywhere: whatever would control the terminal, or is
nothing that its encoding has, is shown as an escape. A stderr that is closed, full or
no longer read is silence and stops no training.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from kerasdistill.errors import escaped

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def fit(value: Any) -> Any:
    """Nested values whose texts are each fit for one line: `escaped`."""
    if isinstance(value, dict):
        return {fit(name): fit(each) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(fit, value))
    return escaped(value) if isinstance(value, str) else value


def say(*lines: str) -> None:
    """Prints each text as one line to stderr; a lost stderr is silence."""
    _Guard(sys.stderr).write("".join(f"{escaped(line)}\n" for line in lines))


def answer(text: str, *, coloured: bool = False) -> bool:
    """Prints a command's answer to stdout; a reader who has seen enough is no error.

    Args:
        text: lines; tabs are kept.
        coloured: whether it holds escape sequences of ours, such as a report's, whose
            names are escaped already.

    Returns:
        False, and says why, where stdout cannot be written to, such as on a full disk.
    """
    shown = text if coloured else escaped(text, keep="\n\t")
    try:
        sys.stdout.write(_expressible(f"{shown}\n", sys.stdout))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as head
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)  # else the interpreter fails once more, at its end
        say(
            f"error: stdout cannot be written ({error.strerror}); what is done is "
            "kept: run the same command again"
        )
        return False
    return True


def program() -> str:
    """How the command line was called, to say what to type next: by its name, or as a
    module."""
    name = os.path.basename(sys.argv[0])
    return name if name == "kerasdistill" else "python -m kerasdistill.cli"


def has_colours() -> bool:
    """Whether the answer goes to a terminal, and nobody wants it plain.

    NO_COLOR (https://no-color.org) asks for that, as does a terminal that is "dumb".
    """
    return not os.environ.get("NO_COLOR") and _is_terminal(sys.__stdout__)


def _is_terminal(stream: Any) -> bool:
    """Whether it is one that can do more than print lines."""
    seen = stream is not None and stream.isatty()
    return seen and os.environ.get("TERM") != "dumb"


def bar(what: str = "", **options: Any) -> Any:
    """tqdm's bar on stderr, or nothing where stderr is no terminal, such as a log.

    `what` is going on; `options` are tqdm's own.
    """
    from tqdm import tqdm

    options = {"disable": not _is_terminal(sys.stderr), **options}
    return tqdm(desc=escaped(what), file=_Guard(sys.stderr), **options)


@contextlib.contextmanager
def guarded(reworded: Callable[[str], str] = str) -> Iterator[None]:
    """Within it, whatever is printed to stderr, by libraries too, is as if said here,
    and is `reworded`.

    After an error it stays so, for the interpreter's own last words.
    """
    before, sys.stderr = sys.stderr, _Guard(sys.stderr, reworded)
    yield
    sys.stderr = before


def libraries_aside() -> contextlib.AbstractContextManager[Any]:
    """Within it, what libraries print to stdout goes to stderr."""
    return contextlib.redirect_stdout(_Guard(sys.stderr))


@contextlib.contextmanager
def native_aside() -> Iterator[None]:
    """Within it, what is written to descriptor 2 is dropped: native code of libraries
    logs there, past Python. So is what is said; errors come as ever."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def open_missing() -> None:
    """Opens standard descriptors that this process began without on the null device.

    Else the next files that are opened would get their numbers, and what libraries
    print would be written into them.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            stream = open(number, mode, closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _expressible(text: str, stream: Any) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _discard(stream: Any) -> None:
    """What is still in the stream, and what comes, goes to the null device."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Guard:
    """A stream for others to write to: escapes as above, and silence when it is lost.

    Bars move with carriage returns, nested ones also with one sequence.
    """

    _UP = "\x1b[A"

    def __init__(self, stream: TextIO | None, reworded: Callable[[str], str] = str):
        self._stream, self._reworded = stream, reworded

    def write(self, text: str) -> int:
        """Writes what is fit for a terminal; tells the length of `text`."""
        words = self._reworded(text).split(self._UP)
        parts = (escaped(part, keep="\n\t\r") for part in words)
        shown = self._UP.join(parts)
        self._try(lambda stream: stream.write(_expressible(shown, stream)))
        self.flush()
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, act: Callable[[Any], object]) -> None:
        if self._stream is None:
            return
        try:
            act(self._stream)
        except (OSError, ValueError):  # lost, full, or closed
            _discard(self._stream)
