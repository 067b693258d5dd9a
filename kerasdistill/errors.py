"""The errors a user can act on."""

import errno
import os
import re
import unicodedata

# Control, format (bidirectional too), unpaired, private, unassigned; line separators.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# What a disk that is full, gone or not to be written reports.
_STORAGE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG),
    *(errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM),
)


class UserError(Exception):
    """A request that cannot be met: one line saying what came, what was expected
    and what to do. The command line prints it and exits with 2."""


class StaleArtifactError(UserError):
    """An artifact on disk is unfinished, damaged or belongs to another request."""


class BusyError(UserError):
    """Another process is at work in a run's folder."""


class DivergedError(Exception):
    """Training met NaN or infinity; the message names the step and the recipe."""


class WorkersLostError(RuntimeError):
    """Those who did the work are gone; one line, what is done is kept."""


def one_line(text: str) -> str:
    """Text from anywhere, fit for a terminal: one line, control characters escaped."""
    return escaped(" ".join(text.split()))


def escaped(text: str, *, keep: str = "") -> str:
    """Text whose control, bidirectional and unpaired characters are escapes, but for
    those in `keep`. Ordinary text, spaces too, comes as it is."""
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter in keep or unicodedata.category(letter) not in _UNSEEN
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def reason(error: BaseException) -> str:
    """The first line of what an error says, or its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def storage_failure(error: BaseException) -> str | None:
    """One line about the disk, if an error, or what caused it, came from there.

    TensorFlow and Beam have the system's words in their text; only what a working disk
    never reports is looked for there.
    """
    kept = "what is finished is kept: see to the disk and run the same command again"
    plain = [os.strerror(number) for number in _STORAGE[:5]]
    if "tensorflow" in type(error).__module__:  # its writers also name lost folders
        plain.append(os.strerror(errno.ENOENT))
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _STORAGE:
            return f"{cause.filename or 'storage'}: {cause.strerror}; {kept}"
        for line in str(cause).splitlines():
            if reasons := [reason for reason in plain if reason in line]:
                before, after = line.split(reasons[0], 1)
                path = re.match(r": '([^']+)'", after)  # as Python's errors end
                place = path[1] if path else before.strip(" ;:")[-200:]
                return f"{place or 'storage'}: {reasons[0]}; {kept}"
        cause = cause.__cause__ or cause.__context__
    return None
