import keras
import numpy as np
import pytest

from kerasdistill.errors import UserError
from kerasdistill.models import ensemble, summary, urban
from kerasdistill.recipes import urban2017

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), "uint8")


def teacher(seed, *, image_shape=(8, 8, 3), num_classes=5, precision="float32"):
    recipe = urban2017.teacher_of(filters=(2, 3, 4), dense=6)
    return urban.build(
        recipe.architecture,
        image_shape=image_shape,
        num_classes=num_classes,
        seed=seed,
        precision=precision,
    )


def logits(model):
    return model(IMAGES, training=False).numpy()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_logits_are_the_members_mean(size):
    members = [teacher(seed) for seed in range(size)]
    combined = ensemble.build(members)
    each = [logits(member) for member in members]
    np.testing.assert_allclose(logits(combined), np.mean(each, axis=0), atol=1e-6)
    assert combined.output.dtype == "float32"
    assert combined.name == "super_teacher"
    total = sum(map(summary.num_trainable, members))
    assert summary.num_trainable(combined) == total


def test_the_same_model_may_serve_twice_and_stays_as_it_is():
    member = teacher(0)
    config, weights = member.get_config(), member.get_weights()
    combined = ensemble.build([member, member], name="pair")
    names = [layer.name for layer in combined.layers if isinstance(layer, keras.Model)]
    assert names == ["member_1", "member_2"] and combined.name == "pair"
    assert member.get_config() == config
    combined.set_weights([0 * weight for weight in combined.get_weights()])
    for before, after in zip(weights, member.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_mean_is_in_float32_under_mixed_precision():
    members = [teacher(seed, precision="mixed_bfloat16") for seed in (0, 1)]
    combined = ensemble.build(members)
    assert combined.get_layer("mean_logits").compute_dtype == "float32"
    each = [logits(member) for member in members]
    np.testing.assert_allclose(logits(combined), np.mean(each, axis=0), atol=1e-6)


def test_saved_ensemble_gives_the_same_logits(tmp_path):
    combined = ensemble.build([teacher(seed) for seed in range(3)])
    path = tmp_path / "super_teacher.keras"
    combined.save(path)
    loaded = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(logits(loaded), logits(combined))
    again = ensemble.build([loaded, combined])
    np.testing.assert_allclose(logits(again), logits(combined), atol=1e-6)


def test_no_members_are_refused():
    with pytest.raises(UserError, match="at least one teacher"):
        ensemble.build([])


@pytest.mark.parametrize(
    "different", [{"num_classes": 6}, {"image_shape": (16, 16, 3)}]
)
def test_members_must_agree(different):
    with pytest.raises(UserError, match="member 3 maps"):
        ensemble.build([teacher(0), teacher(1), teacher(2, **different)])


def sharp(seed):
    """A teacher so sure of itself that float32 has no room for its other classes."""
    model = teacher(seed)
    last = model.layers[-1]
    last.set_weights([3e4 * weight for weight in last.get_weights()])
    return model


@pytest.mark.parametrize("make", [teacher, sharp])
def test_probabilities_are_the_members_mean(make, tmp_path):
    members = [make(seed) for seed in range(3)]
    combined = ensemble.build(members, averaging="mean-probabilities")
    each = [logits(member).astype("f8") for member in members]
    logs = [z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in each]
    expected = np.logaddexp.reduce(logs, axis=0) - np.log(3)
    found = logits(combined)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.exp(expected).sum(axis=1), 1.0)
    if make is sharp:  # where the softmax itself would be 0
        assert found.min() < -110

    path = tmp_path / "super_teacher.keras"
    combined.save(path)
    loaded = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(logits(loaded), found)
    nested = ensemble.build([loaded, combined], averaging="mean-probabilities")
    np.testing.assert_allclose(logits(nested), found, rtol=1e-5, atol=1e-5)
