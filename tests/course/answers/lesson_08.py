ANSWERS = {
    "08.1": {
        "right": ["distance", "cka", "predicted gain"],
        "wrong": [
            ["predicted gain", "cka", "predicted gain"],
            ["distance", "distance", "predicted gain"],
            ["distance", "cka", "distance"],
            ["distance", "cka"],
        ],
    },
    "08.2": {"right": (1845, 946), "wrong": [(946, 1845), (1.99, 0.5), 1845]},
    "08.3": {"right": "hurts", "wrong": ["helps", -0.35]},
}
