"""What changes arithmetic is ours in every process; what can't be is on record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kerasdistill import machine, runs
from kerasdistill.runs import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
STRANGE = {
    "floatx": "float16",
    "epsilon": 1e-3,
    "image_data_format": "channels_first",
    "backend": "tensorflow",
}
OURS = ["float32", 1e-7, "channels_last", "float32", None, None]
# Every kind of process of ours, by what it does at its start.
STARTS = {
    "command line": "command_line._start(deterministic=False)",
    "worker": "workers.prepare_process(workers.Process.this())",
    "probe": "probe.main('{}')",
}
SETTINGS = f"""
import json, keras
from kerasdistill.cli import __main__ as command_line
from pipelines.beam import probe, workers
probe.timed = lambda request: probe.WorkerSpeed(1.0, 1.0)
use, found = keras.config, {{}}
assert use.floatx() == "float16" and use.max_epochs() == 1
for name, start in {STARTS!r}.items():
    use.set_floatx("float16")
    use.set_dtype_policy("mixed_float16")
    use.set_epsilon(1e-3)
    use.set_image_data_format("channels_first")
    use.set_max_epochs(1)
    use.set_max_steps_per_epoch(1)
    exec(start)
    found[name] = [use.floatx(), use.epsilon(), use.image_data_format(),
        use.dtype_policy().name, use.max_epochs(), use.max_steps_per_epoch()]
print(json.dumps(found))
"""


@pytest.fixture
def keras_home(tmp_path):
    """The function that writes a keras.json; gives the environment of a process."""

    def make(**settings) -> dict[str, str]:
        (tmp_path / "keras.json").write_text(json.dumps(settings))
        debugging = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
        # As on a machine where nobody has chosen a backend.
        mine = {
            name: each for name, each in os.environ.items() if "BACKEND" not in name
        }
        ours = {"KERAS_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        return {**mine, **debugging, **ours}

    return make


def in_a_process(code: str, env: dict[str, str]):
    """What a program prints last, as JSON."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_process_computes_as_ours(keras_home):
    found = in_a_process(SETTINGS, keras_home(**STRANGE))
    assert found == dict.fromkeys(STARTS, OURS)


@pytest.mark.parametrize(
    ("setting", "variable", "backend"),
    [
        ({}, None, "tensorflow"),
        ({"backend": "jax"}, None, "jax"),
        ({"backend": "jax"}, "torch", "torch"),
        ({"backend": "jax"}, "", "jax"),
        ({"floatx": "float16"}, None, "tensorflow"),
    ],
)
def test_the_backend_is_known_without_keras(setting, variable, backend, keras_home):
    env = keras_home(**setting)
    if variable is not None:
        env["KERAS_BACKEND"] = variable
    code = (
        "import json; from kerasdistill.runs import RunDirectory, environment\n"
        "run = RunDirectory.open('runs', 'teacher', {'a': 1})\n"
        "print(json.dumps([environment()['backend'], run.path.name]))"
    )
    named, folder = in_a_process(code, env)
    assert named == backend
    ours = RunDirectory.open("runs", "teacher", {"a": 1}).path.name
    assert (folder == ours) == (backend == machine.DEFAULT_BACKEND)


def begun(workdir, **changes) -> RunDirectory:
    """A run that was begun in another environment."""
    with RunDirectory.open(workdir, "teacher", {"a": 1}) as run:
        file = run.path / "environment.json"
        environment = json.loads(file.read_text())
        packages = environment["packages"] | changes.pop("packages", {})
        environment |= {"packages": packages, **changes}
        kept = {name: each for name, each in environment.items() if each is not None}
        file.write_text(json.dumps(kept))
    return RunDirectory.open(workdir, "teacher", {"a": 1})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, ""),
        ({"kerasdistill": "0.0.1"}, "kerasdistill 0.0.1"),
        ({"packages": {"numpy": "1.0"}}, "numpy 1.0"),
        ({"packages": {"apache-beam": "1.0"}}, ""),
        ({"backend": "jax"}, "backend jax"),
        ({"kerasdistill": None, "backend": None}, ""),  # older versions noted neither
        ({"command": ["another"]}, ""),
        ({"packages": None}, ""),
    ],
)
def test_other_code_is_named_when_a_run_goes_on(changes, named, tmp_path, capsys):
    if changes == {"packages": None}:
        run = begun(tmp_path)
        (run.path / "environment.json").write_text("[damaged")
    else:
        run = begun(tmp_path, **changes)
    with run:
        assert run.results() is None
    err = capsys.readouterr().err
    assert named in err and err.count("\n") == bool(named)
    assert json.loads((run.path / "environment.json").read_text()) == runs.environment()


def test_a_finished_run_names_no_code(tmp_path, capsys):
    with RunDirectory.open(tmp_path, "teacher", {"a": 1}) as run:
        run.finish({"accuracy": 0.5})
    with begun(tmp_path, kerasdistill="0.0.1"):
        assert not capsys.readouterr().err
