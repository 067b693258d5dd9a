"""The grammar alone; nothing heavy is imported."""

import pytest

from kerasdistill.cli import arguments
from kerasdistill.errors import UserError


def test_defaults_of_every_verb():
    asked = arguments.parse(["baseline"])
    assert (asked.workdir, asked.dataset) == ("runs", "cifar10")
    assert (asked.seed, asked.split_seed, asked.precision) == (0, 0, "auto")
    assert (asked.quick, asked.json, asked.data_dir) == (False, False, None)


def test_widths_are_read_as_numbers():
    asked = arguments.parse(["teacher", "--filters", "8,16,24", "--dense", "32"])
    assert (asked.filters, asked.dense) == ((8, 16, 24), 32)


def test_precompute_keeps_foreign_options_for_beam():
    words = "precompute --teacher t --runner FlinkRunner -- --odd".split()
    asked = arguments.parse(words)
    assert asked.beam_arguments == ["--runner", "FlinkRunner"]
    assert asked.beam_unchecked == ["--odd"]
    assert "--passes" in asked.own_options


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "VERB"),
        ("stuent --budget 1M", "invalid choice: 'stuent'"),
        ("student --budgt 1M", "did you mean --budget?"),
        ("student --epoch 3", "did you mean --epochs?"),
        ("student --budget 1M --convs 3 extra", "'extra'"),
        ("student --convs 3 --hidden 2", "not allowed with"),
        ("student --teachers 2 --teacher a.keras", "not allowed with"),
        ("student --epochs 0", "whole number above 0"),
        ("student --seed -1", "whole number from 0"),
        ("student --learning-rate 0", "number above 0"),
        ("student --learning-rate nan", "number above 0"),
        ("student --alpha 1.5", "from 0 to 1"),
        ("student --kernel 4", "invalid choice: 4"),
        ("student --precision float64", "float64"),
        ("teacher --filters 8,x,9", "'x'"),
        ("precompute --passes 3", "--teacher"),
        ("student --budget 1M -- --odd", "'--odd'"),
    ],
)
def test_bad_lines(line, expected):
    with pytest.raises(UserError) as caught:
        arguments.parse(line.split())
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
