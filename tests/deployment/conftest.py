import json

import pytest


def numbers(**more):
    """The metrics.json of a small run on optical digits, as `tlkit train` writes it."""
    names = list("0123456789")
    rows = [{"name": name, "precision": 0.9, "recall": 0.75, "f1": 0.82, "support": 36} for name in names]
    told = {
        "command": "tlkit train digits/optical --out run",
        "technique": "scratch",
        "backbone": "LeNet",
        "seed": 0,
        "data": "digits/optical",
        "image_size": 28,
        "splits": {"train": 1079, "validation": 359, "test": 359},
        "skipped": {"count": 0, "files": []},
        "duplicates": {"count": 0, "pairs": []},
        "versions": {"python": "3.11.7", "keras": "3.15.1"},
        "interrupted": False,
        "classes": 10,
        "class_names": names,
        "accuracy": {"train": 0.95, "validation": 0.8, "test": 0.75},
        "interval": {"split": "test", "images": 359, "level": 0.95, "low": 0.703, "high": 0.792},
        "per_class": rows,
        "runs": [],
    }
    return told | more


@pytest.fixture
def saved(tmp_path):
    """Write a run's metrics.json, with other numbers where some are given; return its folder."""

    def write(**more):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "metrics.json").write_text(json.dumps(numbers(**more)), "utf-8")
        return tmp_path / "run"

    return write


def run_with_model(folder, augmentation=None):
    """Save a run on optical digits with a LeNet of random weights; return its folder."""
    import keras

    from tlkit.models import build_classifier

    folder.mkdir()
    keras.utils.set_random_seed(0)
    model = build_classifier("LeNet", classes=10, weights=None, augmentation=augmentation)
    model.save(folder / "model.keras")
    (folder / "metrics.json").write_text(json.dumps(numbers()), "utf-8")
    return folder


@pytest.fixture(scope="module")
def with_model(tmp_path_factory):
    """The folder of a run whose model has no augmentation."""
    return run_with_model(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture
def with_augmentation(tmp_path):
    """The folder of a run whose model begins with augmentation, as after fine-tuning."""
    from tlkit.models import augmentation

    return run_with_model(tmp_path / "augmented", augmentation(flip=False))


def about(kind, measure, classes, **more):
    """What metrics.json says about a task that was measured on 10 test images."""
    told = {"kind": kind, "measure": measure, "classes": classes, measure: {"test": 0.5}, "baseline": 0.4}
    told |= {"labelled": {"train": 20, "validation": 10, "test": 10}, "interval": None, "measures": None}
    return told | more


TASKS = {
    "form": about(
        *("classification", "accuracy", ["circle", "square"]),
        interval={"split": "test", "images": 10, "level": 0.95, "low": 0.24, "high": 0.76},
    ),
    "left edge": about("regression", "error", None, mean=5.0, deviation=2.0),
    "marks": about("multi-label", "accuracy", ["early", "round", "red"]),
}


@pytest.fixture(scope="module")
def with_tasks(tmp_path_factory):
    """The folder of a run with three tasks and random weights, whose data are 12 images and a table."""
    import keras
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("tasks")
    (root / "images").mkdir()
    rows = ["file,form,left edge,marks,comment"]
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (30, 30, 3), "uint8")
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        rows.append(f"{i}.png,{('circle', 'square')[i % 2]},{i},{('early|round', '-')[i % 2]},none")
    (root / "labels.csv").write_text("\n".join(rows), "utf-8")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 3))
    features = keras.layers.Flatten()(
        keras.layers.AveragePooling2D(7)(keras.layers.Rescaling(1 / 255)(inputs))
    )
    outputs = {
        "form": keras.layers.Dense(2, activation="softmax")(features),
        "left edge": keras.layers.Rescaling(2.0, 5.0)(keras.layers.Dense(1)(features)),
        "marks": keras.layers.Dense(3, activation="sigmoid")(features),
    }
    (root / "run").mkdir()
    keras.Model(inputs, outputs).save(root / "run" / "model.keras")
    more = {"data": str(root / "images"), "evaluated": "test", "tasks": TASKS, "balancing": "equal"}
    told = {name: each for name, each in numbers(**more).items() if name not in CLASSIFIER}
    (root / "run" / "metrics.json").write_text(json.dumps(told), "utf-8")
    return root / "run"


CLASSIFIER = ("classes", "class_names", "accuracy", "interval", "per_class", "runs")
