"""The report of an adaptation: what it gained on labelled target images, and what is unknown without them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tlkit import build_classifier, write_report
from tlkit.experiments.adapt import Adaptation


@pytest.fixture(scope="module")
def adaptation(digits):
    """An adaptation that was never trained: before it a third of the target was right, and after it all."""
    labels = digits.test.labels[:30]
    model = build_classifier("LeNet", 10, weights=None)
    found = Adaptation(model, digits, digits.test.subset(slice(30)), "sketches <b>", "jan", "snd", "LeNet", 0)
    known = {
        name: np.eye(10, dtype="float32")[digits.splits[name].labels] for name in ("train", "validation")
    }
    found.probabilities = known | {"target": np.eye(10, dtype="float32")[labels]}
    found.before = np.eye(10, dtype="float32")[np.where(np.arange(30) < 10, labels, (labels + 1) % 10)]
    found.accuracies |= {"source_only": 1 / 3, "last": 0.9, "selected": 1.0, "oracle": 1.0}
    found.target_accuracy = [0.5, 1.0, 0.9]
    found.a_distance = {"before": 1.5, "after": 0.25}
    rng = np.random.default_rng(0)
    found.features = {
        when: (rng.normal(size=(12, 3)), rng.normal(size=(12, 3))) for when in ("before", "after")
    }
    found.source_labels = digits.train.labels[:12]
    curve = {"loss": [2.0, 1.0], "accuracy": [0.3, 0.6]}
    found.history = {"source only": curve, "adaptation": curve | {"discriminator_accuracy": [0.9, 0.5]}}
    found.seconds = {"training": 65.0, "total": 70.0}
    return found


def test_the_report_compares_the_arms_on_the_target(adaptation, page, stands_alone, titles):
    report = adaptation.report()
    assert report.answer == "100 % of 30 target images right, 95 % interval 89 to 100 %"
    assert titles(report)[:4] == ["What adaptation gained", "The features", "The data", "Training"]
    assert {"Confusion", "Each class", "Worst mistakes"} <= set(titles(report))
    text = page(adaptation)
    assert "source only 33.3%; adapted, last epoch 90.0%" in text
    assert "trained on target labels" not in text  # it was not measured
    assert "chosen by the validator snd" in text
    assert "proxy A-distance of 1.50" in text
    assert "Discriminator accuracy." in text
    assert "sketches &lt;b&gt;" in text
    assert "<b>" not in text
    assert len(stands_alone(text)) > 20


def test_metrics_have_every_arm_and_what_was_not_measured_is_none(adaptation, tmp_path):
    out = write_report(adaptation, tmp_path / "run")
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "model.keras", "report.html"]
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert numbers["accuracy"] == adaptation.accuracies
    assert numbers["accuracy"]["ceiling"] is None
    assert numbers["accuracy_by_split"] == {"train": 1.0, "validation": 1.0, "test": 1.0}
    assert numbers["splits"] == {"train": 200, "validation": 100, "test": 30}
    assert (numbers["method"], numbers["validator"], numbers["target"]) == ("jan", "snd", "sketches <b>")
    assert numbers["interval"]["images"] == 30
    assert numbers["a_distance"] == {"before": 1.5, "after": 0.25}
    assert numbers["target_accuracy"] == [0.5, 1.0, 0.9]
    assert sum(row["support"] for row in numbers["per_class"]) == 30


def test_without_target_labels_nothing_is_claimed(adaptation, titles):
    unlabelled = replace(
        adaptation,
        target=adaptation.target.unlabelled(),
        accuracies=dict.fromkeys(adaptation.accuracies),
        target_accuracy=[],
        validator=None,
        interrupted=True,
    )
    report = unlabelled.report()
    assert report.answer == "Trained; there are no labelled target images to evaluate it on."
    assert report.cautions == ["Training was interrupted before its end."]
    assert "Confusion" not in titles(report)
    said, advice = report.sections[0].blocks
    assert "The last epoch was kept." in said.text
    assert advice.style == "caution"
    assert "--evaluate" in advice.text
    numbers = unlabelled.metrics()
    assert unlabelled.accuracy is None
    assert numbers["interval"] is None
    assert numbers["per_class"] == []
