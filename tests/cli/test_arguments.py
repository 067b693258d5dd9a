"""The grammar alone; nothing heavy is imported."""

import pytest

from kerasdistill.cli import arguments, belonging, looking_options
from kerasdistill.errors import UserError


def test_defaults_of_every_verb():
    asked = arguments.parse(["baseline"])
    assert (asked.workdir, asked.dataset) == ("runs", "cifar10")
    assert (asked.seed, asked.split_seed, asked.precision) == (0, 0, "auto")
    assert (asked.quick, asked.json, asked.data_dir) == (False, False, None)
    assert (asked.image_size, asked.kernel) == (None, 5)
    assert arguments.image_shape(asked) == (32, 32, 3)
    assert arguments.parse(["student"]).teacher_output is None


def test_how_models_are_read_is_what_the_adapter_knows():
    """The grammar imports nothing heavy, and so repeats the names."""
    from kerasdistill.models import wrapping

    assert looking_options.OUTPUTS == tuple(wrapping.OUTPUTS)
    assert looking_options.INPUTS == tuple(wrapping.INPUTS)


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


@pytest.mark.parametrize(
    ("line", "option", "where"),
    [
        ("student --budget 1M --hidden 2 --kernel 3", "--kernel", "--convs"),
        ("student --budget 1M --hidden 2 --kernel 5", "--kernel", "--convs"),
        ("student --student keras:X --kernel 3", "--kernel", "--convs"),
        ("student --recipe r.json --kernel 3", "--kernel", "--convs"),
        ("student --preset snn-ecnn-mimic-30k --kernel 3", "--kernel", "--convs"),
        ("baseline --budget 10M --hidden 1 --kernel 3", "--kernel", "--convs"),
        ("student --distillation-set s --store replay", "--store", "made here"),
        ("student --distillation-set s --force", "--force", "made here"),
        ("student --distillation-set s --weights w.h5", "--weights", "--teacher"),
        ("student --teachers 1 --teacher-output logits", "--teacher-output", "PATH"),
        ("ensemble --from-search s --weights w.h5", "--weights", "--teacher PATH"),
        ("summary student --budget 1M --convs 2 --dense 8", "--dense", "teacher"),
        ("summary teacher --budget 1M", "--budget", "summary student"),
        ("summary --arch lstm --vocabulary 9 --convs 1", "--convs", "student"),
        ("summary teacher --kernel 3", "--kernel", "summary student"),
        ("summary teacher --exact-widths", "--exact-widths", "summary student"),
        ("student --recipe r.json --exact-widths", "--exact-widths", "--recipe"),
        ("baseline --recipe r.json --exact-widths", "--exact-widths", "--recipe"),
        ("student --preset snn-ecnn-mimic-30k --exact-widths", "--exact-widths", "--"),
        ("reproduce ban-table-1 --exact-widths", "--exact-widths", "urban-table-1"),
        ("summary student --budget 1M --hidden 1 --kernel 3", "--kernel", "--convs"),
        ("summary --arch wide-resnet-10-1 --layers 2", "--layers", "lstm"),
        ("language-model --image-size 32", "--image-size", "--data-dir"),
        ("language-model --grey", "--grey", "--data-dir"),
        (
            "language-model --teacher t --distillation-set s --teacher-signal live",
            "--distillation-set",
            "stored",
        ),
        (
            "language-model --teacher t --distillation-set s --store-top-k 9",
            "--store-top-k",
            "made here",
        ),
    ],
)
def test_an_option_without_effect_is_refused(line, option, where):
    with pytest.raises(UserError) as caught:
        arguments.parse(line.split())
    message = str(caught.value)
    assert message.startswith(f"{option} belongs to ") and where in message


@pytest.mark.parametrize(
    "line",
    [
        "student --budget 1M --convs 2 --kernel 3",
        "baseline --budget 1M --hidden 2 --exact-widths --trials 2",
        "summary student --budget 1M --convs 2 --exact-widths",
        "reproduce urban-figure-1 --exact-widths",
        "student --loss kd --temperature 2 --alpha 0.5 --teachers 1 --store replay",
        "student --recipe kd.json --temperature 2",
        "student --teacher t.keras --teacher-output probabilities --force",
        "summary student --budget 1M --convs 2 --kernel 3",
        "summary --arch lstm --vocabulary 9 --layers 1",
        "ensemble --teacher keras:X --weights w.h5",
        "language-model --teacher t --distillation-set s --teacher-signal stored "
        "--generations 2 --store-top-k 9",
    ],
)
def test_an_option_with_effect_is_taken(line):
    arguments.parse(line.split())


def test_every_rule_names_options_of_its_verb():
    verbs = arguments.build_parser()._subparsers._group_actions[0].choices
    for verb, rules in belonging.RULES.items():
        own = {action.dest: action for action in verbs[verb]._actions}
        for name in (n for options, _, _ in rules for n in options.split()):
            assert own[name].default in (None, False, ()), (verb, name)
