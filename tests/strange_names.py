"""Names that files, folders and fields may have, and what may not be made of them."""

# What would control a terminal, or break a line or an encoding.
UNFIT = {
    "escape": "a\x1b[31mb",
    "title": "a\x1b]0;owned\x07b",
    "return": "a\rerror: b",
    "newline": "a\nerror: b",
    "line separator": "a\u2028b",
    "one byte CSI": "a\x9b31mb",
    "right to left": "a\u202eb",
    "isolate": "a\u2066b",
    "no width": "a\u200bb",
    "no UTF-8": "a\udcffb",
}
# What readers could take for a pattern, an option, a quote or another encoding.
FIT = {
    "set": "runs [1]",
    "star": "runs *",
    "question": "runs ?",
    "backslash": "runs \\d",
    "spaces": "my  runs",
    "quotes": 'it\'s "runs"',
    "letters": "ünï 漢字",
    "variable": "$HOME",
    "percent": "100%d",
}


def lines_of(text: str) -> list[str]:
    """The lines of what was printed, all of them fit for a terminal."""
    lines = text.split("\n")
    assert all(line.replace("\t", " ").isprintable() for line in lines), text
    return lines
