"""Balanced accuracy, macro F1 and their intervals; and which measure comes first."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from tlkit.reports.measures import headline, measures, point_measures, two_class_measures

UNEQUAL = [14, 4, 8, 9, 7, 6, 8, 10]  # images of each class, as in a small test split


def answers(sizes, recalls, rng):
    """Draw labels and predictions; mistakes are spread over the other classes."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    right = rng.random(len(labels)) < np.repeat(recalls, sizes)
    others = (labels + rng.integers(1, len(sizes), len(labels))) % len(sizes)
    return labels, np.where(right, labels, others)


def test_the_values_are_those_of_scikit_learn():
    labels, predicted = answers([450, 204, 30], [0.9, 0.6, 0.3], np.random.default_rng(0))
    found = point_measures(labels, predicted)
    assert found["accuracy"] == np.mean(labels == predicted)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))


@pytest.mark.parametrize(
    ("sizes", "recalls"),
    [([450, 204], [0.9, 0.68]), (UNEQUAL, [0.6] * 8), (UNEQUAL, [0.95] * 8), ([50] * 10, [0.99] * 10)],
)
def test_a_95_percent_interval_contains_the_true_value_in_about_95_percent_of_samples(sizes, recalls):
    rng, expected = np.random.default_rng(1), {}
    many = answers([2000 * size for size in sizes], recalls, rng)
    expected = point_measures(*many)
    samples = [measures(*answers(sizes, recalls, rng)) for _ in range(300)]
    for name, value in expected.items():
        hits = [sample[name]["low"] <= value <= sample[name]["high"] for sample in samples]
        assert 0.91 <= np.mean(hits) <= 0.99, name


def test_intervals_have_a_width_if_every_image_is_right_or_wrong():
    labels = np.arange(40) % 4
    for predicted, value in ((labels, 1.0), ((labels + 1) % 4, 0.0)):
        for each in measures(labels, predicted).values():
            assert each["value"] == value
            assert 0.02 < each["high"] - each["low"] < 0.2
            assert 0 <= each["low"] <= each["value"] <= each["high"] <= 1


def test_a_class_without_images_or_predictions_does_no_harm():
    found = measures(np.array([0, 0, 2, 2]), np.array([0, 3, 2, 2]))
    assert found["balanced_accuracy"]["value"] == 0.75
    assert found["macro_f1"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    one = measures(np.array([1]), np.array([1]))["balanced_accuracy"]
    assert one["value"] == 1
    assert one["low"] < 0.3


def test_many_classes_are_measured_in_a_moment():
    labels, predicted = answers([3] * 200, [0.7] * 200, np.random.default_rng(0))
    found = measures(labels, predicted)["balanced_accuracy"]
    assert found["low"] < found["value"] < found["high"]


def test_the_headline_is_balanced_where_classes_are_unbalanced_and_not_by_chance():
    rng = np.random.default_rng(0)
    assert headline(np.repeat([0, 1], [450, 204])) == "balanced_accuracy"
    assert headline(np.repeat([0, 1], [300, 300])) == "accuracy"
    assert headline(np.repeat([0, 1], [9, 5])) == "accuracy"
    assert [headline(rng.integers(0, 10, 100)) for _ in range(20)].count("balanced_accuracy") <= 1


def test_areas_are_of_the_second_of_two_classes():
    labels = np.array([0, 0, 1, 1])
    good = np.array([0.1, 0.2, 0.8, 0.9])
    assert two_class_measures(labels, np.stack([1 - good, good], axis=1))["roc_auc"] == 1
    assert two_class_measures(labels, np.stack([good, 1 - good], axis=1))["roc_auc"] == 0
    assert two_class_measures(labels, np.full((4, 3), 1 / 3)) is None
    assert two_class_measures(np.zeros(4, int), np.full((4, 2), 0.5)) is None
