import numpy as np
import pytest

from tlkit.techniques.domain_adaptation import proxy_a_distance
from tlkit.techniques.domain_adaptation.validators import (
    Outputs,
    importance_weighted,
    soft_neighborhood_density,
    source_accuracy,
    target_entropy,
)

RNG = np.random.default_rng(0)
SURE = np.eye(3)[np.arange(30) % 3] * 0.97 + 0.01
EVEN = np.full((30, 3), 1 / 3)


def outputs(probabilities, shift=0.0, labels=None):
    return Outputs(RNG.normal(shift, 1.0, (len(probabilities), 2)), probabilities, labels)


def test_a_distance_is_zero_for_the_same_domain_and_two_for_others():
    x = RNG.normal(size=(200, 4))
    assert proxy_a_distance(x, RNG.normal(size=(150, 4))) < 0.4
    assert proxy_a_distance(x, x + 8) == pytest.approx(2)


def test_snd_is_the_entropy_of_the_similarities():
    p = RNG.dirichlet(np.ones(3), 10)
    unit = p / np.linalg.norm(p, axis=1, keepdims=True)
    total = 0.0
    for i in range(10):
        s = np.array([np.exp(unit[i] @ unit[j] / 0.05) for j in range(10) if j != i])
        s /= s.sum()
        total -= np.sum(s * np.log(s))
    assert soft_neighborhood_density(outputs(p), outputs(p)) == pytest.approx(total / 10, rel=1e-6)


def test_three_tight_classes_of_ten_have_nine_neighbours_each():
    assert soft_neighborhood_density(outputs(SURE), outputs(SURE)) == pytest.approx(np.log(9), rel=1e-3)


def test_sure_predictions_have_the_higher_score():
    assert target_entropy(outputs(EVEN), outputs(SURE)) > target_entropy(outputs(EVEN), outputs(EVEN))
    assert target_entropy(outputs(EVEN), outputs(EVEN)) == pytest.approx(-np.log(3))


def test_without_a_shift_the_weighted_errors_are_the_plain_one():
    labels = np.arange(600) % 3
    p = np.eye(3)[np.where(RNG.random(600) < 0.8, labels, (labels + 1) % 3)]
    source, target = outputs(p, labels=labels), outputs(p)
    error = 1 - source_accuracy(source, target)
    assert -importance_weighted(source, target) == pytest.approx(error, abs=0.03)


def test_errors_where_the_target_lies_weigh_more():
    x = np.concatenate([RNG.normal(0, 1, (200, 2)), RNG.normal(3, 1, (200, 2))])
    labels = np.zeros(400, int)
    near = np.eye(2)[np.repeat([0, 1], 200)]  # wrong where the target is
    far = near[::-1]
    target = Outputs(RNG.normal(3, 1, (300, 2)), np.full((300, 2), 0.5))
    scores = [importance_weighted(Outputs(x, p, labels), target) for p in (near, far)]
    assert scores[0] < scores[1] - 0.5
