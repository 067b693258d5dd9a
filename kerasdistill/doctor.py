"""What is installed and what there is to work with, with advice (for `doctor`)."""

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kerasdistill import machine, own_packages, packages
from kerasdistill.errors import UserError
from kerasdistill.files import nearest_existing, why_unwritable
from kerasdistill.reading_files import read_bytes

OK, WARNING, FAILURE = "ok", "warning", "failure"
_SMALL_DISK, _SMALL_MEMORY = 5e9, 4e9  # a set of 24 passes; a student's training
_START_SECONDS = 180
#: Without these nothing trains; every other package serves some verbs alone.
LIGHT = ("tensorflow", "keras", "numpy")
#: Where a run that goes on gives the same bits, and a replayed set the same views, as
#: the tests found; setup.py allows more.
SAME_BITS = {
    "tensorflow": "==2.21.*",
    "keras": "==3.15.*",
    "numpy": "==2.4.*",
    "keras-tuner": "==1.4.8",
    "tensorflow-datasets": "==4.9.10",
    "apache-beam": "==2.77.*",
}
_INFO = "dataset_info.json"
_ENGINES = ("tensorflow", "jax")  # naming them imports none
_SEEN = (
    "import json; from kerasdistill.training import engines; "
    "engine = engines.current(); "
    "print(json.dumps({'devices': engine.devices(), 'kind': engine.device(), "
    "'precision': engine.resolve_precision('auto')}))"
)


def examine(
    *, workdir: str, data_dir: str | None, start: bool = False
) -> dict[str, Any]:
    """Looks at everything. Keras' backend is started, in a process of its own, only
    where there is a GPU that it may see, or with `start`.

    Returns:
        "works" (False if a needed package is missing or the backend does not start),
        "checks" (each "check", "status" ok, warning or failure, "found", "advice"),
        "precision" and "devices".
    """
    checks = [*_versions(), _same_bits(), *_packages(), _backend()]
    fast = machine.has_bfloat16() and machine.keras_backend() == "tensorflow"
    precision = "mixed_bfloat16" if fast else "float32"
    devices = ["CPU"]
    if (start or machine.has_gpu()) and _works(checks):
        check, seen = _started(machine.keras_backend())
        checks.append(check)
        if seen is not None:
            precision, devices = seen["precision"], seen["devices"]
    checks += [_processor(precision), _memory(), _disk(workdir), *_data(data_dir)]
    return {
        "works": _works(checks),
        "precision": precision,
        "devices": devices,
        "checks": checks,
    }


def _works(checks: list[dict[str, Any]]) -> bool:
    return all(check["status"] != FAILURE for check in checks)


def _check(name: str, status: str, found: str, advice: str = "") -> dict[str, Any]:
    return {"check": name, "status": status, "found": found, "advice": advice}


def _tested(
    name: str, version: str, tested: SpecifierSet, *, advice: str
) -> dict[str, Any]:
    found = f"{version}, tested {tested}"
    if tested.contains(version, prereleases=True):
        return _check(name, OK, found)
    return _check(name, WARNING, found, advice)


def _versions() -> list[dict[str, Any]]:
    """Python and the packages against the ranges that the tests ran with."""
    try:
        ours = metadata.metadata("kerasdistill")
        ranges = [Requirement(text) for text in metadata.requires("kerasdistill") or ()]
    except metadata.PackageNotFoundError:
        advice = "install it: pip install . in its folder"
        return [_check("kerasdistill", WARNING, "not installed, only found", advice)]
    tested = SpecifierSet(ours["Requires-Python"] or "")
    advice = f"use a Python {tested}"
    checks = [_tested("python", platform.python_version(), tested, advice=advice)]
    wanted: dict[str, tuple[Requirement, bool]] = {}
    for each in ranges:
        needed = each.marker is None or each.marker.evaluate({"extra": ""})
        if needed or each.marker.evaluate({"extra": "all"}):
            # What is needed anyway comes first, and counts.
            wanted.setdefault(each.name, (each, needed))
    return checks + [_version(each, needed=needed) for each, needed in wanted.values()]


def _version(wanted: Requirement, *, needed: bool) -> dict[str, Any]:
    name, install = wanted.name, f"pip install '{wanted.name}{wanted.specifier}'"
    version = packages.version(packages.module_of(name))
    if version is None:
        if name in LIGHT:
            return _check(name, FAILURE, "not installed", install)
        if needed:
            found = "not installed, only some verbs need it"
            return _check(name, WARNING, found, install)
        return _check(name, OK, "not installed, optional", f"for more, {install}")
    return _tested(name, version, wanted.specifier, advice=install)


def _same_bits() -> dict[str, Any]:
    """Whether runs that go on here are known to give the same bits."""
    others = []
    for name, tested in SAME_BITS.items():
        version = packages.version(packages.module_of(name))
        tested = SpecifierSet(tested)
        if version is not None and not tested.contains(version, prereleases=True):
            others.append(f"{name} {version}, tested {tested}")
    if not others:
        return _check("same bits", OK, "resumed and replayed as tested")
    advice = (
        "a run that goes on may end with other last digits; finish it where it began"
    )
    return _check("same bits", WARNING, "; ".join(others), advice)


def _packages() -> list[dict[str, Any]]:
    """Packages of our names that a program started here would import."""
    advice = "programs here would import it, the command line does not; rename it"
    return [
        _check(name, WARNING, f"another package, {place}", advice)
        for name, place in own_packages.strangers_here().items()
    ]


def _backend() -> dict[str, Any]:
    """Keras' backend as it will be, which must have an engine."""
    name, setting = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    file = machine.keras_file()
    if not name and file.is_file():
        setting = str(file)
        try:
            name = json.loads(read_bytes(file, "json")).get("backend")
        except (OSError, ValueError, AttributeError, UserError):
            return _check("backend", WARNING, f"{file} is damaged", "remove it")
    name = name or machine.DEFAULT_BACKEND
    if name not in _ENGINES:
        advice = f"training here needs {' or '.join(_ENGINES)}; set it in {setting}"
        return _check("backend", WARNING, name, advice)
    if not packages.is_installed(name):
        advice = f"pip install 'kerasdistill[{name}]', or set another in {setting}"
        return _check("backend", FAILURE, f"{name}, not installed", advice)
    return _check("backend", OK, name)


def _started(backend: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a backend sees, started in a process of its own."""
    name, (seen, found) = f"{backend} starts", _seen_by(backend)
    if seen is None:
        return _check(name, FAILURE, found, "reinstall it"), None
    found = f"{packages.version(backend)} sees {', '.join(seen['devices'])}"
    if not machine.has_gpu() or seen["kind"] != "cpu":
        return _check(name, OK, found), seen
    advice = "there is a GPU that it does not see: pip install "
    advice += "tensorflow[and-cuda]" if backend == "tensorflow" else "jax[cuda13]"
    if backend != "jax" and packages.is_installed("jax"):
        other, _ = _seen_by("jax")
        if other is not None and other["kind"] != "cpu":
            advice = "there is a GPU that JAX sees: set KERAS_BACKEND=jax"
    return _check(name, WARNING, found, advice), seen


def _seen_by(backend: str) -> tuple[dict[str, Any] | None, str]:
    """What a process of the backend sees, or else why it sees nothing."""
    seen, found = None, ""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _SEEN],
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
        )
        seen = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        found = f"not started within {_START_SECONDS} s"
    except (ValueError, IndexError):
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        found = last[:200]
    return seen, found


def _processor(precision: str) -> dict[str, Any]:
    """The processor, and why the precision "auto" is what it is."""
    has = machine.instructions()
    found = f"{machine.cores()} cores with {', '.join(has) or 'no vector units'}"
    why = "it has neither avx512_bf16 nor amx_bf16"
    if machine.has_gpu():
        why = "by the GPU's compute capability"
    elif machine.has_bfloat16():
        why = "it multiplies bfloat16"
        if precision == "float32":
            why = "JAX computes in bfloat16 slowly on processors"
    advice = f"`precision='auto'` is {precision}: {why}"
    if "avx2" not in has:
        return _check("processor", WARNING, found, f"{advice}; slow without avx2")
    return _check("processor", OK, found, advice)


def _memory() -> dict[str, Any]:
    free, total = machine.free_bytes(), machine.total_bytes()
    found = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
    if free < _SMALL_MEMORY:
        advice = "use smaller `batch_size`, fewer `workers` and `resident='never'`"
        return _check("memory", WARNING, found, advice)
    return _check("memory", OK, found)


def _disk(workdir: str) -> dict[str, Any]:
    free = shutil.disk_usage(nearest_existing(workdir)).free
    found = f"{free / 1e9:.1f} GB free for {workdir}"
    if (advice := why_unwritable(workdir)) is not None:
        return _check("disk", WARNING, found, advice)
    if free < _SMALL_DISK:
        advice = "use `store='replay'` and fewer `passes`, or another `workdir`"
        return _check("disk", WARNING, found, advice)
    return _check("disk", OK, found)


def _data(data_dir: str | None) -> list[dict[str, Any]]:
    """The data sets that lie prepared for TFDS, and the one that comes along."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    place = Path(data_dir or default).expanduser()
    # NAME/VERSION, or NAME/CONFIG/VERSION.
    infos = [
        file for depth in ("*/*", "*/*/*") for file in place.glob(f"{depth}/{_INFO}")
    ]
    names = sorted({str(file.parents[1].relative_to(place)) for file in infos})
    advice = "cifar10 is fetched on first use; set TFDS_DATA_DIR if it lies elsewhere"
    found = f"{', '.join(names) or 'none'} prepared in {place}"
    checks = [_check("data", OK, found, "" if "cifar10" in names else advice)]
    if packages.is_installed("sklearn"):
        checks.append(_check("data", OK, "digits (embedded)"))
    return checks


def readable(report: dict[str, Any]) -> str:
    """A line for each check, with what to do below it."""
    lines = []
    for check in report["checks"]:
        lines.append(f"{check['status']:<8} {check['check']}: {check['found']}")
        if check["advice"]:
            lines.append(f"{'':<11}{check['advice']}")
    works = (
        "this installation works" if report["works"] else "this cannot work as it is"
    )
    return "\n".join([*lines, works])
