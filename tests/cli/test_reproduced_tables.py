"""reproduce: the command lines that a table needs."""

from collections import Counter
from pathlib import Path

from kerasdistill.cli import arguments, distilling_options, reproduced_tables
from kerasdistill.reports import paper


def lines(words: str) -> list[list[str]]:
    asked = arguments.parse(["reproduce", *words.split()])
    return reproduced_tables.TABLES[asked.table](asked)


def test_every_line_is_a_command_line():
    for table in distilling_options.REPRODUCED:
        store = "--store replay" if table in ("urban-table-2", "urban-figure-1") else ""
        for line in lines(f"{table} --scale 0.1 {store} --quick"):
            asked = arguments.parse(line)
            assert asked.quick and asked.workdir == "runs"
    assert set(distilling_options.REPRODUCED) == set(reproduced_tables.TABLES)


def test_what_table_2_needs():
    found = [arguments.parse(line) for line in lines("urban-table-2 --scale 0.1")]
    cells = Counter((a.budget, a.convs, a.hidden, a.preset) for a in found)
    assert len(cells) == 37 and set(cells.values()) == {1}
    assert {(a.epochs, a.passes, a.schedule) for a in found} == {(16, 16, "cosine")}
    assert {(a.teachers, a.trials) for a in found} == {(3, None)}
    assert sum(a.preset is not None for a in found) == 1
    few = [arguments.parse(line) for line in lines("urban-table-2 --max-budget 3.2M")]
    assert {a.budget for a in few} == {"1M", "3.16M"} and len(few) == 18
    # The paper's own length: its schedule ends a training.
    assert {(a.epochs, a.passes, a.schedule) for a in few} == {(None, 160, None)}


def test_what_table_1_needs():
    found = [arguments.parse(line) for line in lines("urban-table-1 --scale 0.001")]
    kinds = Counter(asked.verb for asked in found)
    assert kinds == {"baseline": 4, "teacher": 4, "ensemble": 1}
    search, joined = found[-2:]
    assert search.trials == 16 and joined.from_search == search.search
    assert (joined.size, search.epochs) == (16, 1)
    whole = [arguments.parse(line) for line in lines("urban-table-1")]
    assert whole[-2].trials == 129


def test_what_the_figure_needs():
    found = [arguments.parse(line) for line in lines("urban-figure-1 --scale 0.5")]
    assert {(a.trials, a.epochs) for a in found} == {(20, 80)}
    more = lines("urban-figure-1 --max-budget 100M")  # Figure 2's
    assert sum("100M" in line for line in more) == len(paper.FAMILIES)
    assert len({a.search for a in found}) == len(found) == 40
    other = arguments.parse(lines("urban-figure-1 --scale 0.5 --seed 1")[0])
    assert other.search not in {a.search for a in found}


def test_students_have_exact_widths_where_those_are_asked_for():
    for table in ("urban-table-1", "urban-table-2 --max-budget 1M"):
        for rule in (False, True):
            exact = " --exact-widths" * rule
            found = [arguments.parse(line) for line in lines(f"{table}{exact}")]
            students = [args for args in found if getattr(args, "budget", None)]
            assert students and {args.exact_widths for args in students} == {rule}


def test_a_search_of_exact_widths_goes_on_in_its_folder(tmp_path):
    def folders(*more):
        words = f"urban-figure-1 --workdir {tmp_path} --max-budget 1M {' '.join(more)}"
        return {arguments.parse(line).search for line in lines(words)}

    exact, rounded = folders("--exact-widths"), folders()
    assert rounded == {f"{name}-rounded" for name in exact}
    for name in exact:
        Path(name).mkdir()
    assert folders() == exact  # begun before widths were rounded
    for name in rounded:
        Path(name).mkdir()
    assert folders() == rounded and folders("--exact-widths") == exact
    teachers = [arguments.parse(line) for line in lines("urban-table-1")][-2]
    assert not teachers.search.endswith("-rounded")


def test_what_the_second_paper_s_tables_need():
    found = [arguments.parse(line) for line in lines("ban-table-2 --scale 0.1")]
    assert {(a.verb, a.dataset, a.epochs) for a in found} == {
        ("born-again", "cifar100", 20)
    }
    cells = Counter((a.loss, a.generations) for a in found)
    assert cells == {("ban", 3): 4, ("ban+l", 1): 4, ("cwtm", 1): 4, ("dkpp", 1): 4}
    (first, *_) = [arguments.parse(line) for line in lines("ban-table-1")]
    assert (first.arch, first.dataset) == ("wide-resnet-28-1", "cifar10")
    assert first.epochs is None  # the recipe's own 200
    other = arguments.parse(lines("ban-table-3 --dataset digits")[0])
    assert other.dataset == "digits"
    texts = lines("ban-table-6 --scale 0.5 --data-dir ptb")
    found = [arguments.parse(line) for line in texts]
    assert [(a.arch, a.epochs, a.data_dir) for a in found] == [
        ("cnn-lstm", 20, "ptb"),
        ("lstm", 20, "ptb"),
    ]
    assert all(a.born_again for a in found)


def test_students_of_other_networks():
    found = [arguments.parse(line) for line in lines("ban-table-3 --scale 0.1")]
    assert [a.arch for a in found[4:]] == ["densenet-90-60"] * 4
    assert [a.teacher for a in found[:4]] == [None] * 4
    teachers = [reproduced_tables.teacher_by(number) for number in (1, 2, 3, 4)]
    assert [a.teacher for a in found[4:]] == teachers
    first, *others = [arguments.parse(line) for line in lines("ban-table-4")]
    assert (first.arch, first.teacher) == ("densenet-90-60", None)
    factors = [(a.depth_factor, a.compression_factor) for a in others]
    depths, compressions = (0.5, 2, 3, 4), (0.5, 0.75, 1.5)
    assert factors == [
        *((factor, None) for factor in depths),
        *((None, factor) for factor in compressions),
    ]
    first, *others = [arguments.parse(line) for line in lines("ban-table-5")]
    assert {a.teacher for a in others} == {reproduced_tables.teacher_by(1)}
    assert all(a.arch.startswith("ban-") for a in others)
    losses = {(a.arch, a.loss) for a in others}
    assert len(losses) == 12 == 2 * len({arch for arch, _ in losses})


def test_own_teachers():
    (first, *_) = lines("urban-table-2 --teacher a.keras b.keras --scale 0.1")
    assert arguments.parse(first).teacher == ["a.keras", "b.keras"]


def test_images_of_another_size_and_colour():
    for table in ("urban-table-2", "ban-table-1"):
        found = lines(f"{table} --image-size 16 --grey --split-seed 2")
        asked = [arguments.parse(line) for line in found]
        told = {(a.image_size, a.grey, a.split_seed) for a in asked}
        assert told == {(16, True, 2)}
