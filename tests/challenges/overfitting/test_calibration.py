import numpy as np
import pytest

from tlkit.challenges.overfitting import (
    expected_calibration_error,
    reliability_table,
    temperature,
    tempered,
)
from tlkit.errors import DataError, TlkitError

RNG = np.random.default_rng(0)


def predictions(n=4000, sharpening=1.0):
    """Return probabilities and labels drawn from them; a sharpening above 1 makes them overconfident."""
    p = RNG.dirichlet(np.ones(4), size=n)
    labels = np.array([RNG.choice(4, p=row) for row in p])
    p = p**sharpening
    return p / p.sum(axis=1, keepdims=True), labels


def textbook(probabilities, labels, bins):
    total = 0.0
    for b in range(bins):
        members = []
        for i, row in enumerate(probabilities):
            inside = b / bins <= max(row) < (b + 1) / bins or (b == bins - 1 and max(row) >= 1)
            if inside:
                members.append(i)
        if members:
            accuracy = np.mean([np.argmax(probabilities[i]) == labels[i] for i in members])
            confidence = np.mean([max(probabilities[i]) for i in members])
            total += len(members) / len(labels) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_the_error_is_the_sum_of_its_definition(bins):
    p, labels = predictions(300, 2.0)
    assert expected_calibration_error(p, labels, bins) == pytest.approx(textbook(p, labels, bins), abs=1e-9)


def test_the_error_of_constructed_cases():
    sure = np.tile([[1.0, 0.0]], (10, 1))
    half = np.arange(10) % 2
    assert expected_calibration_error(sure, np.zeros(10, int)) == 0
    assert expected_calibration_error(sure, half) == pytest.approx(0.5)
    assert expected_calibration_error(sure, np.ones(10, int)) == pytest.approx(1)
    assert expected_calibration_error(np.full((10, 2), 0.5), half) == pytest.approx(0)


def test_labels_drawn_from_the_probabilities_are_calibrated_and_sharpened_ones_are_not():
    assert expected_calibration_error(*predictions()) < 0.03
    assert expected_calibration_error(*predictions(sharpening=3.0)) > 0.15


def test_the_table_has_one_row_per_bin_with_examples():
    p = np.array([[0.55, 0.45], [0.58, 0.42], [0.95, 0.05]])
    table = reliability_table(p, np.array([0, 1, 0]), bins=10)
    assert table["count"].tolist() == [2, 1]
    np.testing.assert_allclose(table["low"], [0.5, 0.9])
    np.testing.assert_allclose(table["accuracy"], [0.5, 1.0])
    np.testing.assert_allclose(table["confidence"], [0.565, 0.95])


def test_the_temperature_reverses_the_sharpening():
    p, labels = predictions(sharpening=2.5)
    found = temperature(p, labels)
    assert found == pytest.approx(2.5, rel=0.1)
    calibrated = tempered(p, found)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), p.argmax(axis=1))
    assert expected_calibration_error(calibrated, labels) < 0.03
    assert temperature(*predictions()) == pytest.approx(1.0, rel=0.1)
    np.testing.assert_allclose(tempered(p, 1.0), p, atol=1e-9)


def test_invalid_probabilities_and_labels_are_refused():
    p, labels = predictions(10)
    for wrong, message in [
        ((p, labels[:3]), "expected"),
        ((np.log(p), labels), "expected probabilities"),
        ((p, labels + 4), "expected integers from 0 to 3"),
        ((p[:0], labels[:0]), "n at least 1"),
        ((p[:, 0], labels), "expected"),
    ]:
        with pytest.raises(DataError, match=message):
            expected_calibration_error(*wrong)
    with pytest.raises(TlkitError, match="bins=0"):
        reliability_table(p, labels, 0)
    with pytest.raises(TlkitError, match="above 0"):
        tempered(p, 0)
