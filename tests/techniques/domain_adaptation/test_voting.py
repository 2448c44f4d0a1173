"""Adaptation by vote: what it learns, and when it is more cautious or does not adapt at all."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from pushes import graph, traced

from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.techniques.domain_adaptation.voting import (
    MATCHED,
    SOURCE_ONLY,
    VOTE,
    kappa,
    majority,
    matched_moments,
    structure,
    vote_on_features,
)
from tlkit.techniques.logistic_regression import solve

RNG = np.random.default_rng(0)
CLASSES, D = 3, 40
CENTRES = 0.8 * RNG.normal(size=(CLASSES, D))


def domain(seed, n=300):
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=n)
    return (CENTRES[labels] + rng.normal(size=(n, D))).astype("float32"), labels


@pytest.fixture(scope="module")
def shifted():
    """The source, and a target whose features have other means and scales."""
    x, labels = domain(2)
    return domain(1), ((2 * x + 3 * (CENTRES[0] - CENTRES[1])).astype("float32"), labels)


@pytest.fixture(scope="module")
def vote(shifted):
    (x, y), (target, _) = shifted
    with traced():
        return vote_on_features(x, y, target, CLASSES, methods=["mcc"], epochs=9)


def right(probabilities, labels):
    return np.mean(probabilities.argmax(axis=1) == labels)


def test_the_head_of_the_vote_classifies_the_target_that_the_source_alone_does_not(vote, shifted):
    _, (target, labels) = shifted
    assert vote.choice == VOTE
    found = vote.predict(target)
    assert list(found) == list(vote.agreement) == list(vote.seconds)
    assert list(found) == [SOURCE_ONLY, MATCHED, "mcc"]
    assert right(found[SOURCE_ONLY], labels) < 0.8
    assert right(vote.head.predict(target), labels) > 0.95
    assert np.mean(vote.classes == labels) > 0.95
    assert vote.agreement[MATCHED] > 0.9 > vote.agreement[SOURCE_ONLY]
    assert vote.structure > 0.5


@graph
def test_the_same_seed_gives_the_same_head(vote, shifted):
    (x, y), (target, _) = shifted
    again = vote_on_features(x, y, target, CLASSES, methods=["mcc"], epochs=9)
    np.testing.assert_allclose(again.head.kernel, vote.head.kernel, atol=1e-4)


def test_the_chosen_head_can_be_solved_on_other_features_of_the_same_examples(vote, shifted):
    (x, y), (target, _) = shifted
    again = vote.head_on(matched_moments(x, target), y, target)
    np.testing.assert_allclose(again.kernel, vote.head.kernel, atol=1e-3)
    fewer, others = x[:, : D // 2], target[:, : D // 2]
    head = vote.head_on(matched_moments(fewer, others), y, others)
    assert head.kernel.shape == (D // 2, CLASSES)
    assert right(head.predict(others), vote.classes) > 0.9
    alone = replace(vote, choice=MATCHED).head_on(matched_moments(fewer, others), y, others)
    np.testing.assert_allclose(alone.kernel, solve(matched_moments(fewer, others), y, CLASSES).kernel)
    with pytest.raises(TlkitError, match="Solve a head on the features of the source"):
        replace(vote, choice=SOURCE_ONLY).head_on(fewer, y, others)


@graph
def test_a_target_of_shuffled_features_is_not_adapted_to(shifted):
    (x, y), (target, _) = shifted
    shuffled = np.random.default_rng(0).permuted(target, axis=0)
    vote = vote_on_features(x, y, shuffled, CLASSES, methods=["mcc"], epochs=9)
    assert vote.choice == SOURCE_ONLY
    assert vote.head is vote.heads[SOURCE_ONLY]
    assert vote.structure < 0.05


def test_methods_that_contradict_the_matched_features_are_not_followed(shifted, monkeypatch):
    (x, y), (target, _) = shifted

    def contrary(method, source, others, classes, epochs, seed, callbacks, state):
        head = keras.Sequential([keras.Input((D,)), keras.layers.Dense(classes, activation="softmax")])
        head.layers[0].set_weights([np.zeros((D, classes)), np.array([0.0, 0.0, 9.0])])
        return head

    monkeypatch.setattr("tlkit.techniques.domain_adaptation.voting.trained_head", contrary)
    vote = vote_on_features(x, y, target, CLASSES, methods=["mcc", "jan", "dann"])
    assert vote.choice == MATCHED
    assert vote.head is vote.heads[MATCHED]


@pytest.mark.parametrize(
    ("relative", "follows", "choice"),
    [(0.15, True, VOTE), (0.15, False, SOURCE_ONLY), (0.05, True, SOURCE_ONLY), (0.25, True, VOTE)],
)
def test_little_structure_alone_does_not_stop_a_vote_that_follows_the_matched_features(
    shifted, monkeypatch, relative, follows, choice
):
    (x, y), (target, _) = shifted
    measured = iter([relative, 1.0])
    monkeypatch.setattr("tlkit.techniques.domain_adaptation.voting.structure", lambda *_: next(measured))
    if not follows:
        monkeypatch.setattr("tlkit.techniques.domain_adaptation.voting.kappa", lambda *_: 0.5)
    assert vote_on_features(x, y, target, CLASSES, methods=[]).choice == choice


def test_matched_features_have_the_moments_of_the_target(shifted):
    (x, _), (target, _) = shifted
    found = matched_moments(x, target)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found.mean(axis=0), target.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(found.std(axis=0), target.std(axis=0), rtol=1e-3)
    constant = matched_moments(np.ones((4, 1)), np.array([[1.0], [3.0]]))
    np.testing.assert_allclose(constant, 2.0)


def test_each_source_is_matched_to_the_target_by_itself(shifted):
    (x, y), (target, _) = shifted
    domains = np.arange(len(x)) % 2
    apart = np.where(domains[:, None] == 0, x, 5 - 3 * x).astype("float32")  # the second source is a mirror
    found = matched_moments(apart, target, domains)
    for each in (0, 1):
        np.testing.assert_array_equal(found[domains == each], matched_moments(apart[domains == each], target))
    with pytest.raises(DataError, match="domains has 3 values, and the source 300 examples"):
        matched_moments(apart, target, domains[:3])
    offset = (x + 8 * (domains[:, None] == 1)).astype("float32")  # matching takes the offset away
    heads = [
        vote_on_features(each, y, target, CLASSES, domains=domains, methods=[]).heads for each in (x, offset)
    ]
    np.testing.assert_allclose(heads[0][MATCHED].kernel, heads[1][MATCHED].kernel, atol=1e-3)


class Impatient(keras.callbacks.Callback):
    """Ctrl-C during the second training."""

    trainings, interrupted = 0, False

    def on_train_begin(self, logs=None):
        self.trainings += 1

    def on_train_batch_end(self, batch, logs=None):
        if self.trainings == 2:
            self.interrupted = self.model.stop_training = True


@graph
def test_after_ctrl_c_the_methods_that_were_trained_vote(shifted):
    (x, y), (target, labels) = shifted
    options = {"methods": ["mcc", "jan", "cdan-e"], "epochs": 9}
    vote = vote_on_features(x, y, target, CLASSES, callbacks=[Impatient()], **options)
    assert list(vote.heads) == list(vote.seconds)[:3] == [SOURCE_ONLY, MATCHED, "mcc"]
    assert right(vote.head.predict(target), labels) > 0.95


def test_structure_is_zero_for_independent_features_and_grows_with_the_distance_of_the_classes():
    kernel = CENTRES.T
    noise = RNG.normal(size=(2000, D))
    found = [
        structure(kernel, noise + scale * CENTRES[RNG.integers(CLASSES, size=2000)]) for scale in (0, 1, 2)
    ]
    assert found[0] < 0.15
    assert 1 < found[1] < found[2]
    assert structure(kernel + 5, noise + CENTRES[0]) == pytest.approx(structure(kernel, noise))


def test_agreement_of_equal_predictions_is_one_even_if_there_is_a_single_class():
    assert kappa(np.zeros(5, int), np.zeros(5, int)) == 1
    assert kappa(np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0])) == 0


def test_a_majority_counts_heads_and_not_their_certainty():
    unsure, certain = np.array([[0.6, 0.4]]), np.array([[0.0, 1.0]])
    assert majority([unsure, unsure, certain]).tolist() == [0]
    assert majority([unsure, certain]).tolist() == [1]


def test_what_does_not_fit_is_refused_before_anything_is_trained(shifted):
    (x, y), (target, _) = shifted
    with pytest.raises(UnknownNameError, match="Did you mean 'mcc'"):
        vote_on_features(x, y, target, CLASSES, methods=["mccc"])
    with pytest.raises(DataError, match="one of the target"):
        vote_on_features(x, y, target[:, :3], CLASSES)
    with pytest.raises(DataError, match="belong to one class"):
        vote_on_features(x, 0 * y, target, CLASSES)
