"""A chief that is killed at each of its writes, and one that takes over."""

import json
import shutil

import pytest

from kerasdistill.errors import StaleArtifactError
from tuners import handover

from . import search_program as program

pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"
)


WRITES = 12  # of `play`: two to begin a trial, one for its metrics, two to end it


class KilledError(Exception):
    """Stands for a SIGKILL: nothing after it is done."""


def play(oracle) -> None:
    """Two trials, one after the other, and a third that is begun."""
    for number in range(3):
        trial = oracle.create_trial("1")
        if number < 2:
            oracle.update_trial(trial.trial_id, {"score": number / 2})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)


def killed_after(writes: int, folder) -> bool:
    """Plays with an oracle that is killed at its next write; False if it lived."""
    oracle = program.make_oracle(folder)
    left = writes

    def counted(write):
        def writing(*arguments):
            nonlocal left
            if not left:
                raise KilledError
            left -= 1
            write(*arguments)

        return writing

    oracle.save, oracle._save_trial = counted(oracle.save), counted(oracle._save_trial)
    try:
        play(oracle)
    except KilledError:
        return True
    return False


@pytest.mark.parametrize("writes", range(WRITES + 1))
def test_no_trial_is_lost_or_run_twice_whatever_write_was_the_last(writes, tmp_path):
    assert killed_after(writes, tmp_path) == (writes < WRITES)
    oracle = program.make_oracle(tmp_path)
    handover.resume(oracle)
    before = set(oracle.end_order)
    ids = [trial.trial_id for trial in oracle.trials.values()]
    completed = {i for i in ids if oracle.trials[i].status == "COMPLETED"}
    assert before == completed
    running = [trial.trial_id for trial in oracle.ongoing_trials.values()]
    assert sorted([*oracle.end_order, *running, *oracle._retry_queue]) == sorted(ids)
    for worker in ("1", "2"):  # the one that had a trial, and another
        while (trial := oracle.create_trial(worker)).status == "RUNNING":
            assert trial.trial_id not in before
            oracle.update_trial(trial.trial_id, {"score": 0.5})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
    assert len(oracle.end_order) == len(set(oracle.end_order)) == program.TRIALS
    values = [trial.hyperparameters.values for trial in oracle.trials.values()]
    assert len({json.dumps(each, sort_keys=True) for each in values}) == program.TRIALS


def test_running_trials_stay_with_their_workers(tmp_path):
    oracle = program.make_oracle(tmp_path)
    given = {name: oracle.create_trial(name).trial_id for name in ("1", "2")}
    again = program.make_oracle(tmp_path)
    handover.resume(again)
    for name, trial_id in given.items():
        assert again.create_trial(name).trial_id == trial_id
    assert again.create_trial("3").trial_id == "2"


def test_the_display_knows_the_trials_of_an_earlier_chief(tmp_path, capsys):
    oracle = program.make_oracle(tmp_path)
    oracle.verbose = 1
    oracle.create_trial("1")
    again = program.make_oracle(tmp_path)
    again.verbose = 1
    handover.resume(again)
    trial = again.create_trial("1")
    again.update_trial(trial.trial_id, {"score": 0.5})
    trial.status = "COMPLETED"
    again.end_trial(trial)
    assert again.ongoing_trials == {}
    assert "Trial 1 Complete" in capsys.readouterr().out


def test_what_a_worker_told_of_its_trial_counts(tmp_path):
    oracle = program.make_oracle(tmp_path)
    trial = oracle.create_trial("1")
    oracle.update_trial(trial.trial_id, {"score": 0.75})
    again = program.make_oracle(tmp_path)
    handover.resume(again)
    trial.status = "COMPLETED"
    again.end_trial(trial)
    assert again.get_best_trials()[0].score == 0.75


def test_files_that_workers_are_writing_stay(tmp_path):
    oracle = program.make_oracle(tmp_path)
    oracle.create_trial("1")
    folder = tmp_path / "search" / "trial_0"
    theirs, ours = folder / ".7.partial.model.keras", folder / ".8.partial.trial.json"
    for path in (theirs, ours):
        path.touch()
    handover.resume(program.make_oracle(tmp_path))
    assert theirs.exists() and not ours.exists()


@pytest.mark.parametrize("name", ["oracle.json", "trial_0/trial.json"])
def test_half_a_file_is_named(name, tmp_path):
    oracle = program.make_oracle(tmp_path)
    oracle.create_trial("1")
    path = tmp_path / "search" / name
    path.write_text(path.read_text()[:-20])
    with pytest.raises(StaleArtifactError, match=f"{name} is damaged"):
        handover.resume(program.make_oracle(tmp_path))


def test_a_fresh_folder_is_nothing_to_resume(tmp_path):
    shutil.rmtree(tmp_path)
    oracle = program.make_oracle(tmp_path)
    handover.resume(oracle)
    assert oracle.trials == {} and oracle._retry_queue == []
