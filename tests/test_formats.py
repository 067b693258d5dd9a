"""Every format is read back and gives the model's logits; or nothing is written."""

import importlib.util
import json

import keras
import numpy as np
import pytest

from kerasdistill import evaluation
from kerasdistill.budget import Budget
from kerasdistill.errors import UserError
from kerasdistill.exports import formats
from kerasdistill.models import copies, urban
from kerasdistill.models.build import build
from kerasdistill.recipes import born_again as born_again_recipes
from kerasdistill.recipes import urban2017
from pipelines import datasets

CONVERTED = ("litert", "litert-int8", "onnx")


def needs(*names):
    wanted = {package for name in names for package in formats.FORMATS[name].packages}
    missing = sorted(p for p in wanted if importlib.util.find_spec(p) is None)
    return pytest.mark.skipif(
        bool(missing), reason=f"{missing} not installed: kerasdistill[export]"
    )


def of_convs(convs, precision="float32"):
    recipe = urban2017.student(budget=Budget(30_000), convs=convs)
    shape = {"image_shape": (32, 32, 3), "num_classes": 10, "seed": 3}
    return urban.build(recipe.architecture, **shape, precision=precision)


@pytest.fixture(autouse=True)
def timed_briefly(monkeypatch):
    monkeypatch.setattr(formats, "TIMED_CALLS", (1, 2))


@pytest.fixture(scope="module")
def digits():
    data = datasets.load("digits")
    return {
        "images": data.validation.images[:32],
        "representative": data.train.images[:32],
    }


def test_folding_gives_the_same_logits_without_the_bottleneck(digits):
    model = of_convs(1)
    for layer in model.layers:  # biases too must come through
        layer.set_weights([w + 0.1 * (w.ndim == 1) for w in layer.get_weights()])
    folded = copies.fold_bottleneck(model)
    names = [layer.name for layer in folded.layers]
    assert "bottleneck" not in names and "dense_1" in names
    expected = evaluation.predict(model, digits["images"])
    found = evaluation.predict(folded, digits["images"])
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    mlp = urban2017.student(budget=Budget(30_000), hidden=1)
    shape = {"image_shape": (32, 32, 3), "num_classes": 10, "seed": 3}
    mlp = urban.build(mlp.architecture, **shape)
    found = evaluation.predict(copies.fold_bottleneck(mlp), digits["images"])
    expected = evaluation.predict(mlp, digits["images"])
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_folding_is_refused_where_there_is_nothing_to_fold():
    with pytest.raises(UserError, match="no linear bottleneck"):
        copies.fold_bottleneck(of_convs(2))
    image = keras.Input((2, 2, 1))
    flat = keras.layers.Flatten()(image)
    linear = keras.layers.Dense(3)(flat)
    both = keras.layers.Add()([keras.layers.Dense(3)(linear), linear])
    with pytest.raises(UserError, match="no linear bottleneck"):
        copies.fold_bottleneck(keras.Model(image, both))  # somebody else reads it


def test_a_float32_twin_of_a_bfloat16_model(digits):
    model = of_convs(2, "mixed_bfloat16")
    single = copies.in_float32(model)
    assert {layer.compute_dtype for layer in single.layers} == {"float32"}
    assert "bfloat16" in {layer.compute_dtype for layer in model.layers}
    same = of_convs(2)
    same.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        evaluation.predict(single, digits["images"]),
        evaluation.predict(same, digits["images"]),
    )


def test_saved_model_and_keras_file(digits, tmp_path):
    model = of_convs(1)
    options = {"formats": ["saved-model", "keras"], "card": {"kind": "student"}}
    told, _ = formats.write_formats(
        model, tmp_path / "out", **options, **digits, fold_bottleneck=True
    )
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["exports"] == told and card["kind"] == "student"
    assert card["folded_bottleneck"] and card["parity"] == told["saved-model"]["parity"]
    assert card["num_params"] > 30_300
    for found in told.values():
        parity = found["parity"]
        assert parity["largest_difference"] <= 1e-5 * max(parity["largest_logit"], 1)
        assert parity["top1_agreement"] == 1.0 and parity["num_examples"] == 32
        assert 0 < found["latency"]["batch_1"] < found["latency"]["batch_256"]
    assert told["keras"]["bytes"] == (tmp_path / "out/model.keras").stat().st_size
    whole = sum(f.stat().st_size for f in (tmp_path / "out").rglob("*") if f.is_file())
    cards = [tmp_path / "out" / name for name in ("card.json", "MODEL_CARD.md")]
    own = whole - told["keras"]["bytes"] - sum(card.stat().st_size for card in cards)
    assert told["saved-model"]["bytes"] == own


@needs(*CONVERTED)
@pytest.mark.slow
def test_converted_formats_of_a_bfloat16_student(digits, tmp_path):
    model = of_convs(2, "mixed_bfloat16")
    told, _ = formats.write_formats(
        model, tmp_path / "out", formats=CONVERTED, card={}, **digits
    )
    assert told["onnx"]["compute"] == told["litert"]["compute"] == "float32"
    for name in ("onnx", "litert"):
        parity = told[name]["parity"]
        assert parity["largest_difference"] <= 1e-4 * max(parity["largest_logit"], 1)
        assert parity["top1_agreement"] >= 0.9  # bfloat16 itself may change some
    int8 = told["litert-int8"]
    assert 0 < int8["parity"]["relative_noise"] <= 0.1
    assert int8["parity"]["top1_agreement"] >= 0.9
    # Eight bits a weight instead of thirty-two.
    assert int8["bytes"] < 0.5 * told["litert"]["bytes"]
    assert all(found["latency"]["batch_256"] > 0 for found in told.values())


@needs(*CONVERTED)
def test_inputs_and_outputs_have_names(digits, tmp_path):
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    formats.write_formats(
        of_convs(2), tmp_path, formats=["litert", "onnx"], card={}, **digits
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [each.name for each in session.get_inputs()] == ["image"]
    assert [each.name for each in session.get_outputs()] == ["logits"]
    assert [each.type for each in session.get_inputs()] == ["tensor(uint8)"]
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    assert interpreter.get_input_details()[0]["dtype"] == np.uint8
    signatures = interpreter.get_signature_list()
    assert list(signatures.values()) == [{"inputs": ["image"], "outputs": ["logits"]}]


@needs(*CONVERTED)
@pytest.mark.slow
def test_a_residual_network_in_every_format(digits, tmp_path):
    recipe = born_again_recipes.architecture("wide-resnet-10-1")
    shape = {"image_shape": (32, 32, 3), "num_classes": 10, "seed": 0}
    model = build(recipe, **shape)
    told, _ = formats.write_formats(
        model, tmp_path, formats=tuple(formats.FORMATS), card={}, **digits
    )
    assert set(told) == set(formats.FORMATS)


@needs("litert", "litert-int8")
@pytest.mark.slow
def test_converters_log_nothing(digits, tmp_path, capfd):
    how = {"formats": ["litert", "litert-int8"], "card": {}, **digits}
    formats.write_formats(of_convs(2), tmp_path / "out", **how)
    assert capfd.readouterr().err == ""


@needs("litert-int8")
def test_a_blank_image_spoils_no_range(digits, tmp_path):
    """Standardisation divides by its deviation of nothing."""
    images = digits["representative"].copy()
    images[3] = 7
    both = [digits["representative"], images]
    noises = []
    for representative in both:
        told, _ = formats.write_formats(
            of_convs(2),
            tmp_path,
            formats=["litert-int8"],
            card={},
            images=digits["images"],
            representative=representative,
        )
        noises.append(told["litert-int8"]["parity"]["relative_noise"])
    assert noises[1] == pytest.approx(noises[0], rel=0.5) and noises[1] < 0.1


@pytest.mark.parametrize("refused", ["saved-model", "keras"])
def test_what_passes_is_written_beside_what_is_refused(
    refused, digits, tmp_path, monkeypatch
):
    real = formats.FORMATS[refused]
    wrong = lambda path: lambda images: np.ones((len(images), 10))  # noqa: E731
    monkeypatch.setitem(
        formats.FORMATS, refused, formats.Format(real.file, real.write, wrong)
    )
    names = ["saved-model", "keras"]
    how = {"formats": names, "card": {}, **digits}
    told, why = formats.write_formats(of_convs(2), tmp_path / "out", **how)
    assert {*told} == {*names} - {refused} and "differ" in why[refused]
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["exports"].keys() == told.keys()
    left = {each.name for each in (tmp_path / "out").iterdir()}
    assert ("saved_model.pb" in left) == ("saved-model" in told)
    assert ("model.keras" in left) == ("keras" in told)


@pytest.mark.parametrize("broken", ["keras", "litert-int8"])
def test_a_broken_export_leaves_nothing(broken, digits, tmp_path, monkeypatch):
    real = formats.FORMATS[broken]

    def run(path):
        return lambda images: np.roll(np.eye(10)[np.arange(len(images)) % 10], 3)

    monkeypatch.setitem(
        formats.FORMATS,
        broken,
        formats.Format(real.file, lambda m, p, i: p.write_bytes(b"x"), run),
    )
    old = tmp_path / "out" / "model.keras"
    old.parent.mkdir()
    old.write_text("before")
    with pytest.raises(UserError, match="nothing was written"):
        formats.write_formats(
            of_convs(2), old.parent, formats=[broken], card={}, **digits
        )
    assert old.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="onnx.*pip install"):
        formats.require(["saved-model", "onnx"])
    formats.require(["saved-model", "keras"])
