import numpy as np


def error(predicted, labels):
    return np.mean(predicted != labels)


ANSWERS = {
    "03.1": {"right": {"b", "d"}, "wrong": [{"a", "b", "d"}, {"b", "c", "d"}, {"b"}, {"e"}, 2]},
    "03.2": {
        "right": lambda old, new: [*old[:-2], *new[-2:]],
        "wrong": [
            lambda old, new: old,
            lambda old, new: new,
            lambda old, new: [*new[:-2], *old[-2:]],
            lambda old, new: [*old[:-1], new[-1]],
            lambda old, new: [*old[:-2], new[-2], old[-1]],
            lambda old, new: [*old[:4], *new[4:]],
            lambda old, new: [*old[:2], *new[2:]],
            lambda old, new: old[:-2] + new,
            lambda old, new: None,
            lambda old: old,
        ],
    },
    "03.3": {
        "right": lambda arm, control, labels: error(arm, labels) - error(control, labels),
        "wrong": [
            lambda arm, control, labels: error(control, labels) - error(arm, labels),
            lambda arm, control, labels: abs(error(arm, labels) - error(control, labels)),
            lambda arm, control, labels: error(arm, labels),
            lambda arm, control, labels: error(control, labels),
            lambda arm, control, labels: np.mean(arm != control),
            lambda arm, control, labels: (arm != labels).mean(axis=1) - (control != labels).mean(axis=1),
            lambda arm, control: 0.1,
        ],
    },
}
