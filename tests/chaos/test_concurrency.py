"""Two at once: in one run's folder, after a dead one, and on one distillation set."""

import shutil
from pathlib import Path

import pytest

from kerasdistill.files import replacing_directory
from tests.chaos.harness import outcome
from tests.chaos.table import VERBS

STUDENT = VERBS["student"].line


def test_a_second_process_stops_at_once(server, inputs, tmp_path):
    cwd = tmp_path / "cwd"
    line = inputs.fill(STUDENT)
    first, second = server.together([(line, cwd), (line, cwd)], later=0.2)
    early, late = sorted((first, second), key=lambda ended: ended.rc)
    assert early.rc == 0, early.said[-2000:]
    assert late.rc == 2 and late.seconds < early.seconds
    assert "is in use by another process; wait" in late.error
    assert outcome(cwd)  # and what the first made is whole
    again = server.run(line, cwd)
    assert again.answer["weights_digest"] == early.answer["weights_digest"]


def test_what_a_dead_process_left_is_taken_over(server, inputs, tmp_path):
    """A lock file alone holds nobody up, nor does half a file in another's name."""
    cwd = tmp_path / "cwd"
    line = inputs.fill("ensemble --teacher {teacher}")
    whole = server.run(line, cwd)
    run = next((cwd / "runs").glob("ensemble-*"))
    expected = outcome(cwd)
    for name in ("results.json", "model.keras"):
        (run / name).unlink()
    (run / "lock").write_text("12345\n")
    (run / ".12345.partial.model.keras").write_bytes(b"half")
    (run / ".partial.saved_model.abcdefgh").mkdir()
    again = server.run(line, cwd)
    assert again.rc == whole.rc == 0
    assert outcome(cwd) == expected


@pytest.mark.slow
def test_two_students_read_one_set(server, inputs, undisturbed, tmp_path):
    stored = Path(shutil.copytree(inputs.images, tmp_path / "set"))
    line = inputs.fill(STUDENT).replace(inputs.images, str(stored))
    alone, _ = undisturbed("student")
    pair = server.together([(line, tmp_path / "one"), (line, tmp_path / "two")])
    digests = {ended.answer["weights_digest"] for ended in (alone, *pair)}
    assert len(digests) == 1


def test_exports_clean_up_after_the_dead_only(tmp_path):
    """A folder that a living process writes to is held by it."""
    target = tmp_path / "saved_models" / "name"
    target.parent.mkdir()
    dead = target.parent / ".partial.name.abcdefgh"
    dead.mkdir()
    (dead / "half").write_text("half")
    with replacing_directory(target) as beside:
        assert not dead.exists()
        (beside / "whole").write_text("whole")
        with replacing_directory(target) as other:  # at the same time
            (other / "whole").write_text("other")
        assert (target / "whole").read_text() == "other" and beside.exists()
    assert (target / "whole").read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["name"]
