"""The report of an adaptation: what it gained and changed, and what is unknown without target labels."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tlkit import build_classifier, write_report
from tlkit.data import Split
from tlkit.reports.adaptation import Adaptation, Compared

NAMES = [
    "What adaptation gained",
    "What adaptation changed",
    "The methods compared",
    "The features",
    "The data",
]


@pytest.fixture(scope="module")
def adaptation(digits):
    """An adaptation that was never trained: before it a third of the target was right, and after it all."""
    labels, eye, rng = digits.test.labels[:30], np.eye(10, dtype="float32"), np.random.default_rng(0)
    right = np.arange(30) < 10
    curve = {"loss": [2.0, 1.0], "accuracy": [0.3, 0.6], "discriminator_accuracy": [0.9, 0.5]}
    return Adaptation(
        model=build_classifier("LeNet", 10, weights=None),
        source=digits,
        target=digits.test.subset(slice(30)),
        target_name="sketches <b>",
        method="jan",
        backbone="LeNet",
        seed=0,
        probabilities={"train": eye[digits.train.labels], "target": eye[labels]},
        before=eye[np.where(right, labels, (labels + 1) % 10)],
        history={"adaptation": curve},
        compared=[
            Compared("jan", labels, {"entropy": -0.1, "snd": 2.0}, 3.0),
            Compared("mcc", np.where(np.arange(30) < 27, labels, 0), {"entropy": -0.2, "snd": 3.0}, 2.0),
        ],
        features={when: (rng.normal(size=(12, 3)), rng.normal(size=(12, 3))) for when in ("before", "after")},
        source_labels=digits.train.labels[:12],
        seconds={"training": 65.0, "total": 70.0},
    )


def test_the_report_compares_the_classifiers_on_the_target(adaptation, page, stands_alone, titles):
    report = adaptation.report()
    assert report.answer == "100 % of 30 target images right, 95 % interval 89 to 100 %"
    assert titles(report)[:5] == NAMES
    assert {"Confusion", "Each class", "Worst mistakes"} <= set(titles(report))
    text = page(adaptation)
    mcc = adaptation.accuracies["mcc"]
    assert 0.9 <= mcc < 1
    assert f"source only 33.3%; adapted 100.0%; mcc {mcc:.1%}" in text
    assert "trained on target labels" not in text  # it was not measured
    assert f"proxy A-distance of {adaptation.a_distance['before']:.2f}" in text
    assert "Discriminator accuracy." in text
    assert "sketches &lt;b&gt;" in text
    assert "<b>" not in text
    assert len(stands_alone(text)) > 20


def test_the_report_shows_the_images_whose_class_changed(adaptation):
    section = adaptation.report().sections[1]
    assert "changes the class of 20 of 30 target images (67 %)" in section.blocks[0].text
    table = section.blocks[1].frame
    assert list(table.columns) == ["predicted class", "source only", "adapted"]
    assert list(table["predicted class"]) == adaptation.class_names
    assert len(section.blocks[-1].tiles) == 12


def test_a_collapse_is_a_caution(adaptation):
    everything = np.eye(10, dtype="float32")[np.arange(30) % 2]
    collapsed = replace(adaptation, probabilities=adaptation.probabilities | {"target": everything})
    assert collapsed.collapsed
    assert not adaptation.collapsed
    cautions = [b.text for b in collapsed.report().sections[1].blocks if getattr(b, "style", "") == "caution"]
    assert "at most half of the classes" in cautions[0]


def test_metrics_have_every_method(adaptation, tmp_path):
    out = write_report(adaptation, tmp_path / "run")
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "model.keras", "report.html"]
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert numbers["accuracy"] == pytest.approx(adaptation.accuracies)
    assert numbers["accuracy_by_split"] == {"train": 1.0, "validation": None, "test": 1.0}
    assert numbers["splits"] == {"train": 200, "validation": None, "test": 30}
    assert (numbers["method"], numbers["target"]) == ("jan", "sketches <b>")
    assert numbers["interval"]["images"] == 30
    assert numbers["a_distance"] == adaptation.a_distance
    assert [(row["name"], row["snd"]) for row in numbers["methods"]] == [("jan", 2.0), ("mcc", 3.0)]
    assert sum(numbers["predicted_frequencies"]["adapted"]) == pytest.approx(1)
    assert sum(row["support"] for row in numbers["per_class"]) == 30


def test_without_target_labels_nothing_is_claimed(adaptation, titles):
    unlabelled = replace(adaptation, target=adaptation.target.unlabelled(), interrupted=True)
    report = unlabelled.report()
    assert report.answer == "Trained; there are no labelled target images to evaluate it on."
    assert report.cautions == ["Training was interrupted before its end."]
    assert "Confusion" not in titles(report)
    _, advice = report.sections[0].blocks
    assert advice.style == "caution"
    assert "--evaluate" in advice.text
    numbers = unlabelled.metrics()
    assert unlabelled.accuracy is None
    assert numbers["interval"] is None
    assert {row["accuracy"] for row in numbers["methods"]} == {None}
    assert numbers["per_class"] == []


def test_where_classes_are_unbalanced_the_methods_are_compared_by_balanced_accuracy(adaptation):
    labels = np.array([0] * 27 + [1, 2, 3])
    unbalanced = Split(adaptation.target.images, labels, adaptation.target.names)
    text = replace(adaptation, target=unbalanced).report().sections[0].blocks[1].alt
    assert text.startswith("Balanced accuracy on the target: source only")
