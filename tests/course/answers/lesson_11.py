import numpy as np
import pandas as pd


def nce(z, y):
    joint = pd.crosstab(z, y).to_numpy() / len(y)
    source = np.broadcast_to(joint.sum(axis=1, keepdims=True), joint.shape)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / source[seen])))


def undivided(z, y):
    joint = pd.crosstab(z, y).to_numpy() / len(y)
    return float(np.sum(joint[joint > 0] * np.log(joint[joint > 0])))


def by_label(z, y):
    return nce(y, z)


ANSWERS = {
    "11.1": {"right": -np.log(10), "wrong": [np.log(10), -1, -np.log2(10), "none"]},
    "11.2": {"right": nce, "wrong": [lambda z, y: -nce(z, y), undivided, by_label, nce([0, 1], [0, 1])]},
    "11.3": {
        "right": {"Lite0, ImageNet": 0.53, "LeNet, MNIST": 0.28},
        "wrong": [
            {"Lite0, ImageNet": 0.28, "LeNet, MNIST": 0.53},
            {"Lite0, ImageNet": 0.08, "LeNet, MNIST": 0.05},
            {"Lite0": 0.53, "LeNet": 0.28},
        ],
    },
}
