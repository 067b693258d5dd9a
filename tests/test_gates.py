"""What is read from disk: by one opener, and models only as data or as our own."""

import ast
import json
import os
import shutil
import signal
import socket
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from kerasdistill import files, reading_files, runs
from kerasdistill.errors import UserError
from kerasdistill.experiments import adapting
from kerasdistill.exports import cards
from kerasdistill.exports import language as language_export
from kerasdistill.exports import saved_model as export
from kerasdistill.models import applications, loading, saved, trust
from kerasdistill.pulse import Pulse
from kerasdistill.training import checkpoint
from pipelines.beam import files as beam_files
from pipelines.sources import images
from pipelines.stored import integrity
from pipelines.words import text, text_signal

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("kerasdistill", "pipelines", "tuners")
MODULES = sorted(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))


# Every file through one opener ------------------------------------------------------

# Calls that open a file to read it, by the last names in them.
FORBIDDEN = {"read_text", "read_bytes", "os.open", "io.open", "io.FileIO"}
FORBIDDEN |= {"np.load", "np.fromfile", "np.memmap", "np.loadtxt", "np.genfromtxt"}
FORBIDDEN |= {"json.load", "pickle.load", "pickle.loads", "tomllib.load", "yaml.load"}
FORBIDDEN |= {"h5py.File", "zipfile.ZipFile", "tarfile.open", "gzip.open", "Image.open"}
FORBIDDEN |= {"saved_model.load", "saving.load_model", "models.load_model"}
FORBIDDEN |= {"load_weights", "TFSMLayer", "io.read_file", "gfile.GFile"}
FORBIDDEN |= {"FileSystems.open"}
#: Where they may be all the same, and why; one line for each.
ALLOWED = {
    ("kerasdistill/reading_files.py", "os.open"),  # the opener
    ("kerasdistill/reading_files.py", "zipfile.ZipFile"),  # of what it opened
    ("kerasdistill/files.py", "os.open"),  # to sync and lock what was written here
    ("tuners/states.py", "os.open"),  # to sync a folder
    ("kerasdistill/terminal.py", "os.open"),  # /dev/null
    ("kerasdistill/plain_paths.py", "os.open"),  # a folder, for another name of it
    ("kerasdistill/cli/workplace.py", "os.open"),  # to write
    ("kerasdistill/machine.py", "read_text"),  # /proc and /sys
    ("pipelines/scoring.py", "read_text"),  # /proc
    ("kerasdistill/training/checkpoint.py", "np.load"),  # of what was opened
    ("kerasdistill/exports/tensorflow_process.py", "np.load"),  # of what was opened
    ("pipelines/beam/job.py", "np.load"),  # of what was opened
    ("pipelines/words/job.py", "np.load"),  # of what was opened
    ("pipelines/sources/images.py", "Image.open"),  # of what was opened
    ("pipelines/beam/files.py", "FileSystems.open"),  # of URLs
    ("kerasdistill/exports/cards.py", "zipfile.ZipFile"),  # to write
    ("kerasdistill/exports/sharing.py", "zipfile.ZipFile"),  # to write
    ("kerasdistill/models/loading.py", "h5py.File"),  # of what was opened, and a copy
    ("kerasdistill/models/loading.py", "saving.load_model"),  # after its checks
    ("kerasdistill/models/applications.py", "load_weights"),  # after loading's checks
    ("kerasdistill/models/saved.py", "saved_model.load"),  # after trust's check
    ("kerasdistill/exports/saved_model.py", "saved_model.load"),  # just written
    ("kerasdistill/exports/language.py", "saved_model.load"),  # just written, trusted
    ("kerasdistill/exports/formats.py", "saving.load_model"),  # just written
}


def openings(file: Path) -> set[str]:
    """The forbidden calls in a module; `open` stands for reading with the built-in."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    own = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "kerasdistill.reading_files"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = {".".join(name.split(".")[-count:]) for count in (1, 2)}
        if name in own | imported:
            continue
        found |= last & FORBIDDEN
        reads_path = name.endswith(").open") or name in ("path.open", "file.open")
        if name == "open" or reads_path:
            words = [*node.args, *(each.value for each in node.keywords)]
            modes = [w.value for w in words if isinstance(w, ast.Constant)]
            if not any(set(str(mode)) & set("wxa") for mode in modes):
                found.add("open")
    return found


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_are_opened_in_one_place(file):
    name = str(file.relative_to(ROOT))
    allowed = {call for place, call in ALLOWED if place == name}
    assert openings(file) - allowed == set(), "read it with kerasdistill.reading_files"
    assert allowed - openings(file) == set(), "no longer needed in ALLOWED"


def test_the_lint_sees_every_way(tmp_path):
    lines = ("open(p)", "open(p, 'rb')", "open(p, mode='r')", "Path(p).read_text()")
    lines += ("np.load(p)", "tf.saved_model.load(p)", "PIL.Image.open(p)", "os.open(p)")
    for line in lines:
        (tmp_path / "module.py").write_text(line)
        assert openings(tmp_path / "module.py"), line
    (tmp_path / "module.py").write_text("open(p, 'wb'); read_bytes = 1; json.loads(p)")
    assert not openings(tmp_path / "module.py")


# Strange files ----------------------------------------------------------------------


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


def unix_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def dangling(path):
    path.symlink_to(path.with_name("nowhere"))


def huge(path):
    """Takes no place on disk."""
    path.touch()
    os.truncate(path, max(s for k, s in reading_files.LIMITS.items() if k != "digest"))
    with path.open("ab") as file:
        file.write(b"x")


STRANGE = (pipe, device, folder, unix_socket, dangling, huge)
# What reads a file -> its name.
READERS = {
    runs.read_json: "results.json",
    lambda path: integrity.read_manifest(path.parent): "manifest.json",
    lambda path: text_signal.read(
        path.parent, data=None, streams=1, window=1
    ): "manifest.json",
    lambda path: text.load(path.parent): "train.txt",
    lambda path: cards.read_card(path.with_name("model.keras")): "card.json",
    lambda path: Pulse(path.parent).silent({path.name}, seconds=1): "session",
    lambda path: beam_files.measure(str(path)): "shard",
    lambda path: beam_files.get(str(path)): "sidecar",
    checkpoint.read: "last.npz",
    files.sha256_file: "shard",
    images.load: "image.png",
    loading.load: "model.keras",
    loading.image_shape: "model.h5",
    loading.check_weights: "of.weights.h5",
}


@pytest.fixture
def in_time():
    """Whoever waits for a pipe or reads a device to its end fails."""

    def stop(*_):
        raise TimeoutError("it waits, or reads without an end")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("read", READERS, ids=lambda read: READERS[read])
def test_strange_files_are_refused(read, strange, tmp_path):
    folder = tmp_path / "trials" / "workers"
    folder.mkdir(parents=True)
    (folder / "model.keras").touch()
    path = folder / READERS[read]
    path.unlink(missing_ok=True)
    strange(path)
    if strange is huge and READERS[read] == "shard":
        pytest.skip("is hashed piece by piece, whatever its size")
    if strange is dangling or read is loading.image_shape:
        # As if there were none: each has its own way with that.
        try:
            read(path)
        except (OSError, UserError) as error:
            assert str(path) in str(error) or str(path.parent) in str(error)
        return
    with pytest.raises(UserError) as raised:
        read(path)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)


@pytest.mark.parametrize("kind", reading_files.LIMITS)
def test_every_kind_has_a_size(kind, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert reading_files.read_bytes(path, kind) == b"content"
    os.truncate(path, reading_files.LIMITS[kind])
    reading_files.open_file(path, kind).close()
    os.truncate(path, reading_files.LIMITS[kind] + 1)
    with pytest.raises(UserError, match=rf"expected at most .*\({kind}\)"):
        reading_files.open_file(path, kind)


# Strange models ---------------------------------------------------------------------


def archive(path: Path, **members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def zip_bomb(path, made):
    archive(path, **{"config.json": b"{}", "model.weights.h5": bytes(1 << 27)})


def leaves_the_archive(path, made):
    archive(path, **{"config.json": b"{}", "assets/../../../x": b""})


def absolute_member(path, made):
    archive(path, **{"config.json": b"{}", "/tmp/x": b""})


def changed(path, made, change, *, weights=None):
    with zipfile.ZipFile(made) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    config = json.loads(parts["config.json"])
    change(config["config"]["layers"])
    parts["config.json"] = json.dumps(config).encode()
    if weights is not None:
        parts["model.weights.h5"] = weights(path.parent, parts["model.weights.h5"])
    archive(path, **parts)


def layer(module, name, /, registered=None, **config):
    """A last layer of any class."""
    entry = {"module": module, "class_name": name, "config": config}
    entry |= {"registered_name": registered, "build_config": None}
    return lambda layers: layers.append(entry)


def vocabulary_elsewhere(path, made):
    own = {"vocabulary": "/etc/passwd", "max_tokens": None, "name": "words"}
    changed(path, made, layer("keras.layers", "StringLookup", **own))


def text_vocabulary_elsewhere(path, made):
    own = {"vocabulary": "/etc/passwd", "name": "words"}
    changed(path, made, layer("keras.layers", "TextVectorization", **own))


def rules_elsewhere(path, made):
    own = {"vocabulary": {}, "merges": "/etc/passwd"}
    changed(path, made, layer("keras_hub.tokenizers", "BytePairTokenizer", **own))


def foreign_class(path, made):
    changed(path, made, layer("os", "system", command="true"))


def foreign_function(path, made):
    function = {"module": "os", "class_name": "function", "config": "system"}
    function["registered_name"] = "system"
    changed(path, made, lambda layers: layers[-1]["config"].update(activation=function))


def loader_for_a_layer(path, made):
    changed(path, made, layer("keras.saving", "load_model", filepath="other.keras"))


def download_for_a_layer(path, made):
    own = {"fname": "x", "origin": "file:///etc/passwd"}
    changed(path, made, layer("keras.utils", "get_file", **own))


def keras_own_saved_model_layer(path, made):
    own = {"filepath": str(path.parent), "name": "saved"}
    changed(path, made, layer("keras.layers", "TFSMLayer", **own))


def our_saved_model_layer(path, made):
    own = {"filepath": str(path.parent), "name": "saved"}
    name = "TrustedSavedModel"
    changed(path, made, layer(saved.__name__, name, f"kerasdistill>{name}", **own))


def with_weights(link):
    """A `.keras` file whose kernel is what `link` puts in its place."""

    def make(path, made):
        def weights(folder, content):
            other = folder / "weights.h5"
            other.write_bytes(content)
            relink(other, link)
            return other.read_bytes()

        changed(path, made, lambda layers: None, weights=weights)

    make.__name__ = f"weights_{link.__name__}"
    return make


def relink(path: Path, link) -> None:
    """Changes an HDF5 file's first kernel."""
    with h5py.File(path, "r+") as file:
        names = []
        file.visit(names.append)
        (name,) = (each for each in names if getattr(file[each], "ndim", 0) == 2)
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        link(file, name, shape, dtype)


def external_link(file, name, shape, dtype):
    file[name] = h5py.ExternalLink("/tmp/other.h5", "/kernel")


def soft_link(file, name, shape, dtype):
    file["other"] = np.zeros(shape, dtype)
    file[name] = h5py.SoftLink("/other")


def external_storage(file, name, shape, dtype):
    size = int(np.prod(shape)) * dtype.itemsize
    file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, size)])


def virtual(file, name, shape, dtype):
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "kernel", shape)
    file.create_virtual_dataset(name, layout)


def shape_bomb(file, name, shape, dtype):
    how = {"chunks": (1 << 10, 1 << 10), "compression": "gzip"}
    file.create_dataset(name, (1 << 16, 1 << 16), dtype, **how)


LINKS = (external_link, soft_link, external_storage, virtual, shape_bomb)
MODELS = (zip_bomb, leaves_the_archive, absolute_member, vocabulary_elsewhere)
MODELS += (text_vocabulary_elsewhere, rules_elsewhere, foreign_class, foreign_function)
MODELS += (loader_for_a_layer, download_for_a_layer, keras_own_saved_model_layer)
MODELS += (our_saved_model_layer, *map(with_weights, LINKS))


def small() -> keras.Model:
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with one model in every form, as a run has it, in its workdir."""
    folder = tmp_path_factory.mktemp("workdir") / "run"
    model = small()
    cards.write(model, folder, {})
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    how = {"card": {}, "images": pixels, "workdir": folder.parent}
    export.export_saved_model(model, folder / "saved_model", **how)
    model.save_weights(folder / "of.weights.h5")
    model.save(folder / "model.h5")
    return folder


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_strange_models_are_refused(make, made, tmp_path):
    path = tmp_path / "model.keras"
    make(path, made / "model.keras")
    with pytest.raises(UserError) as raised:
        loading.load(path)
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)
    if make is our_saved_model_layer:
        assert "a SavedModel, which may run any code" in str(raised.value)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.__name__)
@pytest.mark.parametrize("name", ["model.h5", "of.weights.h5"])
def test_strange_hdf5_is_refused(name, link, made, tmp_path):
    path = Path(shutil.copy(made / name, tmp_path))
    relink(path, link)
    with pytest.raises(UserError, match=str(path)):
        loading.load(path) if name == "model.h5" else loading.check_weights(path)


def test_hdf5_that_never_ends(made, tmp_path):
    path = Path(shutil.copy(made / "of.weights.h5", tmp_path))
    with h5py.File(path, "r+") as file:
        group = file.create_group("circle")
        group["again"] = group
    with pytest.raises(UserError, match="/circle"):
        loading.check_weights(path)


def test_weights_of_a_list_of_files(tmp_path):
    path = tmp_path / "of.weights.json"
    path.write_text("{}")
    how = {"image_shape": (32, 32, 3), "num_classes": 3, "weights": str(path)}
    with pytest.raises(UserError, match="weights.json"):
        applications.application("keras:MobileNetV3Small", **how)


def test_a_checkpoint_that_is_a_bomb(tmp_path):
    path = tmp_path / "last.npz"
    np.savez_compressed(path, **{"0000": np.zeros(1 << 27, np.uint8)})
    with pytest.raises(UserError, match="unpacks"):
        checkpoint.read(path)


def test_what_a_model_holds_itself_is_read(made, tmp_path):
    words = keras.layers.StringLookup(vocabulary=["a", "b"])
    inputs = keras.Input((1,), dtype="string")
    keras.Model(inputs, words(inputs)).save(tmp_path / "words.keras")
    assert loading.load(tmp_path / "words.keras").layers[-1].vocabulary_size() == 3
    for name in ("model.keras", "model.h5"):
        assert loading.load(made / name).output_shape == (None, 3)
    loading.check_weights(made / "of.weights.h5")


# SavedModels run where they come from here -------------------------------------------


def as_written(folder):
    pass


def edited_card(folder):
    (folder / "card.json").write_text("{}")


def changed_variables(folder):
    (path,) = (folder / "variables").glob("*.data-*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def changed_graph(folder):
    with (folder / "saved_model.pb").open("ab") as file:
        file.write(b"\0")


def added_file(folder):
    (folder / "assets" / "more").mkdir(parents=True)
    (folder / "assets" / "more" / "rules").write_text("")


def linked_variables(folder):
    (folder / "variables").rename(folder.with_name("variables"))
    (folder / "variables").symlink_to(folder.with_name("variables"))


def pipe_inside(folder):
    os.mkfifo(folder / "saved_model.cpb")


def own_card_of_a_stranger(folder):
    """Lists its files, as exports' cards do, and whatever else it likes."""
    changed_variables(folder)
    (folder / "card.json").unlink()
    cards.write_folder_card(folder, {"kind": "student"})


FOREIGN = (changed_variables, changed_graph, added_file, linked_variables)
FOREIGN += (pipe_inside, own_card_of_a_stranger)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("change", [as_written, edited_card, *FOREIGN])
def test_a_saved_model_is_trusted_to_the_byte(change, made, tmp_path):
    path = tmp_path / "saved_model"
    shutil.copytree(made / "saved_model", path)
    change(path)
    with trust.trusting(workdir=made.parent):
        if change not in FOREIGN:
            assert saved.model_of(path).output_shape == (None, 3)
            return
        with pytest.raises(UserError, match="saved_models=True"):
            saved.model_of(path)


def by_another_workdir(made, tmp_path):
    return trust.trusting(workdir=tmp_path)


def by_no_workdir(made, tmp_path):
    return trust.trusting()


@pytest.mark.parametrize("rule", [by_another_workdir, by_no_workdir])
def test_the_line_names_the_keras_file_beside(rule, made, tmp_path):
    ways = (
        lambda path: trust.require_trust(path),
        lambda path: saved.model_of(path),
        lambda path: language_export.SavedLanguageModel(path),
        lambda path: adapting.read(path, image_shape=(8, 8, 3), num_classes=3),
    )
    for way in ways:
        with rule(made, tmp_path), pytest.raises(UserError) as raised:
            way(made / "saved_model")
        for part in (str(made / "model.keras"), "saved_models=True"):
            assert part in str(raised.value)


def test_a_keras_file_that_holds_a_saved_model(made, tmp_path):
    with trust.trusting(workdir=made.parent):
        saved.model_of(made / "saved_model").save(tmp_path / "model.keras")
        assert loading.load(tmp_path / "model.keras").output_shape == (None, 3)
    for rule in (by_another_workdir, by_no_workdir):
        with rule(made, tmp_path), pytest.raises(UserError, match="saved_models=True"):
            loading.load(tmp_path / "model.keras")
    with trust.trusting(True):
        loading.load(tmp_path / "model.keras")


def test_only_saved_models_are_noted(made, tmp_path):
    trust.remember(files.sha256_files(made), workdir=tmp_path)
    assert not (tmp_path / trust.FOLDER).exists()
    trust.remember(files.sha256_files(made / "saved_model"), workdir=tmp_path)
    with trust.trusting(workdir=tmp_path):
        trust.require_trust(made / "saved_model")
