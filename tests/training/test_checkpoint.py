import keras
import numpy as np
import pytest

from kerasdistill.errors import StaleArtifactError
from kerasdistill.training import checkpoint


def variables(scale=1.0):
    kernel = keras.Variable(scale * np.arange(6.0).reshape(2, 3), dtype="float32")
    generator = keras.random.SeedGenerator(int(7 * scale))
    return [kernel, generator.state]


def values(found):
    return [variable.numpy().tolist() for variable in found]


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "last.npz"
    checkpoint.save(path, variables(), {"history": [{"loss": 0.1}], "stop": False})
    others = variables(scale=3.0)
    assert values(others) != values(variables())
    assert checkpoint.load(path, others) == {"history": [{"loss": 0.1}], "stop": False}
    assert values(others) == values(variables())


@pytest.mark.parametrize(
    "others",
    [
        lambda: variables()[:1],
        lambda: variables()[::-1],
        lambda: [keras.Variable(np.zeros((3, 2)), dtype="float32"), variables()[1]],
        lambda: [keras.Variable(np.zeros((2, 3)), dtype="int32"), variables()[1]],
    ],
    ids=["fewer", "order", "shape", "dtype"],
)
def test_variables_of_another_model(tmp_path, others):
    path = tmp_path / "last.npz"
    checkpoint.save(path, variables(), {})
    with pytest.raises(StaleArtifactError, match=f"{path} holds another model's"):
        checkpoint.load(path, others())


def test_a_missing_or_cut_off_file_is_named(tmp_path):
    path = tmp_path / "last.npz"
    with pytest.raises(StaleArtifactError, match=f"{path} is damaged"):
        checkpoint.load(path, variables())
    checkpoint.save(path, variables(), {})
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(StaleArtifactError, match=f"{path} is damaged"):
            checkpoint.load(path, variables())


def test_no_flipped_byte_goes_unnoticed(tmp_path):
    path = tmp_path / "last.npz"
    checkpoint.save(path, variables(), {"epoch": 3})
    content, refused = path.read_bytes(), 0
    for position in range(0, len(content), 5):
        for flipped in (0x01, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= flipped
            path.write_bytes(damaged)
            target = variables(scale=3.0)
            try:
                state = checkpoint.load(path, target)
            except StaleArtifactError:
                refused += 1
            else:  # a byte that carries nothing, such as a member's date
                assert (state, values(target)) == ({"epoch": 3}, values(variables()))
    assert refused > len(content) // 5
