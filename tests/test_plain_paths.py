"""Folders by a path without patterns, for TensorFlow and Beam."""

import os

import pytest
import tensorflow as tf

from kerasdistill.plain_paths import plain
from pipelines.beam import files
from tests.strange_names import FIT


@pytest.mark.parametrize("name", FIT.values(), ids=FIT)
def test_a_saved_model_is_read_from_any_folder(name, tmp_path):
    module = tf.Module()
    module.weight = tf.Variable(2.5)
    tf.saved_model.save(module, str(tmp_path / name))
    with plain(tmp_path / name) as folder:
        loaded = tf.saved_model.load(folder)
    assert loaded.weight.numpy() == 2.5
    with plain(tmp_path / "nothing [1]") as folder:
        assert folder == str(tmp_path / "nothing [1]")


@pytest.mark.parametrize("name", FIT.values(), ids=FIT)
def test_exactly_what_is_named_is_deleted(name, tmp_path):
    others = [tmp_path / each for each in ("runs 1", "runs x", "another")]
    for folder in (tmp_path / name, *others):
        folder.mkdir()
        (folder / "file").touch()
    files.delete([str(tmp_path / name)])
    files.delete([str(others[0] / "file")])
    assert sorted(os.listdir(tmp_path)) == sorted(each.name for each in others)
    with pytest.raises(files.BeamIOError):
        files.delete([str(tmp_path / "gone *")])
