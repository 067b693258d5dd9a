"""What `inspect` leaves on disk: pictures, JSON, and TensorBoard's files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kerasdistill.files import write_atomic, write_json_atomic
from kerasdistill.reports import plots
from kerasdistill.training.board import write_pictures

JSON = "inspection.json"


def kept(
    report: dict[str, Any],
    drawn: Mapping[str, Callable[[], Any]],
    numbers: Mapping[str, float | None],
    *,
    output: Path,
    board: Path | None = None,
) -> dict[str, Any]:
    """Draws, where matplotlib is installed, and writes all under `output`, but what
    TensorBoard shows to `board` (None: there too); gives the report with its files."""
    pictures, board = {}, board or output / "board"
    if plots.available():
        pictures = {name: plots.as_png(draw()) for name, draw in drawn.items()}
        scalars = {name: each for name, each in numbers.items() if each is not None}
        write_pictures(board, pictures, scalars)
    for name, content in pictures.items():
        write_atomic(output / f"{name}.png", content)
    report["pictures"] = [str(output / f"{name}.png") for name in pictures]
    report["board"] = str(board) if pictures else None
    write_json_atomic(output / JSON, report)
    return report
