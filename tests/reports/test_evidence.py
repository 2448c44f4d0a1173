"""Scores of arms with intervals that cover seeds and test images."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score

from tlkit import Evidence
from tlkit.errors import DataError, UnknownNameError

RNG = np.random.default_rng(0)


def experiment(rng, gain=0.0, images=200, seeds=3, seed_spread=0.5):
    """Two arms whose images differ in difficulty and whose seeds differ in skill; labels are 0 and 1."""
    labels = rng.integers(0, 2, images)
    difficulty = rng.normal(0, 1.5, images)

    def arm(skill):
        skills = skill + rng.normal(0, seed_spread, (seeds, 1))
        right = rng.random((seeds, images)) < 1 / (1 + np.exp(difficulty - skills))
        return np.where(right, labels, 1 - labels)

    return {"control": arm(1.0), "method": arm(1.0 + gain)}, labels


def test_scores_are_the_means_over_the_seeds():
    predictions, labels = experiment(RNG)
    scores = Evidence(predictions, labels).scores()
    assert scores.loc["method", "score"] == pytest.approx((predictions["method"] == labels).mean())
    assert scores.loc["method", "low"] < scores.loc["method", "score"] < scores.loc["method", "high"]
    assert scores["seeds"].tolist() == [3, 3]
    balanced = Evidence(predictions, labels, balanced=True).scores().loc["control", "score"]
    assert balanced == pytest.approx(
        np.mean([balanced_accuracy_score(labels, row) for row in predictions["control"]])
    )


def test_a_measure_replaces_the_accuracy():
    predictions, labels = experiment(RNG)
    found = Evidence(predictions, labels, measure=adjusted_rand_score).gain("method", over="control")
    own, other = (
        np.mean([adjusted_rand_score(labels, row) for row in rows]) for rows in predictions.values()
    )
    assert found.difference == pytest.approx(other - own)
    assert found.low < found.difference < found.high


def test_about_95_of_100_intervals_cover_a_difference_of_zero():
    """The spread over test images and that over seeds are both large; ignoring either covers far less."""
    rng = np.random.default_rng(1)
    gains = [Evidence(*experiment(rng)).gain("method", over="control") for _ in range(200)]
    assert np.mean([not gain.excludes_zero for gain in gains]) >= 0.93


def test_a_large_gain_is_found_in_most_experiments():
    rng = np.random.default_rng(2)
    gains = [
        Evidence(*experiment(rng, gain=1.5, seed_spread=0.1)).gain("method", over="control")
        for _ in range(40)
    ]
    assert np.mean([gain.low > 0 for gain in gains]) > 0.9


def test_the_pairing_cancels_what_both_arms_share():
    predictions, labels = experiment(RNG, seed_spread=0.0)
    better = predictions["control"].copy()
    wrong = np.flatnonzero(better[0] != labels)[:20]
    better[:, wrong] = labels[wrong]
    evidence = Evidence({"control": predictions["control"], "better": better}, labels)
    paired, scores = evidence.gain("better", over="control"), evidence.scores().loc["better"]
    assert paired.high - paired.low < scores["high"] - scores["low"]
    assert paired.excludes_zero


def test_a_gain_says_what_it_is_and_when_it_cannot_tell():
    labels = np.array([0, 1] * 50)
    one, other = np.where(RNG.random((2, 3, 100)) < 0.8, labels, 1 - labels)
    evidence = Evidence({"one": one, "other": other, "constant": np.zeros((3, 100), int)}, labels)
    assert str(evidence.gain("one", over="other")).endswith("3 seeds, 100 test images): cannot tell")
    assert not str(evidence.gain("one", over="constant")).endswith("cannot tell")
    assert [gain.arm for gain in evidence.gains("other")] == ["one", "constant"]


def test_the_figure_has_every_seed_the_intervals_and_the_predictions():
    predictions, labels = experiment(RNG)
    evidence = Evidence(predictions, labels)
    ax = evidence.plot(predicted={"control": None, "method": 0.9})
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["control", "method"]
    assert ax.lines[0].get_xdata() == pytest.approx(
        evidence.scores().loc["control", ["low", "high"]].tolist()
    )
    assert ax.get_legend_handles_labels()[0][0].get_xydata().tolist() == [[0.9, 1]]
    assert evidence.plot(predicted={"control": None}).get_legend() is None


def test_bad_input_is_refused():
    predictions, labels = experiment(RNG)
    with pytest.raises(DataError, match="There is no arm"):
        Evidence({}, labels)
    with pytest.raises(DataError, match=r"shape \(1, 200\).*two or more seeds"):
        Evidence({"one": predictions["method"][:1]}, labels)
    with pytest.raises(DataError, match=r"shape \(3, 100\)"):
        Evidence({"one": predictions["method"][:, :100]}, labels)
    evidence = Evidence(predictions | {"more": [labels] * 4}, labels)
    with pytest.raises(UnknownNameError, match="methd"):
        evidence.gain("methd", over="control")
    for guess in (70, -0.1, "0.7"):
        with pytest.raises(DataError, match=r"for 'control'; expected a number from 0 to 1"):
            evidence.plot(predicted={"control": guess})
    with pytest.raises(DataError, match="'contrl' was predicted; the arms are control, method, more"):
        evidence.plot(predicted={"contrl": 0.5})
    with pytest.raises(DataError, match="3 and 4 seeds"):
        evidence.gain("control", over="more")
