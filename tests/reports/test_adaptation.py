"""The report of an adaptation: what it gained on labelled target images, and what is unknown without them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tlkit import build_classifier, write_report
from tlkit.data import Split
from tlkit.reports.adaptation import Adaptation, Candidate


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


@pytest.fixture
def voted(adaptation):
    """The same adaptation by vote: three methods, of which one is better than the vote."""
    labels = adaptation.target.labels
    predicted = {"source only": 10, "matched features": 21, "jan": 27, "mcc": 24}
    candidates = [
        Candidate(name, 0.1 * i, 2.0, np.where(np.arange(30) < right, labels, (labels + 1) % 10))
        for i, (name, right) in enumerate(predicted.items(), start=6)
    ]
    known = {"train": adaptation.probabilities["train"], "validation": adaptation.probabilities["validation"]}
    probabilities = np.eye(10, dtype="float32")[candidates[3].predicted]
    return replace(
        adaptation,
        method="auto",
        validator=None,
        choice="vote",
        structure=0.5,
        candidates=candidates,
        probabilities=known | {"target": probabilities},
        target_frequencies=np.full(10, 0.1),
        ceiling=labels,
        history={},
    )


def test_the_report_of_a_vote_compares_the_methods_and_says_what_the_choice_cost(voted, page, titles):
    assert titles(voted.report())[:3] == ["What adaptation gained", "The vote", "The features"]
    text = page(voted)
    assert "domain adaptation by vote with LeNet" in text
    assert (
        "source only 33.3%; matched features 70.0%; jan 90.0%; mcc 80.0%; adapted (the result) 80.0%" in text
    )
    assert "trained on target labels 100.0%" in text
    assert "The best of these is jan: its accuracy is 10.0 points higher than that of the result." in text
    assert "label shift" not in text


def test_metrics_of_a_vote_hold_each_method(voted):
    numbers = voted.metrics()
    assert (numbers["choice"], numbers["structure"]) == ("vote", 0.5)
    assert [each["name"] for each in numbers["methods"]] == ["source only", "matched features", "jan", "mcc"]
    assert [each["accuracy"] for each in numbers["methods"]] == pytest.approx([1 / 3, 0.7, 0.9, 0.8])
    assert sum(numbers["target_frequencies"]) == pytest.approx(1)


def test_a_vote_without_target_labels_shows_the_agreement_alone(voted):
    unlabelled = replace(voted, target=voted.target.unlabelled(), accuracies=dict.fromkeys(voted.accuracies))
    numbers = unlabelled.metrics()
    assert {each["accuracy"] for each in numbers["methods"]} == {None}
    vote = next(each for each in unlabelled.report().sections if each.title == "The vote")
    assert len(vote.blocks) == 3


def test_where_classes_are_unbalanced_the_methods_are_compared_by_balanced_accuracy(voted):
    labels = np.array([0] * 27 + [1, 2, 3])
    unbalanced = Split(voted.target.images, labels, voted.target.names)
    text = replace(voted, target=unbalanced).report().sections[0].blocks[-2].alt
    assert text.startswith("Balanced accuracy on the target: source only")


def test_a_shift_of_the_class_frequencies_is_a_caution(voted):
    shifted = replace(voted, target_frequencies=np.array([0.91] + 9 * [0.01]))
    found = [each for each in shifted.report().sections[0].blocks if getattr(each, "style", "") == "caution"]
    assert "(label shift): 0 91 % (source" in found[0].text
