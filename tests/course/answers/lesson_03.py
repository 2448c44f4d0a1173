import pandas as pd

KEPT = pd.DataFrame(
    [
        {"arm": "LwF", "seed": 0, "old digits, not told": 0.6, "new digits, not told": 0.5},
        {"arm": "LwF", "seed": 1, "old digits, not told": 0.1, "new digits, not told": 0.1},
        {"arm": "fine-tuned", "seed": 0, "old digits, not told": 0.0, "new digits, not told": 0.9},
    ]
)
ANSWERS = {
    "03.1": {"right": {"b", "d"}, "wrong": [{"a", "b", "d"}, {"b", "c", "d"}, {"b"}, {"e"}, 2]},
    "03.2": {
        "right": {"old": 0.5, "new": 0.8},
        "wrong": [{"old": 0.6, "new": 0.5}, {"old": 0.7, "new": 0.8}, {"old": 0.5}, (0.5, 0.8)],
        "facts": {"kept": KEPT, "seed": 0},
    },
    "03.3": {"right": (0.5, 0.4), "wrong": [(0.4, 0.5), (0.5, 0.1), (0.95, 0.4), 0.5]},
}
