"""What a report says of hand-made results, against what they hold."""

import itertools
import json

import pytest

from kerasdistill.reports import measured, orderings, paper
from kerasdistill.reports.collect import Found, collect
from kerasdistill.reports.overview import overview

from . import made


def report(tmp_path, *runs):
    return overview(collect([made.write(tmp_path, *runs)]))


def cell(found, table, row, column):
    rows = {t["name"]: t["rows"] for t in found["tables"]}[table]
    cells = {r["key"]: r["cells"] for r in rows}[row]
    return {c["column"]: c for c in cells}[column]


def filled(found):
    return [
        (table["name"], row["key"], each["column"])
        for table in found["tables"]
        for row in table["rows"]
        for each in row["cells"]
        if each["measured"]
    ]


def test_published_values_are_the_papers():
    # One of each table, typed from the papers and not from the module.
    assert paper.URBAN_1.value("convs-4", "accuracy") == 91.75
    assert paper.URBAN_2.value("hidden-2", "31.6M") == 74.3
    assert paper.URBAN_2.value("snn", "70M") == 85.8
    assert paper.BAN_1.value("densenet-80-120", "BAN") == 3.54
    assert paper.BAN_2.value("densenet-112-33", "BAN-3") == 16.59
    assert paper.BAN_3.value("wide-resnet-28-10", "Dense-90-60") == 16.79
    assert paper.BAN_4.value("compression-0.5", "Error") == 19.83
    assert paper.BAN_5.value("ban-wide-resnet-4-0.5", "BAN") == 17.13
    assert paper.BAN_6.value("lstm", "BAN test") == 68.56
    for table in paper.TABLES:
        assert all(len(row.values) == len(table.columns) for row in table.rows)


def test_every_table_is_complete_without_a_run(tmp_path):
    found = overview(collect([tmp_path]))
    assert [len(t["rows"]) for t in found["tables"]] == [10, 10, 8, 4, 4, 8, 7, 2]
    assert filled(found) == [] and found["runs"] == 0
    assert {each["status"] for each in found["orderings"]} == {"not measured"}


def test_seeds_of_one_recipe_count_together_and_others_do_not(tmp_path):
    seeds = [made.results(test=test, seed=n) for n, test in enumerate((0.78, 0.80))]
    again = made.results(test=0.80, seed=1)  # the same run from another folder
    longer = made.results(epochs=40, val=0.85, test=0.70)
    found = report(tmp_path, *seeds, again)
    ours = cell(found, "urban-table-2", "convs-3", "1M")["measured"]
    assert (ours["n"], ours["mean"]) == (2, pytest.approx(79.0))
    assert ours["sd"] == pytest.approx(2**0.5)
    assert (ours["epochs"], ours["passes"], ours["teachers"]) == ([16], 16, 2)
    assert measured.brief(ours) == "n=2, 16 epochs, 16 passes"
    # Validation chooses, never test; the other setting is told.
    found = report(tmp_path / "more", *seeds, longer)
    ours = cell(found, "urban-table-2", "convs-3", "1M")["measured"]
    assert (ours["n"], ours["others"]) == (1, 1)
    assert ours["mean"] == pytest.approx(70.0) and ours["epochs"] == [40]


def test_the_best_of_a_search_is_not_averaged_with_its_recipe_again(tmp_path):
    best = made.results(test=0.90, **made.search(0.85))
    again = [made.results(test=0.80, seed=n, val=0.95) for n in (1, 2)]
    ours = cell(report(tmp_path, best, *again), "urban-table-2", "convs-3", "1M")
    assert ours["measured"]["mean"] == pytest.approx(80.0)
    assert ours["measured"]["n"] == 2 and ours["measured"]["others"] == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dataset": "digits"}, "digits"),
        ({"dataset": "cifar100"}, "cifar100"),
        ({"samples": 4_000}, "4,000 images"),  # --quick
        ({"num_params": 1_011_000}, "1,011,000 parameters"),
        ({"loss": "kd"}, "loss is kd"),
        ({"bottleneck": 5}, "bottleneck"),
        ({"filters": ()}, "bottleneck"),  # one hidden layer without one
        ({"kind": "baseline"}, "10M"),
        ({"kind": "teacher"}, "widths"),
    ],
)
def test_what_is_not_the_papers_lands_in_no_cell(changes, why, tmp_path):
    found = report(tmp_path, made.results(**changes))
    assert filled(found) == []
    assert why in found["unplaced"][0]["why"]


def test_what_is_the_papers_lands_in_its_cell(tmp_path):
    runs = [
        made.family(key, num_params=round(budget * 1.0099))
        for key, budget in itertools.product(paper.FAMILIES, paper.BUDGETS.values())
    ]
    baseline = made.family("convs-2", num_params=10_000_000, loss="hard-label")
    runs += [
        made.snn(),
        {**baseline, "kind": "baseline"},
        made.teacher(),
        made.ensemble(),
    ]
    found = report(tmp_path, *runs)
    expected = {
        ("urban-table-2", row.key, column)
        for row in paper.URBAN_2.rows
        for column, value in zip(paper.URBAN_2.columns, row.values, strict=True)
        if value is not None
    }
    rest = ("convs-2", "teacher-1", "ensemble")
    expected |= {("urban-table-1", row, "accuracy") for row in rest}
    assert set(filled(found)) == expected and found["unplaced"] == []


def test_an_ensemble_of_others_is_not_the_papers(tmp_path):
    few, fast = made.ensemble(15), made.ensemble()
    fast["member_recipes"] = [{"kind": "FastTeacherRecipe"}] * 16
    old = made.ensemble()
    del old["member_recipes"]
    found = report(tmp_path, few, fast, old)
    assert filled(found) == [] and len(found["unplaced"]) == 3


def test_born_again_generations(tmp_path):
    dense, wide = "densenet-90-60", "wide-resnet-28-2"
    found = report(
        tmp_path,
        made.born_again(dense, students=3, ensembles=("Ens*2", "Ens*3")),
        made.born_again(dense, loss="cwtm", seed=1),
        made.born_again(dense, teacher_arch=dense, depth_factor=2),
        made.born_again(dense, teacher_arch=wide),
        made.born_again("ban-wide-resnet-2-1", teacher_arch=dense),
        made.born_again("wide-resnet-28-1", dataset="cifar10"),
        made.born_again(wide),
        made.born_again("densenet-80-120", ensembles=("Ens*3", "Ens*3 with teacher")),
        made.born_again("wide-resnet-28-10", samples=4_000),
        made.born_again("ban-wide-resnet-4-1", teacher_arch=dense, loss="hard-label"),
        made.born_again(wide, seed=3, loss="hard-label"),
    )
    own = ("Teacher", "BAN", "BAN-1")
    expected = {("ban-table-2", dense, column) for column in (*own, "BAN-2", "BAN-3")}
    expected |= {("ban-table-2", dense, each) for each in ("Ens*2", "Ens*3", "CWTM")}
    expected |= {
        ("ban-table-2", "densenet-80-120", column) for column in (*own, "Ens*3")
    }
    expected |= {("ban-table-1", "wide-resnet-28-1", column) for column in own[:2]}
    expected |= {("ban-table-3", wide, column) for column in own[:2]}
    expected |= {
        ("ban-table-3", wide, "Dense-90-60"),
        ("ban-table-4", "teacher", "Error"),
        ("ban-table-4", "depth-2", "Error"),
        ("ban-table-5", "ban-wide-resnet-2-1", "BAN"),
        ("ban-table-5", "ban-wide-resnet-4-1", "Baseline"),
    }
    assert set(filled(found)) == expected and found["problems"] == []
    first = cell(found, "ban-table-2", dense, "BAN")["measured"]
    assert first["mean"] == pytest.approx(29.0)  # an error: made.born_again's 0.71
    # Generation 0 serves all losses: two seeds of one thing.
    assert cell(found, "ban-table-2", dense, "Teacher")["measured"]["n"] == 2
    joined = cell(found, "ban-table-2", "densenet-80-120", "Ens*3")["measured"]
    assert joined["mean"] == pytest.approx(100 - 81)
    small = [each for each in found["unplaced"] if "4,000" in each["why"]]
    assert len(small) == 2


def test_language_models(tmp_path):
    runs = [
        made.language_model(),
        made.language_model(["run-0"], loss="ban+l", val=80.5, test=77.25),
        made.language_model(["run-1"], loss="ban+l"),  # a second generation
        made.language_model(["run-9"], loss="ban+l"),  # whose teacher is not here
        made.language_model(units=200),
        made.language_model(words=3_000),
    ]
    for run in runs:
        places = run.get("teachers", ())
        run["teachers"] = [str(tmp_path / each / "model.keras") for each in places]
    found = report(tmp_path, *runs)
    columns = [each[2] for each in filled(found)]
    assert columns == ["Teacher val", "BAN val", "Teacher test", "BAN test"]
    assert cell(found, "ban-table-6", "lstm", "BAN test")["measured"]["mean"] == 77.25
    assert len(found["unplaced"]) == 4 and found["problems"] == []


def test_the_papers_own_numbers_hold_every_ordering():
    tables = {table.name: table for table in paper.TABLES}
    found = orderings.check(lambda table, *at: tables[table].value(*at))
    assert [each["status"] for each in found] == ["held"] * 5
    assert [each["comparisons"] for each in found] == [80, 9, 1, 27, 4]
    assert all(each["compared"] == each["comparisons"] for each in found)


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({("urban-table-2", "convs-1", "10M"): 83.4}, 0),  # exactly 10 above 73.4
        ({("urban-table-2", "hidden-5", "10M"): 73.4}, 1),
        ({("urban-table-2", "convs-2", "1M"): 87.7}, 2),
        ({("urban-table-2", "hidden-4", "31.6M"): 71.5}, 3),
        ({("urban-table-1", "convs-2", "accuracy"): 90.0}, 4),
    ],
)
def test_each_ordering_can_fail(change, broken):
    tables = {table.name: table for table in paper.TABLES}
    found = orderings.check(lambda *at: change.get(at, tables[at[0]].value(*at[1:])))
    assert found[broken]["status"] == "not held" and found[broken]["failed"]


def test_an_ordering_of_few_cells_says_so(tmp_path):
    one = made.family("convs-1", test=0.80)
    other = made.family("hidden-2", test=0.70, epochs=40)
    found = report(tmp_path, one, other)["orderings"][0]
    assert (found["status"], found["compared"]) == ("not held", 1)
    assert not found["alike"] and "80.00 against 70.00" in found["failed"][0]


def test_what_the_benchmarks_keep_is_read(pytestconfig):
    kept = sorted((pytestconfig.rootpath / "benchmarks/results").glob("*.json"))
    found = overview(collect(kept))
    at = {column for _, row, column in filled(found) if row == "teacher-1"}
    assert at == {"accuracy"}
    ours = cell(found, "urban-table-2", "convs-3", "1M")["measured"]
    assert ours["mean"] == pytest.approx(83.05) and ours["epochs"] == [20]
    assert json.dumps(found, allow_nan=False)


def test_groups_of_equal_settings_alone():
    # Passes, teachers and precision tell groups apart.
    other = [
        made.results(distillation_set={**made.PASSES, "passes": 17}),
        made.results(distillation_set={**made.PASSES, "teachers": ["t1"]}),
        made.results(),
    ]
    other[2]["recipe"]["training"]["precision"] = "mixed_bfloat16"
    runs = [Found(str(n), each) for n, each in enumerate([made.results(), *other])]
    placed, _, _ = measured.sort_out(runs)
    assert len({each.group for runs in placed.values() for each in runs}) == 4
