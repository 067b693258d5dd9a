import json
from dataclasses import replace

import pytest

from kerasdistill.errors import UserError
from kerasdistill.objectives import BanWithLabels
from kerasdistill.recipes import base, born_again, reading
from kerasdistill.recipes.architectures import BanResNet, DenseNet, WideResNet


def test_names_of_families():
    named = born_again.architecture
    assert named("wide-resnet-28-10") == WideResNet(units=4, width=10)
    assert named("wide-resnet-16-1") == WideResNet(units=2, width=1)
    assert named("ban-wide-resnet-4-0.5") == BanResNet("wide", 4, 0.5)
    assert named("ban-pre-resnet-14-1") == BanResNet("pre", 14, 1.0)
    standard = named("densenet-bc-100-12")
    assert standard == DenseNet(24, ((12,) * 16,) * 3, (108, 150))
    assert standard.block_outputs == (216, 300, 342)


def test_the_papers_labels():
    found = {name: born_again.architecture(name) for name in born_again.LABELS}
    assert {name: len(net.growths[0]) for name, net in found.items()} == {
        "densenet-112-33": 17,
        "densenet-90-60": 14,
        "densenet-80-80": 12,
        "densenet-80-120": 12,
    }
    teacher = found["densenet-90-60"]
    assert teacher.block_outputs == (960, 1320, 1500)
    assert teacher.transitions == (480, 660, 750) == BanResNet("wide", 1, 1.0).sizes
    assert len(found["densenet-112-33"].transitions) == 2


@pytest.mark.parametrize(
    ("factor", "units", "growth"),
    [(0.5, 7, 120), (2, 28, 30), (3, 42, 20), (4, 56, 15)],
)
def test_growth_absorbs_depth(factor, units, growth):
    teacher = born_again.architecture("densenet-90-60")
    deeper = born_again.architecture("densenet-90-60", depth_factor=factor)
    assert deeper == replace(teacher, growths=((growth,) * units,) * 3)
    assert deeper.block_outputs == teacher.block_outputs


@pytest.mark.parametrize(
    ("factor", "outputs", "transitions"),
    [
        (0.5, (480, 660, 750), (120, 165, 750)),
        (0.75, (720, 990, 1125), (270, 371, 750)),
        (1.5, (1440, 1980, 2250), (1080, 1485, 750)),
    ],
)
def test_compression_changes_sizes_and_spreads_growth(factor, outputs, transitions):
    net = born_again.architecture("densenet-90-60", compression_factor=factor)
    assert (net.block_outputs, net.transitions) == (outputs, transitions)
    assert net.stem == 120 and [len(growth) for growth in net.growths] == [14] * 3
    assert all(max(growth) - min(growth) <= 1 for growth in net.growths)


@pytest.mark.parametrize(
    ("name", "options", "fragments"),
    [
        ("wide-resnet-27-10", {}, ["27", "6n+4", "wide-resnet-28-10"]),
        ("wide-resnet-25-1", {}, ["wide-resnet-22-1 or wide-resnet-28-1"]),
        ("wide-resnet-4-1", {}, ["wide-resnet-10-1"]),
        ("wide-resnet-28-0", {}, ["has a 0"]),
        ("densenet-bc-90-60", {}, ["6n+4", "densenet-bc-88-60"]),
        ("densenet-95-60", {}, ["densenet-80-120", "densenet-bc-94-60"]),
        ("densenet-90-61", {}, ["densenet-90-60", "densenet-bc-88-61"]),
        ("ban-pre-resnet-14-0.0", {}, ["has a 0"]),
        ("resnet-50", {}, ["'resnet-50'", "wide-resnet-28-10"]),
        ("wide-resnet-16-1-2", {}, ["is not known"]),
        ("wide-resnet-16-1", {"depth_factor": 2}, ["only DenseNets"]),
        ("densenet-90-60", {"depth_factor": 0.7}, ["`depth_factor=0.7`", "whole"]),
        ("densenet-90-60", {"depth_factor": 8}, ["growth 7.5"]),
        ("densenet-90-60", {"compression_factor": 0.1}, ["`compression_factor=0.1`"]),
    ],
)
def test_bad_names_and_factors(name, options, fragments):
    with pytest.raises(UserError) as caught:
        born_again.architecture(name, **options)
    assert all(fragment in str(caught.value) for fragment in fragments), caught.value


def test_printed_counts_that_are_not_met_are_told():
    assert "6.3M" in born_again.notes("densenet-112-33")[0]
    assert "22.4M" in born_again.notes("densenet-90-60")[0]
    assert "80.5M" in born_again.notes("densenet-90-60", compression_factor=1.5)[0]
    assert "7.3M" in born_again.notes("ban-pre-resnet-14-0.5")[0]
    assert born_again.notes("wide-resnet-28-1") == []
    assert born_again.notes("densenet-90-60", depth_factor=2.0) == []


def test_the_two_styles_of_training():
    wide = born_again.recipe("wide-resnet-28-2")
    training = wide.training
    assert (training.learning_rate, training.momentum, training.decay) == (
        0.1,
        0.9,
        0.2,
    )
    assert [round(200 * each) for each in training.milestones] == [60, 120, 160]
    assert (training.epochs, training.batch_size) == (200, 128)
    assert (
        wide.architecture.weight_decay == 5e-4 and wide.architecture.dropout_rate == 0.3
    )
    assert wide.augmentation == base.CropAugmentation(pad=4, mirror=True)
    dense = born_again.recipe("densenet-90-60", style="densenet")
    assert [round(300 * each) for each in dense.training.milestones] == [150, 225]
    assert (dense.training.decay, dense.training.batch_size) == (0.1, 64)
    assert dense.architecture.weight_decay == 1e-4
    assert born_again.recipe("densenet-90-60").architecture.weight_decay == 5e-4
    with pytest.raises(UserError, match="'vgg'"):
        born_again.recipe("densenet-90-60", style="vgg")


@pytest.mark.parametrize(
    "name", ["wide-resnet-16-1", "densenet-bc-40-12", "ban-pre-resnet-14-0.5"]
)
def test_round_trip_through_json(name):
    recipe = born_again.recipe(name)
    objective = BanWithLabels(label_weight=0.5)
    training = replace(recipe.training, objective=objective, seed=3)
    recipe = replace(recipe, training=training)
    read = reading.from_json(json.loads(json.dumps(base.to_json(recipe))))
    assert read == recipe and hash(read) == hash(recipe)


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("architecture", "units", 0, "below 1"),
        ("architecture", "dropout_rate", 1.0, "dropout rate"),
        ("architecture", "depth", 28, "none of WideResNet, DenseNet, BanResNet"),
        ("training", "loss", "mse", "training.loss"),
        ("training", "objective", "ban", "training.objective is 'ban'"),
        ("training", "objective", {"name": "ban", "alpha": 1.0}, "objective.alpha"),
        ("training", "schedule", "paper", "training.schedule"),
        ("training", "decay", "x", "training.decay"),
    ],
)
def test_bad_fields(part, field, value, message):
    written = base.to_json(born_again.recipe("wide-resnet-16-1"))
    written[part][field] = value
    with pytest.raises(UserError, match=message):
        reading.from_json(written)


@pytest.mark.parametrize(
    "name",
    [
        *("wide-resnet-28-10", "wide-resnet-16-1", "densenet-bc-100-12"),
        *(*born_again.LABELS, "ban-wide-resnet-4-0.5", "ban-pre-resnet-14-1"),
    ],
)
def test_networks_know_their_names(name):
    made = born_again.recipe(name, style="densenet").architecture
    assert born_again.name_of(made) == name


def test_table_4_s_networks_have_no_names():
    assert (
        born_again.name_of(born_again.architecture("densenet-90-60", depth_factor=2))
        is None
    )


def test_ensembles():
    assert born_again.ensembles("densenet-90-60", 1) == []
    assert born_again.ensembles("densenet-90-60", 3) == [
        ("Ens*2", (1, 2)),
        ("Ens*3", (1, 2, 3)),
    ]
    assert born_again.ensembles("densenet-80-120", 2) == [
        ("Ens*2", (1, 2)),
        ("Ens*3 with teacher", (0, 1, 2)),
    ]
