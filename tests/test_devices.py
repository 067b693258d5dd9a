"""What --devices means, on a machine whose processor is two for TensorFlow."""

import pytest
import tensorflow as tf

from kerasdistill.errors import UserError
from kerasdistill.training import engines
from kerasdistill.training.engines import tensorflow


def test_parts_of_the_processor_are_used_within():
    assert tensorflow.strategy().num_replicas_in_sync == 1
    with engines.current().using("cpu:2"):
        assert tensorflow.strategy().num_replicas_in_sync == 2
        assert tensorflow.strategy() is tensorflow.choose("cpu:2")
        with engines.current().using("all"):
            assert tensorflow.strategy().num_replicas_in_sync == 1
        assert not tf.distribute.has_strategy()
    assert tensorflow.strategy().num_replicas_in_sync == 1


@pytest.mark.parametrize("asked", ["", "some", "0", "-1", "cpu:", "cpu:0", "gpu:1"])
def test_text_of_no_known_form(asked):
    with pytest.raises(UserError, match="expected all, a number or cpu:N"):
        with engines.current().using(asked):
            pass


@pytest.mark.parametrize(
    ("asked", "fragment"), [("64", "GPUs here"), ("cpu:3", "begun with 2")]
)
def test_more_than_there_are(asked, fragment):
    with pytest.raises(UserError, match=fragment):
        with engines.current().using(asked):
            pass
