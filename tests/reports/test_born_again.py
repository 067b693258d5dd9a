"""Generations beside the paper's rows, from hand-made results."""

import json

import pytest

from kerasdistill.errors import UserError
from kerasdistill.recipes import base
from kerasdistill.recipes import born_again as recipes
from kerasdistill.reports import born_again, generation_curves, paper_born_again, plots


def result(
    errors, *, loss="ban", seed=0, arch="densenet-90-60", teacher=None, **changes
):
    """What a run leaves: errors, in percent, of the generations and of Ens*2."""
    recipe = base.to_json(recipes.recipe(arch))
    recipe["training"] |= {"loss": loss, "seed": seed}
    *students, joined = errors
    rows = [
        {
            "generation": number,
            "weights_digest": f"{arch} {seed} {number and loss} {number}",
            "val_accuracy": 0.5,
            "test_accuracy": 1 - error / 100,
        }
        for number, error in enumerate(students)
    ]
    ensembles = [
        {"name": "Ens*2", "members": [1, 2], "test_accuracy": 1 - (joined or 0) / 100}
    ]
    return {
        "kind": "born-again",
        "arch": arch,
        "depth_factor": 1,
        "compression_factor": 1,
        "teacher_arch": teacher,
        "loss": loss,
        "seed": seed,
        "recipe": recipe,
        "dataset": {"name": "cifar100"},
        "generations": rows,
        "ensembles": ensembles if joined else [],
        "best_generation": 1,
        **changes,
    }


def write(folder, value):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(value))
    return folder


RUNS = [
    result([20.0, 18.0, 17.0, 16.0]),
    result([22.0, 19.0, 17.5, 16.5], seed=1),
    result([20.0, 18.5, 18.0, 17.0], loss="ban+l"),
    result([20.0, 19.5, None], loss="cwtm"),
]


def test_settings_of_a_loss_are_no_seeds():
    weighted = result([20.0, 15.0, None], loss="ban+l")
    weighted["recipe"]["training"] |= {"label_weight": 0.25}
    fixed = result([20.0, 14.0, None], loss="dkpp")
    fixed["recipe"]["training"] |= {"permutation": "fixed"}
    stored = result([20.0, 13.0, None], teacher_signal="stored")
    live, other = born_again.describe([*RUNS, weighted, fixed, stored])
    errors = live["rows"][0]["errors"]
    assert errors["BAN+L"]["each"] == pytest.approx([18.5])
    assert errors["BAN+L 0.25:1"]["each"] == pytest.approx([15.0])
    assert errors["DKPP fixed"]["each"] == pytest.approx([14.0])
    assert "DKPP" not in errors and {"BAN+L 0.25:1", "DKPP fixed"} <= {*live["columns"]}
    assert other["rows"][0]["errors"]["BAN"]["each"] == pytest.approx([13.0])
    assert "stored signal" in born_again.text([other])


def test_mean_and_spread_over_seeds_beside_the_paper():
    (table,) = born_again.describe(RUNS)
    ours, with_labels = table["rows"]
    errors = ours["errors"]
    # Generation 0 is the same in three of the runs: it counts once.
    assert errors["teacher"]["each"] == pytest.approx([20.0, 22.0])
    assert errors["teacher"]["sd"] == pytest.approx(2**0.5)
    assert errors["BAN"]["mean"] == errors["BAN-1"]["mean"] == pytest.approx(18.5)
    assert errors["BAN-2"]["mean"] == pytest.approx(17.25)
    assert errors["Ens*2"]["each"] == pytest.approx([16.0, 16.5])
    assert errors["BAN+L"]["mean"] == pytest.approx(18.5)
    assert errors["BAN+L"]["sd"] is None
    assert errors["CWTM"]["mean"] == pytest.approx(19.5)
    assert with_labels["name"] == "ours, BAN+L"
    assert with_labels["errors"]["Ens*2"]["mean"] == pytest.approx(17.0)
    assert table["paper"]["table"] == 2
    assert table["paper"]["errors"]["Ens*3"] == 15.74
    order = "teacher BAN BAN+L CWTM DKPP BAN-1 BAN-2 BAN-3 Ens*2 Ens*3"
    assert table["columns"] == order.split()


def test_text():
    told = born_again.text(born_again.describe(RUNS)).splitlines()
    assert told[0] == ("densenet-90-60 on cifar100, 200 epochs: test error in percent")
    assert told[1].split()[:3] == ["teacher", "BAN", "BAN+L"]
    assert "21.00 ± 1.41" in told[2] and "18.50 ± 0.71" in told[2]
    assert told[2].split().count("missing") == 3  # DKPP, BAN-3, Ens*3
    assert told[4].startswith("paper, Table 2") and "missing" not in told[4]
    assert "16.44" in told[4]


def test_what_was_trained_otherwise_has_a_table_of_its_own():
    longer = result([20.0, 18.0, None])
    longer["recipe"]["training"]["epochs"] = 300
    wide = result([30.0, 25.0, None], teacher="wide-resnet-28-1")
    small = result([40.0, 39.0, None], arch="wide-resnet-16-1")
    tables = born_again.describe([RUNS[0], longer, wide, small])
    assert len(tables) == 4
    assert tables[2]["paper"] == {
        "table": 3,
        "errors": {"teacher": 30.05, "BAN": 24.93},
    }
    assert "taught by wide-resnet-28-1" in born_again.text(tables)
    assert tables[3]["paper"] is None
    assert born_again.text(tables[3:]).splitlines()[-1].split() == (
        ["paper", *["missing"] * 8]
    )


def test_settings_tell_namesakes_apart():
    plain, without, other = (
        result([40.0, error, None], arch="wide-resnet-16-1")
        for error in (39.0, 38.0, 37.0)
    )
    without["recipe"]["architecture"]["dropout_rate"] = 0.0
    other["recipe"]["training"]["epochs"] = 20
    tables = born_again.describe([plain, without, other])
    assert [table["settings"] for table in tables] == [
        {"dropout_rate": 0.3},
        {"dropout_rate": 0.0},
        {},
    ]
    titles = born_again.text(tables)
    assert "on cifar100, 200 epochs, dropout rate 0.0: test error" in titles
    assert "on cifar100, 20 epochs: test error" in titles
    grouped = born_again.grouped([plain, without, other, plain])
    assert [len(runs) for _, runs in grouped] == [2, 1, 1]
    assert born_again.title(grouped[1][0]).endswith(", dropout rate 0.0")


def test_the_paper_s_own_ensemble_of_the_widest():
    run = result([16.9, 16.1, 16.0, 15.0], arch="densenet-80-120")
    with_teacher = {"name": "Ens*3 with teacher", "members": [0, 1, 2]}
    run["ensembles"].append({**with_teacher, "test_accuracy": 0.85})
    (table,) = born_again.describe([run])
    assert table["rows"][0]["errors"]["Ens*3"]["mean"] == pytest.approx(15.0)
    assert "Ens*3 with teacher" not in table["columns"]


@pytest.mark.parametrize(
    ("asked", "table", "errors"),
    [
        (("cifar10", "wide-resnet-28-10", None), 1, {"teacher": 3.77, "BAN": 3.86}),
        (("cifar100", "wide-resnet-28-5", None), 3, {"teacher": 20.88, "BAN": 20.93}),
        (
            ("cifar100", "densenet-90-60", "densenet-90-60", 0.5),
            4,
            {"teacher": 17.69, "BAN": 16.95},
        ),
        (
            ("cifar100", "densenet-90-60", "densenet-90-60", 1, 1.5),
            4,
            {"teacher": 17.69, "BAN": 18.89},
        ),
        (
            ("cifar100", "ban-wide-resnet-4-0.5", "densenet-90-60"),
            5,
            {"teacher": 17.69, "labels only": 19.63, "BAN": 17.13},
        ),
    ],
)
def test_published(asked, table, errors):
    names = ("dataset", "network", "teacher", "depth_factor", "compression_factor")
    found = paper_born_again.find(**dict(zip(names, asked, strict=False)))
    assert (found.table, found.errors) == (table, errors)


def test_every_published_network_has_a_recipe():
    rows = paper_born_again.rows()
    assert len(rows) == 8 + 4 + 8 + 7 + 6
    for row in rows:
        factors = {
            "depth_factor": row.depth_factor,
            "compression_factor": row.compression_factor,
        }
        recipes.recipe(row.network, **factors)
        if row.teacher:
            recipes.recipe(row.teacher)


def test_folders(tmp_path):
    one = write(tmp_path / "runs" / "born-again-1", RUNS[0])
    write(tmp_path / "runs" / "born-again-2", RUNS[1])
    write(tmp_path / "runs" / "teacher-1", {"kind": "teacher"})
    assert len(born_again.load([one])) == 1
    assert len(born_again.load([tmp_path / "runs", one])) == 2
    for path in (tmp_path / "runs" / "teacher-1", tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="no finished born-again run"):
            born_again.load([path])


def test_picture(monkeypatch):
    pytest.importorskip("matplotlib")
    other = result([40.0, 39.0, None], arch="wide-resnet-16-1")
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, file: kept.append(figure))
    generation_curves.draw([*RUNS, result([20.0, 18.0, None]), other], "a.png")
    of_dense, of_wide = kept[0].axes
    assert of_dense.get_title() == "densenet-90-60 on cifar100, 200 epochs"
    assert of_wide.get_title() == "wide-resnet-16-1 on cifar100, 200 epochs"
    legend = [text.get_text() for text in of_dense.get_legend().get_texts()]
    assert legend == ["BAN, seed 0", "BAN, seed 1", "BAN+L, seed 0", "CWTM, seed 0"]
    line = of_dense.get_lines()[0]  # of the longer of the two with this name
    assert line.get_ydata() == pytest.approx([80.0, 82.0, 83.0])
    stars = [line for line in of_dense.get_lines() if line.get_marker() == "*"]
    assert [star.get_ydata()[0] for star in stars] == pytest.approx([84.0, 83.5, 83.0])


def test_picture_of_two_teachers_students(monkeypatch):
    pytest.importorskip("matplotlib")
    other = result([25.0, 24.0, None])
    other["generations"][0]["weights_digest"] = "another teacher"
    kept = []
    monkeypatch.setattr(plots, "save", lambda figure, file: kept.append(figure))
    generation_curves.draw([result([20.0, 18.0, None]), other], "a.png")
    tests = [
        line for line in kept[0].axes[0].get_lines() if line.get_linestyle() == "-"
    ]
    assert [line.get_ydata()[0] for line in tests] == pytest.approx([80.0, 75.0])


def test_picture_in_a_file(tmp_path):
    pytest.importorskip("matplotlib")
    generation_curves.draw(RUNS, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UserError, match="cannot be written"):
        generation_curves.draw(RUNS, "/dev/null/a.png")
