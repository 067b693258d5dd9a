"""language-model from a text folder to files, generations and evaluation."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.cli.__main__ import main
from kerasdistill.experiments.language import costs as language_costs
from kerasdistill.exports import language as language_export
from kerasdistill.running.steps import Cost

SMALL = "--size small --epochs 2 --window 6 --batch-size 4 --precision float32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("text")
    generator = np.random.default_rng(0)
    for name, count in (("train", 60), ("valid", 12), ("test", 12)):
        lines = []
        for _ in range(count):
            start = generator.integers(5)
            lines.append(" ".join("abcde"[(start + i) % 5] for i in range(5)))
        (place / f"tiny.{name}.txt").write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture(autouse=True, scope="module")
def small_network():
    """The small networks, smaller still; Beam in this process."""
    from dataclasses import replace

    from kerasdistill.experiments.language import signal as language_signal
    from kerasdistill.recipes import ptb

    with pytest.MonkeyPatch.context() as patched:
        for name, network in {
            ("lstm", "small"): {"units": 8},
            ("cnn-lstm", "small"): {
                "units": 8,
                "kernels": (1, 2),
                "filters": (3, 4),
                "character_units": 3,
            },
        }.items():
            made = replace(ptb.ARCHITECTURES[name], **network)
            patched.setitem(ptb.ARCHITECTURES, name, made)
        step = language_signal.step
        patched.setattr(
            language_signal,
            "step",
            lambda *a, **k: step(
                *a, **k, beam_options=("--direct_running_mode=in_memory",)
            ),
        )
        yield


@pytest.fixture
def trained_only(monkeypatch):
    """Trainings are neither timed first nor exported: other tests do both."""
    monkeypatch.setattr(language_costs, "training_cost", lambda *_, **__: Cost(1.0))
    monkeypatch.setattr(language_export, "export_language_model", lambda *_, **__: {})


def ask(capsys, line, folder, workdir, *more):
    words = [*line.split(), "--data-dir", str(folder), "--json"]
    code = main([*words, "--workdir", str(workdir), *more])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out), printed.err


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize(
    "arch", ["lstm", pytest.param("cnn-lstm", marks=pytest.mark.slow)]
)
def test_train_evaluate_and_serve(arch, folder, workdir, capsys):
    line = f"language-model --arch {arch} {SMALL} --learning-rate 1"
    found, told = ask(capsys, line, folder, workdir)
    assert found["test_tokens"] == 72 and found["epochs"] == 2
    assert found["test_perplexity"] < 7 and found["parity"]["largest_difference"] < 1e-4
    assert f"step 1: language-model ({arch} " in told and "planned" in told
    again, _ = ask(capsys, line, folder, workdir)
    assert again == found
    for path in (found["model"], found["saved_model"]):
        scored, _ = ask(capsys, f"evaluate {path}", folder, workdir)
        assert scored["num_examples"] == 72
        assert scored["perplexity"] == pytest.approx(found["test_perplexity"], rel=1e-4)
    served = tf.saved_model.load(found["saved_model"]).signatures["serving_default"]
    both = served(text=tf.constant(["a b", "c d e a zzz"]))["log_probabilities"]
    alone = served(text=tf.constant(["a b"]))["log_probabilities"]
    np.testing.assert_allclose(both[:1], alone, atol=1e-5)
    np.testing.assert_allclose(np.exp(both).sum(axis=1), 1.0, rtol=1e-4)


@pytest.mark.usefixtures("trained_only")
def test_generations_learn_from_each_other(folder, workdir, capsys):
    line = f"language-model --arch lstm {SMALL} --born-again --generations 2"
    found, told = ask(capsys, line, folder, workdir)
    listed = found["generations"]
    assert [entry["generation"] for entry in listed] == [0, 1, 2]
    assert len({entry["model"] for entry in listed}) == 3
    assert found["test_perplexity"] == listed[-1]["test_perplexity"]
    assert [entry["members"] for entry in found["ensembles"]] == [[1, 2], [0, 1, 2]]
    assert all(entry["test_perplexity"] < 8 for entry in found["ensembles"])
    again, _ = ask(capsys, line, folder, workdir)
    assert again == found
    # The plain run is generation 0, found again.
    plain, told = ask(capsys, f"language-model --arch lstm {SMALL}", folder, workdir)
    assert plain["model"] == listed[0]["model"] and "epoch" not in told


@pytest.mark.slow
@pytest.mark.usefixtures("trained_only")
def test_stored_signal_of_all_words_is_the_live_one(folder, workdir, capsys):
    plain, _ = ask(capsys, f"language-model {SMALL}", folder, workdir)
    line = f"language-model {SMALL} --learning-rate 0.2 --teacher {plain['model']}"
    live, _ = ask(capsys, line, folder, workdir)
    every = "--teacher-signal stored --store-top-k"
    stored, told = ask(capsys, f"{line} {every} 7", folder, workdir)
    assert "stored signal 1 (7 of 7 words" in told and "hold 100.0%" in told
    few, _ = ask(capsys, f"{line} {every} 2", folder, workdir)
    assert stored["test_perplexity"] == pytest.approx(live["test_perplexity"], rel=0.01)
    assert few["model"] != stored["model"] != live["model"]
    assert live["generations"][0]["model"] == plain["model"]
    expected = plain["test_perplexity"]
    assert live["generations"][0]["test_perplexity"] == pytest.approx(expected)


@pytest.mark.slow
def test_a_plan_tells_all_generations_and_writes_nothing(
    folder, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(language_export, "export_language_model", lambda *_, **__: {})
    from kerasdistill.cli import arguments, language
    from kerasdistill.experiments.language import (
        generations as language_generations,
    )
    from kerasdistill.experiments.language import (
        model as language_model,
    )
    from kerasdistill.running import steps
    from pipelines.words import text

    words = f"language-model {SMALL} --born-again --generations 2 --workdir runs"
    words += f" --teacher-signal stored --store-top-k 3 --plan --data-dir {folder}"
    lineage = language.lineage(arguments.parse(words.split()))
    how = {"data": text.load(folder), "workdir": tmp_path}
    with pytest.raises(steps.OnlyPlanned) as planned:
        language_generations.run(lineage, **how, only_plan=True)
    names = ["teacher", "stored signal 1", "generation 1"]
    names += ["stored signal 2", "generation 2"]
    assert list(planned.value.plan.costs) == names
    assert not [*tmp_path.iterdir()]
    told = capfd.readouterr().err
    assert "step 4: stored signal 2 (3 of 7 words" in told and "epoch 1/" not in told
    # What is finished is not in the plan; names may have a prefix.
    teacher = language_model.run(lineage.recipe, **how)
    story = language_generations.story(lineage, **how, prefix="small, ")
    plan = steps.left(story, workdir=tmp_path)
    assert list(plan.costs) == [f"small, {name}" for name in names[1:]]
    assert teacher["planned_seconds"] > 0 and teacher["process_seconds"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("trained_only")
def test_one_teacher_or_several(folder, workdir, capsys):
    models = [
        ask(capsys, f"language-model {SMALL} --seed {s}", folder, workdir)[0]["model"]
        for s in (0, 1)
    ]
    line = f"language-model {SMALL} --loss ban --teacher {' '.join(models)}"
    found, _ = ask(capsys, line, folder, workdir)
    assert found["teachers"] == models and found["ensembles"] == []
    assert found["recipe"]["training"]["objective"]["name"] == "ban"


@pytest.mark.usefixtures("trained_only")
def test_sample_is_fixed_by_the_seed(folder, workdir, capsys):
    line = f"language-model {SMALL} --words 6"
    said, _ = ask(capsys, line, folder, workdir, "--sample", "a b")
    again, _ = ask(capsys, line, folder, workdir, "--sample", "a b")
    assert said["sample"] == again["sample"]
    assert said["sample"].startswith("a b ") and len(said["sample"].split()) == 8


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("language-model --window 0", ["'0' is not a whole number above 0"]),
        ("language-model --dropout 1", ["below 1"]),
        ("language-model --generations 2", ["--born-again"]),
        ("language-model --loss ban", ["--born-again"]),
        ("language-model --born-again --store-top-k 3", ["--teacher-signal stored"]),
        ("language-model --born-again --distillation-set x", ["--teacher"]),
        ("language-model --label-weight 2", ["--born-again"]),
        ("language-model --born-again --loss ban --label-weight 2", ["ban+l"]),
        ("language-model --words 3", ["--sample"]),
        ("language-model --precision mixed_float16", ["mixed_bfloat16"]),
        ("language-model --teacher /nowhere.keras", ["/nowhere.keras"]),
        ("language-model --arch gru", ["gru"]),
        ("language-model --data-dir /nowhere", ["/nowhere", "train.txt"]),
        ("summary --arch lstm", ["--vocabulary"]),
        ("summary --arch densenet-80-80 --vocabulary 3", ["--vocabulary"]),
    ],
)
def test_bad_requests_are_one_line(line, fragments, folder, capsys, tmp_path):
    words = line.split()
    if "--data-dir" not in words:
        words += ["--data-dir", str(folder)]
    assert main([*words, "--workdir", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    errors = [row for row in printed.err.splitlines() if row.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in printed.err
    assert all(fragment in errors[0] for fragment in fragments)


@pytest.mark.usefixtures("trained_only")
def test_strangers_are_refused(folder, workdir, capsys, tmp_path):
    plain, _ = ask(capsys, f"language-model {SMALL}", folder, workdir)
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_text(path.read_text().replace("e", "f"))
    asked = ["--teacher", plain["model"], "--workdir", str(tmp_path / "runs")]
    asked += ["--data-dir", str(other)]
    for line in (["language-model", *SMALL.split(), *asked],):
        assert main(line) == 2
        assert "is 'e', the text's is 'f'" in capsys.readouterr().err
    assert main(["evaluate", plain["model"], "--data-dir", str(other)]) == 2
    assert "another vocabulary" in capsys.readouterr().err
    larger = tmp_path / "larger"
    larger.mkdir()
    for path in folder.iterdir():
        (larger / path.name).write_text(path.read_text() + "g h\n")
    assert main(["evaluate", plain["model"], "--data-dir", str(larger)]) == 2
    assert "more than" in capsys.readouterr().err


@pytest.mark.usefixtures("trained_only")
def test_signal_of_another_text_is_refused(folder, workdir, capsys, tmp_path):
    plain, _ = ask(capsys, f"language-model {SMALL}", folder, workdir)
    line = f"language-model {SMALL} --learning-rate 0.2 --teacher {plain['model']}"
    ask(capsys, f"{line} --teacher-signal stored --store-top-k 2", folder, workdir)
    signal = next(workdir.glob("text-signal-*/signal"))
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        lines = path.read_text().splitlines()
        (other / path.name).write_text("\n".join(reversed(lines)) + "\n")
    words = f"{line} --distillation-set {signal} --data-dir {other}".split()
    assert main([*words, "--workdir", str(tmp_path / "runs")]) == 2
    assert "made from another text" in capsys.readouterr().err


def test_summary_counts_the_paper_models(capsys):
    for arch, count in (("lstm", 51_022_000), ("cnn-lstm", 19_367_965)):
        assert main(["summary", "--arch", arch, "--vocabulary", "10000", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_params"] == count
