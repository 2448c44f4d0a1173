"""A right answer to every exercise, plausible wrong ones, and the facts that the lesson would give."""

from tlkit import build_classifier, freeze

LENET = build_classifier("LeNet", classes=10, weights=None, image_size=20)
freeze(LENET)
DENSE, HEAD = 130_200, 1_010


def train(rate):
    """Too large a step forgets, too small a one does not learn."""
    return {"old digits": 0.9 if rate < 1e-2 else 0.1, "validation": 0.8 if rate > 1e-4 else 0.5}


ANSWERS = {
    "02.1": {
        "right": DENSE + HEAD,
        "wrong": [DENSE, LENET.count_params(), HEAD, "131,210", 1.5],
        "facts": {"model": LENET},
    },
    "02.2": {"right": 1e-3, "wrong": [3e-2, 1e-5, -1, "small"], "facts": {"train": train, "large": 0.7}},
    "02.3": {"right": False, "wrong": [True, "frozen", 0.5]},
}
