import numpy as np

TEST = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
LEAKY = np.concatenate([TEST[:3], TEST[:1], TEST[4:] + 0.1])  # three copies, one of them twice, near ones
ANSWERS = {
    "01.1": {"right": 60, "wrong": [50, 5, 1280, "sixty"], "facts": {"features": 5, "classes": 10}},
    "01.2": {"right": 3, "wrong": [8, 4, 0, 3.5], "facts": {"leaky": LEAKY, "test": TEST}},
    "01.3": {
        "right": {"pixels": 0.98, "features": 0.8},
        "wrong": [{"pixels": 0.8, "features": 0.98}, {"pixels": 0.1, "features": 0.8}, {"pixels": 0.98}],
    },
}
