"""Clustering, and its measures compared with slow implementations of their definitions."""

from itertools import combinations, permutations
from math import log

import numpy as np
import pytest

from tlkit.errors import DataError
from tlkit.techniques.self_supervised import agreement, clusters, hungarian_accuracy


@pytest.fixture
def directions():
    """Eight directions in 16 dimensions with 30 vectors of any length around each."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 16))
    labels = np.repeat(np.arange(8), 30)
    features = centres[labels] + rng.normal(0, 0.3, (240, 16))
    return features * rng.uniform(0.1, 10, (240, 1)), labels


def same_partition(one, other):
    return all((one[i] == one[j]) == (other[i] == other[j]) for i, j in combinations(range(len(one)), 2))


@pytest.mark.parametrize("seed", range(5))
def test_vectors_of_one_direction_form_a_cluster_for_any_seed(seed, directions):
    features, labels = directions
    found = clusters(features, 8, seed=seed)
    assert found.dtype == np.int32
    assert set(found) == set(range(8))
    assert same_partition(labels, found)


def test_clusters_do_not_depend_on_the_lengths_of_the_vectors(directions):
    features, _ = directions
    lengths = np.random.default_rng(1).uniform(0.01, 100, (240, 1))
    np.testing.assert_array_equal(clusters(lengths * features, 5), clusters(features, 5))


def test_vectors_of_one_direction_and_two_lengths_are_one_cluster():
    near, far = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    features = np.concatenate([near, 100 * near, far, 100 * far])
    assert same_partition(clusters(features, 2), [0, 0, 1, 1])


def test_the_seed_determines_the_clusters(directions):
    features, _ = directions
    found = [clusters(features, 5, seed=seed).tolist() for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_there_can_be_one_cluster_for_all_images_or_one_for_each(directions):
    features, _ = directions
    assert set(clusters(features, 1)) == {0}
    assert sorted(clusters(features[:6], 6)) == list(range(6))


@pytest.mark.parametrize("count", [0, -1, 241])
def test_an_impossible_number_of_clusters_is_refused(count, directions):
    with pytest.raises(DataError, match=f"count={count} was given for 240 images; expected 1 to 240"):
        clusters(directions[0], count)


@pytest.mark.parametrize("features", [np.zeros((4, 2, 2, 3)), np.zeros(4), np.full((4, 2), np.nan)])
def test_features_that_are_not_a_finite_matrix_are_refused(features):
    with pytest.raises(DataError, match=r"expected finite numbers of shape \(n, d\)"):
        clusters(features, 2)


def accuracy_of_best_assignment(labels, found):
    """Try every one-to-one assignment of clusters to classes; a cluster without a class is always wrong."""
    classes, groups = sorted(set(labels)), sorted(set(found))
    candidates = classes + [None] * max(0, len(groups) - len(classes))
    best = 0
    for assignment in permutations(candidates, len(groups)):
        assigned = dict(zip(groups, assignment, strict=True))
        best = max(best, sum(assigned[group] == label for label, group in zip(labels, found, strict=True)))
    return best / len(labels)


def mutual_information_by_mean_entropy(labels, found):
    def entropy(values):
        fractions = [values.count(each) / len(values) for each in set(values)]
        return -sum(p * log(p) for p in fractions)

    labels, found = list(labels), list(found)
    both = list(zip(labels, found, strict=True))
    mean = (entropy(labels) + entropy(found)) / 2
    return (entropy(labels) + entropy(found) - entropy(both)) / mean if mean else 1.0


def rand_index_adjusted_by_pairs(labels, found):
    pairs = list(combinations(range(len(labels)), 2))
    one = [labels[i] == labels[j] for i, j in pairs]
    other = [found[i] == found[j] for i, j in pairs]
    both = sum(a and b for a, b in zip(one, other, strict=True))
    expected = sum(one) * sum(other) / len(pairs)
    most = (sum(one) + sum(other)) / 2
    return (both - expected) / (most - expected)


RANDOM = [(4, 4, 0), (4, 4, 1), (3, 5, 2), (2, 6, 3), (5, 3, 4), (6, 2, 5)]


@pytest.mark.parametrize(("classes", "groups", "seed"), RANDOM)
@pytest.mark.parametrize("related", [False, True])
def test_the_measures_follow_their_definitions(classes, groups, seed, related):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=60)
    found = np.where(related & (rng.uniform(size=60) < 0.7), labels % groups, rng.integers(groups, size=60))
    assert agreement(labels, found) == pytest.approx(
        {
            "accuracy": accuracy_of_best_assignment(labels, found),
            "nmi": mutual_information_by_mean_entropy(labels, found),
            "ari": rand_index_adjusted_by_pairs(labels, found),
        }
    )
    assert hungarian_accuracy(labels, found) == agreement(labels, found)["accuracy"]


def test_the_best_assignment_can_differ_from_the_majority_class_of_each_cluster():
    labels = np.array([0, 0, 0, 0, 1, 0, 0, 0, 1, 1])
    found = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    # class 0 is the majority in both clusters, but only one of them can be assigned to it
    assert hungarian_accuracy(labels, found) == pytest.approx((4 + 2) / 10)


def test_images_in_clusters_without_a_class_count_as_wrong():
    labels = np.repeat([0, 1], 6)
    assert hungarian_accuracy(labels, np.repeat([0, 1, 2, 3], 3)) == 0.5
    assert hungarian_accuracy(labels, np.arange(12)) == pytest.approx(2 / 12)
    assert hungarian_accuracy(np.arange(12), np.repeat([0, 1], 6)) == pytest.approx(2 / 12)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_depends_neither_on_cluster_numbers_nor_on_image_order(seed):
    rng = np.random.default_rng(seed)
    labels, found = rng.integers(4, size=80), rng.integers(6, size=80)
    renumbered = np.array([17, 3, 250, 0, 99, 42])[found]
    order = rng.permutation(80)
    expected = agreement(labels, found)
    assert agreement(labels, renumbered) == pytest.approx(expected)
    assert agreement(labels[order], found[order]) == pytest.approx(expected)
    assert agreement(5 * labels + 2, found) == pytest.approx(expected)


def test_perfect_clusters_score_one_and_unrelated_clusters_near_zero():
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=5000)
    full = {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}
    assert agreement(labels, (labels + 3) % 5) == pytest.approx(full)
    assert agreement(labels, labels.tolist()) == pytest.approx(full)
    unrelated = agreement(labels, rng.integers(5, size=5000))
    assert unrelated["accuracy"] < 0.25
    assert unrelated["nmi"] < 0.01
    assert abs(unrelated["ari"]) < 0.01
    one = agreement(labels, np.zeros(5000, int))
    assert one == pytest.approx({"accuracy": np.bincount(labels).max() / 5000, "nmi": 0.0, "ari": 0.0})


@pytest.mark.parametrize(
    ("labels", "found"), [([0, 1], [0]), ([], []), ([[1, 0], [0, 1]], [[1, 0], [0, 1]]), (3, 3)]
)
@pytest.mark.parametrize("measure", [hungarian_accuracy, agreement])
def test_labels_and_clusters_of_different_shapes_are_refused(measure, labels, found):
    with pytest.raises(DataError, match=r"expected \(n,\) for both, one per image"):
        measure(np.array(labels), np.array(found))
