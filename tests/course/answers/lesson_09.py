import numpy as np


def l2_sp(w, start, strength):
    return strength / 2 * np.sum((w - start) ** 2)


ANSWERS = {
    "09.1": {"right": 0.25, "wrong": [0.1, 0.4, 0.5, 0.75, 25]},
    "09.2": {
        "right": l2_sp,
        "wrong": [
            lambda w, start, strength: strength / 2 * np.sum(w**2),
            lambda w, start, strength: 0.25 * np.sum((w - start) ** 2),
            lambda w, start, strength: strength * np.sum((w - start) ** 2),
            lambda w, start: 0.0,
            lambda w, start, strength: w.missing,
        ],
    },
    "09.3": {"right": 9.5, "wrong": [0.095, 2.0, "much"], "facts": {"best": 3.5}},
}
