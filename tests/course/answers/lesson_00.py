from types import SimpleNamespace as Some

import numpy as np
from scipy.special import softmax

LABELS = np.array([0, 0, 0, 0, 1, 1])
PREDICTED = np.array([0, 0, 1, 0, 1, 1])  # class 1 is always correct, but class 0 is predicted as often
DATA = Some(class_names=["face", "tool"], validation=Some(labels=LABELS))


class Classifier:
    """Twelve classes from five features."""

    output_shape = (None, 12)

    def get_layer(self, name):
        return Some(input_shape=(None, 5))


ANSWERS = {
    "00.1": {"right": 5, "wrong": [12, 48 * 48 * 3, "five"], "facts": {"model": Classifier()}},
    "00.2": {
        "right": "tool",
        "wrong": ["face", "hammer", 1],
        "facts": {"predicted": PREDICTED, "data": DATA},
    },
    "00.3": {
        "right": lambda features, W, b: softmax(features @ W + b, axis=1),
        "wrong": [
            lambda features, W, b: features @ W + b,
            lambda features, W, b: softmax(features @ W + b, axis=0),
            lambda features, W, b: softmax(features @ W, axis=1),
            lambda features, W, b: softmax(2 * (features @ W + b), axis=1),
            lambda features: features,
            None.__class__,
        ],
    },
}
