from types import SimpleNamespace as Some

import numpy as np

LABELS = np.array([0, 0, 0, 0, 1, 1])
NAMED = np.array([0, 0, 1, 0, 1, 1])  # all of class 1, but class 0 is answered as often
DATA = Some(class_names=["face", "tool"], test=Some(labels=LABELS))


class Classifier:
    """Twelve classes from five features; right on three of four openmoji pictures."""

    input_shape, output_shape = (None, 48, 48, 3), (None, 12)

    def get_layer(self, name):
        return Some(input_shape=(None, 5))

    def predict(self, images, verbose=0):
        from tlkit.data import load

        labels = load("emoji/openmoji", image_size=48).test.labels
        return np.eye(12)[np.where(np.arange(len(labels)) % 4, labels, (labels + 1) % 12)]


def truth():
    from tlkit.data import load

    n = len(load("emoji/openmoji", image_size=48).test)
    return np.mean(np.arange(n) % 4 > 0)


ANSWERS = {
    "00.1": {"right": 5, "wrong": [12, 48 * 48 * 3, "five"], "facts": {"model": Classifier()}},
    "00.2": {"right": "tool", "wrong": ["face", "hammer", 1], "facts": {"predicted": NAMED, "data": DATA}},
    "00.3": {"right": truth(), "wrong": [0.08, 0.5, 75], "facts": {"model": Classifier()}},
}
