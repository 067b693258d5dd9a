"""Tests on JAX: `tests/test_on_jax.py` starts them in a process of its own."""

import keras

collect_ignore_glob = ["test_*"] if keras.config.backend() != "jax" else []
