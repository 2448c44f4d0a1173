BOUNDS = {"low": 0.2, "high": 0.7}
ANSWERS = {
    "04.1": {
        "right": ["inductive", "transductive", "unsupervised"],
        "wrong": [
            ["transductive", "transductive", "unsupervised"],
            ["inductive", "inductive", "unsupervised"],
            ["inductive", "transductive", "transductive"],
            ["inductive", "transductive"],
            "inductive",
        ],
    },
    "04.2": {"right": 0.35, "wrong": [0.2, 0.75, 35], "facts": BOUNDS},
    "04.3": {
        "right": {"A-distance": 1.9, "accuracy": 0.55},
        "wrong": [
            {"A-distance": 1.9, "accuracy": 0.22},
            {"A-distance": 98, "accuracy": 0.55},
            {"A-distance": 1.9, "accuracy": 55},
            {"accuracy": 0.55},
        ],
        "facts": {"low": 0.2},
    },
}
