"""completion: what a shell does with the script."""

import shutil
import subprocess

import pytest

from kerasdistill.cli.__main__ import main

ASK = """
source {script}
COMP_WORDS=({words} '')
COMP_CWORD={place}
COMPREPLY=()
$(complete -p kerasdistill | sed 's/.*-F \\([^ ]*\\).*/\\1/') kerasdistill '' last
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def script(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "completion.bash"
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("kerasdistill", {"student", "report", "reproduce", "doctor"}),
        ("kerasdistill runs", {"list", "clean"}),
        ("kerasdistill student --loss", {"kd", "logit-regression"}),
    ],
)
def test_bash_completes_verbs_and_choices(script, words, expected):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    ask = ASK.format(script=script, words=words, place=len(words.split()))
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True)
    assert expected <= set(done.stdout.split()), done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_the_verbs_and_options(shell, capsys):
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "reproduce" in out and "distillation-set" in out


def test_another_shell_is_refused(capsys):
    assert main(["completion", "cmd"]) == 2
    assert "invalid choice" in capsys.readouterr().err
