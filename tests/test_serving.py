"""The documented server, as a process of its own, answers with the model's logits."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from kerasdistill import evaluation
from kerasdistill.budget import Budget
from kerasdistill.exports import saved_model as export
from kerasdistill.models import urban
from kerasdistill.recipes import urban2017
from pipelines import datasets

SERVER = Path(__file__).parents[1] / "docs" / "serve.py"
_SECONDS = 120


def ask(url, images):
    body = json.dumps({"image": images.tolist()}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("litserve") is None,
    reason="litserve is not installed: kerasdistill[serve]",
)
def test_a_server_answers_with_the_model_s_logits(tmp_path):
    recipe = urban2017.student(budget=Budget(30_000), convs=2)
    shape = {"image_shape": (32, 32, 3), "num_classes": 10, "seed": 0}
    model = urban.build(recipe.architecture, **shape)
    images = datasets.load("digits").test.images[:4]
    names = [f"digit {number}" for number in range(10)]
    card = {"class_names": names}
    export.export_saved_model(model, tmp_path / "saved", card=card, images=images)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(tmp_path / "saved"), "--port", str(port)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        url, began = f"http://127.0.0.1:{port}/predict", time.monotonic()
        while True:
            try:
                answer = ask(url, images[:1])
                break
            except (urllib.error.URLError, ConnectionError):
                log.seek(0)
                assert process.poll() is None, log.read()
                assert time.monotonic() - began < _SECONDS, log.read()
                time.sleep(0.5)
        expected = evaluation.predict(model, images)
        np.testing.assert_allclose(answer["logits"], expected[:1], atol=1e-4)
        assert answer["class_names"] == [names[expected[0].argmax()]]
        four = ask(url, images)
        np.testing.assert_allclose(four["logits"], expected, atol=1e-4)
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(url, images[:, :7])
        assert 400 <= refused.value.code < 500
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)
        log.close()
