"""Numbers of `inspect`, worked out on paper."""

import numpy as np

from kerasdistill.reports import findings, findings_text

NAMES = ["cat", "dog", "ox"]


def test_confused_pairs_are_sorted_and_never_the_diagonal():
    matrix = np.array([[5, 3, 0], [4, 6, 0], [0, 1, 9]])
    found = findings.confused(matrix, NAMES)
    told = [(each["label"], each["taken_for"], each["count"]) for each in found]
    assert told == [("dog", "cat", 4), ("cat", "dog", 3), ("ox", "dog", 1)]
    assert [each["fraction"] for each in found] == [0.4, 3 / 8, 0.1]


def test_doubts_are_close_second_choices():
    sure, close = [0.9, 0.08, 0.02], [0.5, 0.3, 0.2]
    found = findings.doubts(np.log([sure, close, close]), NAMES)
    assert len(found) == 1 and found[0]["count"] == 2
    assert (found[0]["label"], found[0]["taken_for"]) == ("cat", "dog")
    assert found[0]["fraction"] == 2 / 3


def test_top_three():
    logits = np.log([[0.2, 0.7, 0.1]])
    assert findings.top_three(logits, NAMES) == ["dog 70 %, cat 20 %, ox 10 %"]


def test_per_class_of_an_absent_class():
    found = findings.per_class(np.array([[1, 1], [0, 0]]), NAMES[:2])
    assert [each["accuracy"] for each in found] == [0.5, None]


def test_text_of_an_unlabelled_set():
    logits = np.log([[0.5, 0.3, 0.2]])
    text = findings_text.of_set(
        {
            **{"path": "set", "views": 1, "passes": 1, "dataset": "d", "store": "s"},
            **{"teachers": 1, "sampled": 1, "label_agreement": None},
            "labelled": False,
            "confidence": findings.confidence(logits, None),
            "agreement_by_shard": [],
            "members_agreeing": [],
            "confused": findings.doubts(logits, NAMES),
            "pictures": ["views.png"],
            "board": None,
        }
    )
    assert "close second" in text and "right" not in text
