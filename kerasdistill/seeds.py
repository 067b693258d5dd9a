"""Where every random number comes from: seeds derived from names, never from order."""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def derive_seed(base: int, *labels: str | int) -> int:
    """A 31-bit seed for the thing called `labels` under the run seed `base`."""
    text = "/".join([str(base), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def view_seeds(sample_ids: np.ndarray, *, pass_index: int, seed: int) -> np.ndarray:
    """One 64-bit seed per view: a function of (sample id, pass, run seed) alone.

    Args:
        sample_ids: integers [N].
        pass_index: augmented sweep the views belong to.
        seed: run seed.

    Returns:
        int64 [N] (the bits of a splitmix64 hash; Steele et al., OOPSLA 2014).
    """
    stream = np.uint64(derive_seed(seed, "views", pass_index))
    ids = np.asarray(sample_ids, np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):
        hashed = _mix(ids + _mix(np.atleast_1d(stream) * _GOLDEN))
    return hashed.astype(np.int64)


def permutation(count: int, seed: int, *labels: str | int) -> np.ndarray:
    """A permutation of range(count), int64 [count], fixed by seed and labels."""
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, *labels)))
    return generator.permutation(count)


def _mix(bits: np.ndarray) -> np.ndarray:
    bits = bits + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
