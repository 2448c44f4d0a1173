import numpy as np

TEST = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
LEAKY = np.concatenate([TEST[:3], TEST[:1], TEST[4:] + 0.1])  # three copies, one of them twice, near ones
ANSWERS = {
    "01.1": {
        "right": lambda maps: maps.mean(axis=(1, 2)),
        "wrong": [
            lambda maps: maps.mean(axis=(0, 1, 2)),
            lambda maps: maps.mean(axis=-1),
            lambda maps: maps.reshape(len(maps), -1),
            lambda maps: maps.mean(),
            lambda maps: maps.sum(axis=(1, 2)),
            lambda maps: maps.max(axis=(1, 2)),
            lambda maps: maps[:, 0, 0],
            lambda maps: maps.reshape(len(maps), maps.shape[-1], -1).mean(axis=-1),
            lambda maps: np.median(maps, axis=(1, 2)),
            lambda maps: maps.mean(axis=(1, 2), keepdims=True),
            lambda: 0,
            7,
        ],
    },
    "01.2": {"right": 3, "wrong": [8, 4, 0, 3.5], "facts": {"leaky": LEAKY, "test": TEST}},
    "01.3": {
        "right": {"pixels": 0.98, "features": 0.8},
        "wrong": [
            {"pixels": 0.8, "features": 0.98},
            {"pixels": 0.1, "features": 0.8},
            {"pixels": 0.9, "features": 0.5},
            {"pixels": 0.98},
        ],
    },
}
