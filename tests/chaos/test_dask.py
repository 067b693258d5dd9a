"""Precompute on a Dask cluster, killed at random moments; the cluster lives on.

A killed worker and a killed scheduler are in `tests/pipelines/test_clusters.py`.
"""

import random
import shutil

import pytest

from tests.chaos.harness import killed_at_random, outcome
from tests.clusters import DaskCluster, Programs

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path_factory):
    pytest.importorskip("distributed", reason="needs the extra [dask]")
    programs = Programs(tmp_path_factory.mktemp("programs"))
    yield DaskCluster(programs)
    programs.stop()


def test_random_moments(server, inputs, cluster, tmp_path):
    words = inputs.fill("precompute --teacher {teacher} --passes 4").split()
    line = [*words, *cluster.options]
    for _ in range(2):  # the first time workers import, so it says nothing of time
        shutil.rmtree(tmp_path / "whole", ignore_errors=True)
        whole = server.run(line, tmp_path / "whole")
        assert whole.rc == 0, whole.said[-3000:]
    expected = outcome(tmp_path / "whole")
    draw = random.Random("dask")
    kills = killed_at_random(server, line, tmp_path, whole, expected, draw)
    print(f"precompute on Dask: killed {kills} times")
