"""The report on domain generalization: it claims a difference only where the interval excludes zero."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tlkit import build_classifier, write_report
from tlkit.reports.generalization import Generalization
from tlkit.reports.unseen_domains import Outcome, domain_mean, mean_of_domains

LABELS = np.arange(200) % 2


def outcome(method, left_out, right, held_out):
    return Outcome(
        method, left_out, np.where(np.arange(200) < right, LABELS, 1 - LABELS), LABELS, held_out, 40, 3.0
    )


@pytest.fixture(scope="module")
def result(digits):
    data = [replace(digits, card=replace(digits.card, name=name)) for name in ("a", "b", "c <i>")]
    found = Generalization(
        build_classifier("LeNet", 10, weights=None),
        ["a", "b", "c <i>"],
        data,
        ["erm", "averaging", "mixstyle"],
        "LeNet",
        0,
    )
    right = {"erm": (100, 120, 80), "averaging": (130, 150, 110), "mixstyle": (101, 119, 83)}
    held_out = {"erm": 0.9, "averaging": 0.8, "mixstyle": 0.7}
    found.outcomes = [
        outcome(method, index, right[method][index], held_out[method])
        for index in range(3)
        for method in found.methods
    ]
    found.chosen, found.seconds = "averaging", {"total": 60.0}
    return found


def test_the_best_method_and_what_is_certain_are_said(result, page, stands_alone, titles):
    report = result.report()
    assert report.answer == (
        "averaging has the highest mean accuracy on unseen domains: 65 % on average over 3 domains. "
        "averaging is better than erm: +15.0 points, 95 % interval +12.1 to +17.9."
    )
    assert titles(report)[:3] == ["Accuracy on unseen domains", "The classifier", "The data"]
    text = page(result)
    assert "cannot tell whether mixstyle is better than erm" in text
    assert "trained on all domains by averaging" in text
    assert "c &lt;i&gt; left out" in text
    assert len(stands_alone(text)) == 1


def test_held_out_images_of_known_domains_choose_another_method(result, page):
    methods, accuracy = result.selected_by_held_out()
    assert methods == ["erm"] * 3
    assert accuracy == pytest.approx(0.5)
    assert "would have chosen erm; this choice reaches 50 %" in page(result)


def test_metrics_hold_every_domain_and_the_interval_of_the_difference(result, tmp_path):
    out = write_report(result, tmp_path / "run")
    assert sorted(each.name for each in out.iterdir()) == ["metrics.json", "model.keras", "report.html"]
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    averaging = numbers["methods"][1]
    assert averaging["by_domain"] == {"a": 0.65, "b": 0.75, "c <i>": 0.55}
    assert averaging["difference"]["mean"] == pytest.approx(0.15)
    assert averaging["difference"]["low"] > 0
    assert numbers["methods"][0]["difference"] is None
    assert numbers["methods"][2]["difference"]["low"] < 0 < numbers["methods"][2]["difference"]["high"]
    assert (numbers["chosen"], numbers["interval"]) == ("averaging", None)
    assert numbers["accuracy"]["averaging"] == pytest.approx(0.65)


def test_balanced_accuracy_is_compared_where_classes_are_unbalanced(result, page):
    labels = (np.arange(200) >= 180).astype(int)
    common, both = np.zeros(200, int), np.where(np.arange(200) % 4, labels, 1 - labels)
    outcomes = [
        replace(each, labels=labels, predicted=common if each.method == "erm" else both)
        for each in result.outcomes
    ]
    unbalanced = replace(result, outcomes=outcomes, measure="balanced_accuracy")
    assert unbalanced.mean("erm") == pytest.approx(0.5)  # it always answers with the common class
    assert unbalanced.mean("mixstyle") == pytest.approx(0.75)
    difference, low, high = unbalanced.differences()["mixstyle"]
    assert difference == pytest.approx(0.25)
    deviation = np.sqrt(0.75 * 0.25 / 20 / 4 + 0.75 * 0.25 / 180 / 4) / np.sqrt(3)
    assert (
        1 < (high - low) / (2 * 1.96 * deviation) < 1.15
    )  # few images of a class tell little of its variance
    assert "highest mean balanced accuracy" in unbalanced.answer
    assert "Balanced accuracy on unseen domains" in page(unbalanced)
    metrics = unbalanced.metrics()
    assert (metrics["headline"], metrics["accuracy"]["erm"]) == ("balanced_accuracy", pytest.approx(0.9))
    assert metrics["methods"][0]["mean"] == pytest.approx(0.5)


@pytest.mark.parametrize("rare", [1, 2, 5])
def test_equal_methods_are_seldom_called_different_for_few_images_of_a_class(rare):
    rng, labels = np.random.default_rng(0), np.r_[np.zeros(100, int), np.ones(rare, int)]
    different = 0
    for _ in range(200):
        answers = rng.random((3, 2, 100 + rare)) < 0.7
        differences = [one.astype(float) - other for one, other in answers]
        domains = [domain_mean(each, labels, "balanced_accuracy", 0.5) for each in differences]
        _, low, high = mean_of_domains(domains)
        different += low > 0 or high < 0
    assert different / 200 < 0.1


def test_only_complete_rounds_are_compared(result):
    partial = replace(result, outcomes=result.outcomes[:4], interrupted=True)
    assert not partial.complete
    assert [each.left_out for each in partial.of("erm")] == [0]
    nothing = replace(result, outcomes=result.outcomes[:2], interrupted=True, chosen="frozen")
    assert nothing.report().answer == "No domain was evaluated."
    assert nothing.metrics()["methods"] == []


def test_the_interval_of_the_mean_covers_the_mean_of_new_images():
    rng, inside = np.random.default_rng(0), []
    for _ in range(300):
        drawn = [(rng.random(n) < p).astype(float) for n, p in ((50, 0.3), (200, 0.8))]
        domains = [domain_mean(each, np.zeros(len(each)), "accuracy", 0.25) for each in drawn]
        _, low, high = mean_of_domains(domains)
        inside.append(low <= 0.55 <= high)
    assert 0.9 < np.mean(inside) < 0.99
