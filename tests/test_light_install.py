"""What works without the packages that only some verbs need, and what is said of them.

`pip install --no-deps .` with TensorFlow, Keras and NumPy is a promise to those who
want models, losses, shells and the reader (docs/dependencies.md).
"""

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kerasdistill.doctor import LIGHT

ROOT = Path(__file__).resolve().parents[1]
OURS = ("kerasdistill", "pipelines", "tuners")
# What TensorFlow and Keras bring themselves: pip installs it with them.
WITH_THEM = {*LIGHT, "h5py", "packaging", "rich", "requests"}
COMMAND_LINE = {*WITH_THEM, "scipy"}
# By what is imported: what may come with it at once. All else comes on use.
IMPORTS = {
    "kerasdistill.cli.__main__": set(),
    "kerasdistill.cli.light": set(),
    "kerasdistill.doctor": {"packaging"},
    "kerasdistill.reports.overview": {"numpy"},
    "kerasdistill.recipes.urban2017": set(),
    "pipelines.datasets": {"numpy"},
    "kerasdistill.models.build": WITH_THEM,
    "kerasdistill.losses": WITH_THEM,
    "kerasdistill.training.keras_losses": WITH_THEM,
    "kerasdistill.training.distillation_models": WITH_THEM,
    "kerasdistill.training.born_again_models": WITH_THEM,
    "pipelines.distillation_set": WITH_THEM,
    "kerasdistill.cli.commands": COMMAND_LINE,
    "kerasdistill.experiments.teacher": COMMAND_LINE,
    "kerasdistill.experiments.ensemble": COMMAND_LINE,
    "kerasdistill.experiments.student": COMMAND_LINE,
    "kerasdistill.experiments.chain": COMMAND_LINE,
    "kerasdistill.experiments.precompute": COMMAND_LINE,
    "kerasdistill.experiments.verify": COMMAND_LINE,
    "kerasdistill.experiments.inspection": COMMAND_LINE,
    "kerasdistill.experiments.exporting": COMMAND_LINE,
    "kerasdistill.experiments.born_again.story": COMMAND_LINE,
    "kerasdistill.experiments.language.model": COMMAND_LINE,
}


def source_of(module: str) -> Path | None:
    """The file of one of our modules."""
    path = ROOT / module.replace(".", "/")
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


@functools.cache
def imported_at_once(module: str) -> frozenset[str]:
    """The modules that a file of ours imports when it is imported, not in functions."""
    if (file := source_of(module)) is None:
        return frozenset()
    todo, names = list(ast.parse(file.read_text(encoding="utf-8")).body), set()
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names |= {f"{node.module}.{each.name}" for each in node.names}
        todo += ast.iter_child_nodes(node)
    return frozenset(names)


def closure(module: str) -> set[str]:
    """The packages of others that come with a module of ours."""
    seen, todo = set(), [module]
    while todo:
        parts = todo.pop().split(".")
        for name in (".".join(parts[: n + 1]) for n in range(len(parts))):
            if name not in seen:
                seen.add(name)
                todo += imported_at_once(name) if parts[0] in OURS else ()
    packages = {name.split(".")[0] for name in seen} - set(OURS)
    return packages - sys.stdlib_module_names


@pytest.mark.parametrize("module", IMPORTS)
def test_what_is_imported_at_once(module):
    assert source_of(module) is not None
    assert closure(module) - IMPORTS[module] == set()


BLOCKER = """
import json, sys, warnings

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""
COMMANDS = """
from kerasdistill.cli.__main__ import main
codes = []
for line in json.loads(sys.argv[1]):
    print("next", file=sys.stderr)
    codes.append(main(line))
print(json.dumps(codes))
"""


def python(code: str, *arguments: str, blocked: set[str], cwd: Path) -> tuple[str, str]:
    """What a program prints, on stdout and stderr, where packages are missing."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER.format(blocked=blocked) + code, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def commands(*lines: str, blocked: set[str], cwd: Path) -> list[tuple[int, str]]:
    """Of command lines, one after the other: exit code and what stderr says."""
    words = json.dumps([line.split() for line in lines])
    out, said = python(COMMANDS, words, blocked=blocked, cwd=cwd)
    codes = json.loads(out.splitlines()[-1])
    return list(zip(codes, said.split("next\n")[1:], strict=True))


HEAVY = set("apache_beam tensorflow_datasets keras_tuner sklearn scipy PIL".split())
HEAVY |= {"matplotlib", "tensorboard", "tensorflow", "keras", "onnx", "ai_edge_litert"}


def test_verbs_that_count_or_look_need_none_of_them(tmp_path):
    lines = ["summary student --budget 1M --convs 3", "report"]
    lines += ["summary --arch wide-resnet-28-1 --classes 10", "completion bash"]
    done = commands(*lines, "doctor", blocked=HEAVY, cwd=tmp_path)
    assert [code for code, _ in done] == [0] * len(lines) + [1]  # no TensorFlow


#: By package: what needs it, and what goes on without it.
SMALL = "--dataset digits --quick --budget 30k --convs 2"
WITHOUT = {
    "apache_beam": (
        [
            f"student {SMALL} --teacher MODEL --force",
            f"student {SMALL} --distillation-set gs://a/set",
        ],
        [f"student {SMALL} --distillation-set SET --plan", "inspect SET"],
    ),
    "tensorflow_datasets": (
        ["teacher --dataset cifar10 --quick --data-dir empty"],
        ["teacher --dataset digits --quick --plan"],
    ),
    "keras_tuner": ([f"baseline {SMALL} --trials 2"], [f"baseline {SMALL} --plan"]),
    "sklearn": ([f"baseline {SMALL} --plan"], ["inspect SET"]),
    "PIL": ([f"baseline {SMALL} --plan"], ["report"]),
    "tensorboard": ([f"baseline {SMALL} --epochs 1"], ["evaluate MODEL"]),
    "scipy": (["evaluate MODEL"], ["report"]),
    "matplotlib": (["report --html report.html"], ["evaluate MODEL"]),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, str]:
    """A model and a distillation set, made with all packages."""
    folder, paths = tmp_path_factory.mktemp("made"), {}
    for name, field, line in (
        ("MODEL", "model", f"baseline {SMALL} --epochs 1"),
        (
            "SET",
            "distillation_set",
            "precompute --dataset digits --quick --passes 1 --force --teacher MODEL",
        ),
    ):
        line = line.replace("MODEL", paths.get("MODEL", ""))
        code = "from kerasdistill.cli.__main__ import main; main(sys.argv[1:])"
        words = [*line.split(), "--json"]
        out, _ = python(code, *words, blocked=set(), cwd=folder)
        paths[name] = str(folder / json.loads(out)[field])
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("package", WITHOUT)
def test_without_a_package(package, made, tmp_path):
    lines = [line for part in WITHOUT[package] for line in part]
    for name, path in made.items():
        lines = [line.replace(name, path) for line in lines]
    done = commands(*lines, blocked={package}, cwd=tmp_path)
    refused = done[: len(WITHOUT[package][0])]
    assert [code for code, _ in done[len(refused) :]] == [0] * (
        len(done) - len(refused)
    )
    for code, said in refused:
        (line,) = [each for each in said.splitlines() if each.startswith("error: ")]
        assert code == 2 and "Traceback" not in said
        name = package.replace("sklearn", "scikit-learn").replace("PIL", "pillow")
        assert re.search(rf"needs .*pip install '{name.replace('_', '-')}", line)


# What the list in docs/dependencies.md is for: a set, a shell, a born-again loss.
LIGHT_WORK = """
import keras, numpy as np
from kerasdistill import losses
from kerasdistill.budget import Budget
from kerasdistill.models.build import build
from kerasdistill.recipes import urban2017
from kerasdistill.training import born_again_models, distillation_models, keras_losses
from pipelines import distillation_set

batches = distillation_set.open(sys.argv[1]).dataset(batch_size=64)
shape = {"image_shape": (32, 32, 3), "num_classes": 10}
recipe = urban2017.student(budget=Budget(30_000), convs=2, **shape)
student = build(recipe.architecture, **shape, seed=0)
for shell in (
    distillation_models.LogitRegressionModel(student),
    distillation_models.KnowledgeDistillationModel(student, temperature=2, alpha=0.5),
    born_again_models.BornAgainModel(student),
):
    shell.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True))
    history = shell.fit(batches.take(2), verbose=0).history
    assert np.isfinite(history["loss"]).all()
student.save(sys.argv[2])
print(len(batches.take(2).as_numpy_iterator().next()["image"]))
"""
# All that is not in the list, whatever TensorFlow and Keras would do with it.
NOT_LIGHT = HEAVY - {"tensorflow", "keras"}
NOT_LIGHT |= {"threadpoolctl", "importlib_resources", "shtab", "tqdm"}


@pytest.mark.slow
def test_models_shells_and_the_reader_need_three_packages(made, tmp_path):
    saved = str(tmp_path / "student.keras")
    out, _ = python(LIGHT_WORK, made["SET"], saved, blocked=NOT_LIGHT, cwd=tmp_path)
    assert out.splitlines()[-1] == "64" and Path(saved).is_file()


@pytest.mark.slow
def test_an_environment_with_three_packages(made, wheel, tmp_path):
    """TensorFlow comes as tensorflow-cpu here."""
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    (needs,) = re.findall(r"pip install --no-deps \.\npip install (.+)\n", page)
    install, run = [sys.executable, "-m", "venv", "small"], str(tmp_path / "small/bin")
    subprocess.run(install, cwd=tmp_path, check=True)
    pip = [f"{run}/python", "-m", "pip", "install", "--quiet"]
    for words in (["--no-deps", str(wheel)], needs.replace("'", "").split()):
        done = subprocess.run([*pip, *words], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"nothing can be installed here: {done.stderr[-200:]}")
    where = {"cwd": tmp_path, "capture_output": True, "text": True}
    words = [made["SET"], str(tmp_path / "student.keras")]
    work = subprocess.run(
        [f"{run}/python", "-c", "import sys\n" + LIGHT_WORK, *words], **where
    )
    assert work.returncode == 0, work.stderr
    assert not {"apache_beam", "sklearn"} & {
        p.name for p in tmp_path.glob("small/lib/*/site-packages/*")
    }
    done = subprocess.run(
        [f"{run}/kerasdistill", "precompute", "--teacher", "x"], **where
    )
    assert done.returncode == 2 and "pip install" in done.stderr.splitlines()[-1]
    done = subprocess.run([f"{run}/kerasdistill", "doctor"], **where)
    assert "tensorflow: 2." in done.stdout and done.returncode == 0, done.stdout
