"""Serves a SavedModel that `student` or `export` wrote, over HTTP, by LitServe.

    pip install "kerasdistill[serve]"
    python docs/serve.py saved_models/NAME --port 8000

    curl localhost:8000/predict -H "Content-Type: application/json" \\
        -d '{"image": [[[[0, 0, 0], ...]]]}'

The request holds pixels 0-255, [N, height, width, channels]; the answer has logits
[N, classes] and the names of the likeliest classes. Only TensorFlow and LitServe are
needed where it runs.
"""

import argparse
import json
from pathlib import Path

import litserve
import numpy as np
import tensorflow as tf
from fastapi import HTTPException


class Classifier(litserve.LitAPI):
    """One SavedModel; its card tells the classes' names."""

    def __init__(self, saved_model: str):
        super().__init__()
        self._path = saved_model

    def setup(self, device: str) -> None:
        self._loaded = tf.saved_model.load(self._path)
        self._predict = self._loaded.signatures["serving_default"]
        card = json.loads(Path(self._path, "card.json").read_text())
        self._names = card["class_names"]

    def decode_request(self, request: dict) -> np.ndarray:
        spec = self._predict.structured_input_signature[1]["image"]
        try:
            images = np.asarray(request["image"], np.uint8)
            spec.shape.assert_is_compatible_with(images.shape)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f'expected {{"image": pixels 0-255, {spec.shape}}}: {error}'
            raise HTTPException(status_code=400, detail=reason) from error
        return images

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self._predict(image=tf.constant(images))["logits"].numpy()

    def encode_response(self, logits: np.ndarray) -> dict:
        likeliest = [self._names[place] for place in logits.argmax(axis=1)]
        return {"logits": logits.tolist(), "class_names": likeliest}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("saved_model")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    api = Classifier(asked.saved_model)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=asked.port, generate_client_file=False)
