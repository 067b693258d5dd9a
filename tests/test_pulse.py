"""Who lives, judged by counts that each keeps in a file."""

from kerasdistill.pulse import Pulse
from tests.clusters import wait_for


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_judged_by_the_readers_own_clock(tmp_path):
    clock = Clock()
    pulse = Pulse(tmp_path, clock=clock)
    both = {"slow", "gone"}
    for now, count, silent in (
        (0, "7", set()),
        (9, "8", set()),
        (11, "8", {"gone"}),
        (19, "8", {"gone"}),
        (20, "8", {"gone", "slow"}),
        (21, "9", {"gone"}),  # it woke up
    ):
        clock.now = now
        (pulse.folder / "slow").write_text(count)
        assert pulse.silent(both, seconds=10) == silent


def test_a_session_beats_while_it_lasts(tmp_path):
    pulse = Pulse(tmp_path)
    with pulse.beating("a-1", seconds=0.01):
        file = pulse.folder / "a-1"
        wait_for(lambda: file.exists() and int(file.read_text() or 0) > 2)
    assert list(tmp_path.iterdir()) == []


def test_a_session_whose_folder_is_gone_stops_beating(tmp_path):
    pulse = Pulse(tmp_path / "job")
    with pulse.beating("a-1", seconds=0.01):
        wait_for((pulse.folder / "a-1").exists)
        pulse.folder.rename(tmp_path / "gone")
    assert not pulse.folder.exists()
