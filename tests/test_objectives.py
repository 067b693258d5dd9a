"""Objectives as values: settings, needs, mixed views, and no heavy import."""

import subprocess
import sys

import numpy as np
import pytest

from kerasdistill import losses
from kerasdistill.errors import UserError
from kerasdistill.objectives import (
    OBJECTIVES,
    Ban,
    BanWithLabels,
    ConfidenceWeighted,
    HardLabel,
    KnowledgeDistillation,
    PermutedPredictions,
    on_stored_logits,
)

RANDOM = np.random.default_rng(0)
LOGITS, TEACHER = RANDOM.normal(size=(2, 4, 3)).astype(np.float32)
MIXED = {
    "teacher_logits": TEACHER,
    "label": np.array([0, 1, 2, 0]),
    "partner_label": np.array([2, 1, 0, 1]),
    "share": np.array([1.0, 0.3, 0.75, 0.0], np.float32),
}


@pytest.mark.parametrize(
    "objective",
    [
        HardLabel(),
        HardLabel(0.2),
        KnowledgeDistillation(2.0, 0.7),
        BanWithLabels(2.0, label_weight=0.5),
        ConfidenceWeighted(),
    ],
)
def test_mixed_views_have_both_labels_by_their_shares(objective):
    plain = {name: MIXED[name] for name in ("teacher_logits", "label")}

    def values(batch):
        found = objective.per_example(batch, LOGITS)
        return np.asarray(found[0] if objective.weighted else found)

    own = values(plain)
    other = values({**plain, "label": MIXED["partner_label"]})
    expected = MIXED["share"] * own + (1 - MIXED["share"]) * other
    np.testing.assert_allclose(values(MIXED), expected, rtol=1e-5)


def test_labels_are_needed_where_they_weigh_something():
    assert KnowledgeDistillation(4.0).needs == ("teacher_logits",)
    assert KnowledgeDistillation(4.0, 0.5).needs == ("label", "teacher_logits")
    assert not HardLabel().learns_from_teacher
    assert on_stored_logits() == [name for name in OBJECTIVES if name != "hard-label"]
    assert PermutedPredictions().needs_step
    assert not PermutedPredictions(permutation="fixed").needs_step
    soft = KnowledgeDistillation(4.0).per_example(MIXED, LOGITS)
    expected = losses.knowledge_distillation(None, TEACHER, LOGITS, temperature=4.0)
    np.testing.assert_array_equal(soft, expected)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: HardLabel(1.0), "label_smoothing 1.0"),
        (lambda: Ban(0.0), "temperature 0.0"),
        (lambda: KnowledgeDistillation(1.0, 1.5), "alpha 1.5"),
        (lambda: BanWithLabels(1.0, 0.0, 0.0), "weights 0.0 and 0.0"),
        (lambda: PermutedPredictions(1.0, "odd"), "'odd'"),
    ],
)
def test_settings_that_cannot_be(make, field):
    with pytest.raises(UserError, match=field):
        make()


def test_they_need_no_keras():
    code = (
        "import sys, kerasdistill.objectives, kerasdistill.recipes.families\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
