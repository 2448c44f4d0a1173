import numpy as np
import pandas as pd

SIZES = [20, 40, 80, 160, 320, 640]
MEANS = pd.Series([0.75, 0.83, 0.89, 0.905, 0.92, 0.922], index=SIZES)  # the last doubling gains 8 euros
CURVE = pd.DataFrame(
    {
        "labels": np.repeat(SIZES, 3),
        "accuracy": (1 - 0.8 * np.repeat(SIZES, 3) ** -0.4) + np.tile([-0.004, 0, 0.004], 6),
    }
)
ANSWERS = {
    "10.1": {"right": 2**-0.66, "wrong": [0.5, 2**0.66, 0.9, "less"], "facts": {"exponent": 0.66}},
    "10.2": {"right": 320, "wrong": [640, 40, 100, "320"], "facts": {"means": MEANS}},
    "10.3": {"right": [True, True], "wrong": [[False, True], [True], "both"], "facts": {"curve": CURVE}},
}
