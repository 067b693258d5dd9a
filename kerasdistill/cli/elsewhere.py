"""Models at addresses, such as hf://USER/NAME, brought to this disk."""

import argparse
import atexit
import shutil
import tempfile
from pathlib import Path

from kerasdistill.exports import sharing
from kerasdistill.models.loading import SUFFIXES

FOLDER = ".models"  # in the workdir: copies, each in a folder of its own


def bring(args: argparse.Namespace) -> None:
    """Puts paths on this disk in the place of the models' addresses in `args`.

    A set at an address, which `inspect` and `verify` read where it lies, stays.
    """
    path = str(getattr(args, "path", ""))
    is_model = path.startswith(sharing.HUB) or path.endswith(SUFFIXES)
    names = ["teacher", "student"]
    if args.verb in ("evaluate", "export") or (args.verb == "inspect" and is_model):
        names.append("path")
    for name in names:
        value = getattr(args, name, None)
        if isinstance(value, list):
            setattr(args, name, [_here(each, args) for each in value])
        elif isinstance(value, str):
            setattr(args, name, _here(value, args))


def _here(source: str, args: argparse.Namespace) -> str:
    if not sharing.is_address(source):
        return source
    if not getattr(args, "plan", False):
        return str(sharing.taken(source, Path(args.workdir, FOLDER)))
    scratch = tempfile.mkdtemp()  # a plan makes nothing in the workdir
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return str(sharing.taken(source, scratch))
