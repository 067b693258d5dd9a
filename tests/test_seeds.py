import hashlib
import subprocess
import sys

import numpy as np

from kerasdistill.seeds import derive_seed, permutation, view_seeds

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def splitmix64(state):
    """Steele et al. (OOPSLA 2014) with Python's own integers."""
    bits = (state + GOLDEN) & MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def test_derived_seed_is_the_start_of_a_sha256():
    assert hashlib.sha256(b"0/order/3").hexdigest().startswith("4b995853")
    assert derive_seed(0, "order", 3) == 0x4B995853 >> 1
    assert derive_seed(0, "order", "3") == derive_seed(0, "order", 3)


def test_derived_seeds_differ_by_base_and_by_every_label():
    seeds = {
        derive_seed(base, label, index)
        for base in range(10)
        for label in ("weights", "views", "order")
        for index in range(100)
    }
    assert len(seeds) == 3000
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_view_seeds_never_change():
    # Stored distillation sets are made again from these.
    expected = [4247548562124086518, 3120157517684379125, 2904388652928148421]
    found = view_seeds(np.array([0, 1, 49_999]), pass_index=2, seed=7)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_view_seeds_are_splitmix64_of_id_and_pass():
    stream = splitmix64(derive_seed(7, "views", 2) * GOLDEN & MASK)
    expected = [splitmix64((sample + stream) & MASK) for sample in range(50)]
    found = view_seeds(np.arange(50), pass_index=2, seed=7)
    assert found.view(np.uint64).tolist() == expected


def test_a_views_seed_does_not_depend_on_its_company():
    ids = permutation(1000, 0, "company")
    together = view_seeds(ids, pass_index=3, seed=1)
    alone = [view_seeds(ids[i : i + 1], pass_index=3, seed=1)[0] for i in range(20)]
    assert together[:20].tolist() == alone


def test_views_of_many_passes_have_seeds_of_their_own():
    drawn = [
        view_seeds(np.arange(5000), pass_index=index, seed=seed)
        for seed in (0, 1)
        for index in range(10)
    ]
    assert len(np.unique(np.concatenate(drawn))) == 100_000


def test_permutation_never_changes():
    found = permutation(8, 0, "order", 3)
    assert found.tolist() == [7, 2, 6, 0, 1, 3, 5, 4]
    assert found.dtype == np.int64
    assert permutation(8, 1, "order", 3).tolist() != found.tolist()
    assert permutation(8, 0, "order", 4).tolist() != found.tolist()
    assert sorted(permutation(1000, 0, "order")) == list(range(1000))


def test_another_process_derives_the_same():
    # Python salts its own hash() anew in every process; ours must not.
    script = "from kerasdistill.seeds import *; print(permutation(9, 4, 'a').tolist())"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(permutation(9, 4, "a").tolist())
