"""Fixtures that more than one room of the tests uses."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

# The networks here are too small to share out, and two workers have a core each.
# Read when the libraries are imported; child processes inherit them.
for _name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from pipelines.datasets import Examples, ImageData  # noqa: E402

CLASSES = ("circle", "square", "star")
ROOT = Path(__file__).resolve().parents[1]
# What is needed to install kerasdistill.
PACKAGED = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
PACKAGED += ("kerasdistill", "pipelines", "tuners")
TFDS_DEFAULT = "~/tensorflow_datasets"

# Files begin in this order, the others after them: what takes longest begins first,
# so that no worker is left with it at the end.
LONGEST = (
    "tests/chaos/",
    "tests/experiments/test_born_again.py",
    "tests/experiments/test_language_model.py",
    "tests/training/test_distillation_models.py",
    "tests/pipelines/test_verification.py",
    "tests/experiments/",
    "tests/training/",
    "tests/tuners/",
    "tests/pipelines/",
    "tests/cli/",
)


def pytest_collection_modifyitems(items):
    """See `LONGEST`; the order within a file stays."""

    def place(item):
        starts = [item.nodeid.startswith(name) for name in LONGEST]
        return starts.index(True) if any(starts) else len(starts)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests run in one worker, so what they share is made once.

    So do all tests under chaos/, which share a server.
    """
    if config.getoption("dist") != "load":
        return None  # another way was chosen on the command line
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            chaos = "tests/chaos/"
            file = super()._split_scope(nodeid)
            return chaos if file.startswith(chaos) else file

    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_collection_finish(session):
    """Two logical processors, for the tests that need two replicas.

    TensorFlow only takes this before its first operation: after every test module
    is imported (importing does nothing), before any test runs. Runs that collect
    no test of TensorFlow's don't pay for importing it. What is imported by now stays,
    so collecting garbage need not look at it again, nor as often as by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 10)
    if tf := sys.modules.get("tensorflow"):
        processor = tf.config.list_physical_devices("CPU")[0]
        halves = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
        tf.config.set_logical_device_configuration(processor, halves)


@pytest.fixture(scope="session")
def two_replicas():
    """One MirroredStrategy for the whole session: each holds communicators."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def marked(request, *names: str) -> bool:
    return not {"slow", *names}.isdisjoint(m.name for m in request.node.iter_markers())


@pytest.fixture(autouse=True)
def measured_briefly(monkeypatch, request):
    """What is left of a story takes seconds to measure: it is measured in as few steps
    as there can be, and only in slow tests and those that are marked so."""
    from kerasdistill.running import timing
    from pipelines.beam import probe

    monkeypatch.setattr(probe, "_SECONDS", 0.0)
    for name in ("_WARM_SECONDS", "_TRAINED_SECONDS"):
        monkeypatch.setattr(timing, name, 0.0)
    if not marked(request, "measured"):
        speed = timing.Speed(0.1, 1e3, 1.0, num_params=5_000)
        worker = probe.WorkerSpeed(1e3, 1.0)
        monkeypatch.setattr(timing, "measure", lambda *_, **__: speed)
        monkeypatch.setattr(probe, "measure", lambda *_, **__: worker)


@pytest.fixture(autouse=True)
def unexported(monkeypatch, request):
    """No SavedModel beside a trained model, which takes seconds, but in slow tests and
    those that are marked so."""
    from kerasdistill.running import training

    if not marked(request, "exports"):
        made = SimpleNamespace(export_saved_model=lambda *_, **__: {})
        monkeypatch.setattr(training, "export", made)


def make_examples(count: int, *, side: int = 8, first_id: int = 0) -> Examples:
    """Noisy images whose colour tells the class; labels take turns."""
    generator = np.random.default_rng([count, side, first_id])
    labels = np.arange(count) % len(CLASSES)
    images = generator.integers(0, 160, (count, side, side, 3)).astype(np.uint8)
    images[np.arange(count), :, :, labels] += 90
    return Examples(images, labels, np.arange(first_id, first_id + count))


@pytest.fixture
def image_data() -> ImageData:
    """See `shapes`."""
    return shapes()


def shapes() -> ImageData:
    """A whole data set of 8x8 images in three classes."""
    return ImageData(
        name="shapes",
        version="1",
        class_names=CLASSES,
        split_seed=0,
        train=make_examples(41),
        validation=make_examples(15, first_id=100),
        test=make_examples(12, first_id=200),
        digest="0" * 64,
    )


@pytest.fixture
def bucket(tmp_path):
    """A place in a bucket: its URL, and where its files really are."""
    import bucket_file_system  # Apache Beam takes seconds to import

    (tmp_path / "bucket").mkdir()
    url = f"{bucket_file_system.PREFIX}{tmp_path}/bucket/set"
    return url, tmp_path / "bucket" / "set"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built from a copy: nothing is left in the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGED:
        source, copy = ROOT / name, folder / "copy" / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(source, copy)
    how = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "./copy"]
    done = subprocess.run(how, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no wheel can be built here: {done.stderr[-200:]}")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def tfds_dir() -> str:
    """Where CIFAR-10 lies prepared; without it the test is skipped."""
    root = Path(os.environ.get("TFDS_DATA_DIR") or TFDS_DEFAULT).expanduser()
    if not (root / "cifar10").is_dir():
        pytest.skip(f"CIFAR-10 is not under {root}; set TFDS_DATA_DIR")
    return str(root)


@pytest.fixture
def small_disk(tmp_path):
    """The function that mounts a tmpfs of so many bytes; skips where it may not."""
    mounted = []

    def mount(size: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        how = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(how, capture_output=True, check=False).returncode:
            pytest.skip("no file system may be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remounted(folder: Path, options: str) -> None:
    """Mounts a `small_disk` again, such as "ro" or with another size."""
    how = ["mount", "-o", f"remount,{options}", str(folder)]
    subprocess.run(how, check=True, capture_output=True)
