ANSWERS = {
    "05.1": {
        "right": ["flip", "colour", "turn"],
        "wrong": [
            ["turn", "colour", "turn"],
            ["flip", "turn", "turn"],
            ["flip", "colour", "flip"],
            ["flip", "color", "turn"],
        ],
    },
    "05.2": {"right": 0.92, "wrong": [0.8, 0.99, "better"], "facts": {"frozen": 0.83, "ceiling": 0.97}},
    "05.3": {
        "right": {"partners": 0.3, "strangers": 2.0},
        "wrong": [
            {"partners": 0.3, "strangers": 0.3},
            {"partners": 0.0, "strangers": 2.0},
            {"partners": 0.3, "strangers": 20.0},
            [0.3, 2.0],
        ],
    },
}
