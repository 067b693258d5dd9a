import dataclasses
import json

from kerasdistill.training.schedules import PaperSchedule


def follow(errors):
    """The states after each epoch, up to the one that stops."""
    states = [PaperSchedule()]
    for error in errors:
        states.append(states[-1].after(error))
        if states[-1].stop:
            break
    return states[1:]


def halved_after(states):
    before = [0, *(state.halvings for state in states)]
    return [s.epoch for s, n in zip(states, before, strict=False) if s.halvings > n]


def test_flat_curve_after_epoch_1():
    states = follow([0.5] * 100)
    assert halved_after(states) == [11, 20, 29]
    assert len(states) == 31
    assert [state.factor for state in states[9:12]] == [1.0, 0.5, 0.5]
    assert states[-1].factor == 1 / 8
    assert states[-1].best_epoch == 1


def test_a_worse_curve_counts_like_a_flat_one():
    worse = follow([0.1] + [0.2 + 0.01 * epoch for epoch in range(99)])
    assert halved_after(worse) == [11, 20, 29]
    assert len(worse) == 31


def test_equal_error_is_no_drop_and_one_image_is():
    equal = follow([0.5] * 6 + [0.5] * 5)
    assert equal[-1].best_epoch == 1
    assert equal[-1].halvings == 1
    one_image = follow([0.5] * 6 + [0.5 - 1e-4] + [0.5] * 4)
    assert one_image[-1].best_epoch == 7
    assert one_image[-1].halvings == 0


def test_a_drop_starts_the_count_again():
    states = follow([0.5] * 9 + [0.4] + [0.4] * 30)
    assert halved_after(states) == [20, 29, 38]
    assert len(states) == 40


def test_a_value_between_best_and_last_is_no_drop():
    states = follow([0.3, 0.6, 0.5, 0.4] + [0.35] * 7)
    assert states[-1].best_epoch == 1
    assert halved_after(states) == [11]


def test_no_halving_within_the_next_8_epochs():
    flat = follow([0.5] * 20)
    assert [state.halvings for state in flat[10:19]] == [1] * 9
    assert flat[19].halvings == 2


def test_no_halving_in_the_epoch_of_a_drop():
    states = follow([0.5] * 10 + [0.4])
    assert states[-1].halvings == 0


def test_ends_at_the_eleventh_halving():
    # A drop right after each halving: the next one comes 10 epochs after the drop.
    errors = [1.0 - epoch // 11 / 100 for epoch in range(500)]
    states = follow(errors)
    assert halved_after(states) == [11 * n for n in range(1, 12)]
    assert len(states) == 121
    assert states[-1].factor == 1 / 2048
    assert not states[-2].stop


def test_improving_forever_never_stops():
    states = follow([1.0 / epoch for epoch in range(1, 300)])
    assert len(states) == 299
    assert states[-1].factor == 1.0
    assert states[-1].best_epoch == 299


def test_state_survives_json():
    state = follow([0.5] * 15)[-1]
    read = PaperSchedule(**json.loads(json.dumps(dataclasses.asdict(state))))
    assert read == state
    assert [read.after(0.5), read.after(0.1)] == [state.after(0.5), state.after(0.1)]
