"""What `doctor` finds, where it is so and where it is not."""

import json
import subprocess
import sys

import pytest

from kerasdistill import doctor, machine, packages
from kerasdistill.cli.__main__ import main


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def examined(tmp_path, **changes):
    found = doctor.examine(workdir=str(tmp_path), data_dir=str(tmp_path), **changes)
    return found, {check["check"]: check for check in found["checks"]}


def test_this_installation_works(tmp_path, capsys):
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    (tmp_path / "cifar10" / "3.0.2" / "dataset_info.json").write_text("{}")
    found, checks = examined(tmp_path)
    assert found["works"] and found["devices"] == ["CPU"]
    assert checks["tensorflow"]["status"] == "ok" and "2.21" in str(checks)
    assert checks["same bits"]["status"] == "ok"
    assert found["precision"] in checks["processor"]["advice"]
    data = [each for each in found["checks"] if each["check"] == "data"]
    assert data[0]["found"].startswith("cifar10 prepared") and not data[0]["advice"]
    assert main(["doctor", "--workdir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["works"] is True
    assert main(["doctor", "--workdir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("this installation works\n")


def test_what_is_missing_or_untested(tmp_path, capsys, monkeypatch):
    versions = {"keras_tuner": None, "keras": "3.99.0", "matplotlib": "9.0"}

    def version(module):
        return versions[module] if module in versions else real(module)

    real = packages.version
    monkeypatch.setattr(packages, "version", version)
    found, checks = examined(tmp_path)
    assert found["works"]
    assert checks["keras-tuner"]["status"] == "warning"
    assert "pip install 'keras-tuner" in checks["keras-tuner"]["advice"]
    assert checks["keras"]["status"] == "warning" and "3.99.0" in str(checks["keras"])
    assert checks["matplotlib"]["status"] == "warning"
    same = checks["same bits"]
    assert same["status"] == "warning" and same["found"].startswith("keras 3.99.0")
    versions["tensorflow"] = None
    found, checks = examined(tmp_path)
    assert not found["works"] and checks["tensorflow"]["status"] == "failure"
    assert main(["doctor", "--workdir", str(tmp_path)]) == 1
    assert "cannot work as it is" in capsys.readouterr().out


def test_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(machine, "instructions", lambda: [])
    monkeypatch.setattr(machine, "free_bytes", lambda: 10**9)
    usage = type("Usage", (), {"free": 10**9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    found, checks = examined(tmp_path)
    assert found["works"] and found["precision"] == "float32"
    for name in ("backend", "processor", "memory", "disk"):
        assert checks[name]["status"] == "warning" and checks[name]["advice"]
    monkeypatch.setattr(machine, "instructions", lambda: ["avx2", "amx_bf16"])
    assert examined(tmp_path)[0]["precision"] == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{"devices": ["G"], "kind": "gpu", "precision": "x"}', "ok"),
        ('{"devices": ["C"], "kind": "cpu", "precision": "x"}', "warning"),
        ("", "failure"),
    ],
)
def test_a_gpu_is_asked_for_in_another_process(tmp_path, monkeypatch, answer, status):
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    done = subprocess.CompletedProcess([], 0, stdout=f"noise\n{answer}", stderr="why")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)
    found, checks = examined(tmp_path)
    assert checks["tensorflow starts"]["status"] == status
    assert found["works"] == (status != "failure")
    assert (found["precision"] == "x") == (status != "failure")


def only_jax_is(monkeypatch, there):
    """Whether JAX is installed; the others stay as they are."""
    real = doctor.packages.is_installed
    monkeypatch.setattr(
        doctor.packages, "is_installed", lambda n: there if n == "jax" else real(n)
    )


def test_a_gpu_that_jax_sees_is_advised(tmp_path, monkeypatch):
    def started(command, *, env, **_):
        kind = "gpu" if env["KERAS_BACKEND"] == "jax" else "cpu"
        answer = {"devices": [kind], "kind": kind, "precision": "x"}
        return subprocess.CompletedProcess(command, 0, json.dumps(answer), "")

    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    monkeypatch.setattr(doctor.subprocess, "run", started)
    only_jax_is(monkeypatch, True)
    _, checks = examined(tmp_path)
    assert "KERAS_BACKEND=jax" in checks["tensorflow starts"]["advice"]


@pytest.mark.parametrize(("found", "status"), [(True, "ok"), (False, "failure")])
def test_jax_is_an_engine_where_it_is_installed(tmp_path, monkeypatch, found, status):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    only_jax_is(monkeypatch, found)
    report, checks = examined(tmp_path)
    assert checks["backend"]["status"] == status
    assert report["works"] == found


def test_neither_doctor_nor_runs_starts_tensorflow(tmp_path):
    code = (
        "import sys; from kerasdistill.cli.__main__ import main; "
        f"where = ['--workdir', {str(tmp_path)!r}, '--json']; "
        "main(['doctor', *where]); main(['runs', 'list', *where]); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
