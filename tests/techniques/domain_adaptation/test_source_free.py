"""SHOT: a trained classifier adapts to the target, and no source image is there to be read."""

import keras
import numpy as np
import pytest
from pushes import graph, traced

from tlkit.errors import TlkitError
from tlkit.models import build_classifier
from tlkit.techniques.domain_adaptation import DomainAdapter, pair
from tlkit.techniques.domain_adaptation.shot import class_centroids

LOSS = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


class Unreadable(np.ndarray):
    """Images that raise as soon as a row is read."""

    def __getitem__(self, index):
        raise AssertionError("the source was read")


@pytest.fixture
def knows_the_source(shifted, small):
    (x, y), _ = shifted
    network = small()
    network.compile(keras.optimizers.Adam(5e-3), **LOSS)
    with traced():
        network.fit(x, y, epochs=20, batch_size=50, verbose=0)
    return network


def fit(network, pairs, method="shot", epochs=20, **options):
    adapter = DomainAdapter(network, method)
    adapter.compile(keras.optimizers.Adam(1e-3), **LOSS)
    return adapter.fit(pairs, epochs=epochs, verbose=0, **options).history


@graph
def test_it_adapts_a_trained_network_to_a_target_without_any_source(knows_the_source, shifted, accuracy):
    _, (target, _) = shifted
    before = accuracy(knows_the_source)
    last = knows_the_source.layers[-1].get_weights()
    history = fit(knows_the_source, pair(None, target, batch_size=50))
    assert 1 - accuracy(knows_the_source) < (1 - before) / 2
    for one, other in zip(last, knows_the_source.layers[-1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert set(history) == {"loss", "alignment_loss"}


def test_a_source_that_is_there_is_not_read_in_the_adaptation(knows_the_source, shifted):
    (x, y), (target, _) = shifted
    pairs = pair((x, y), target, batch_size=50)
    pairs.source = x.view(Unreadable)
    with pytest.raises(AssertionError, match="the source was read"):
        pairs[0]
    alone = keras.models.clone_model(knows_the_source)
    alone.set_weights(knows_the_source.get_weights())
    fit(knows_the_source, pairs, epochs=2, source_epochs=0)
    fit(alone, pair(None, target, batch_size=50), epochs=2)
    for one, other in zip(alone.get_weights(), knows_the_source.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_adabn_needs_no_source_either():
    images = np.random.default_rng(0).integers(0, 255, (24, 28, 28, 3)).astype("uint8")
    network = build_classifier("LeNetBN", 3, weights=None)
    before = network.predict(images, verbose=0)
    fit(network, pair(None, images, batch_size=12), "adabn", epochs=1)
    after = network.predict(images, verbose=0)
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() > 1e-3


def test_a_method_that_needs_the_source_says_which_do_not(small, shifted):
    _, (target, _) = shifted
    with pytest.raises(TlkitError, match=r"DANN needs a labelled source.*SHOT or AdaBN"):
        fit(small(), pair(None, target), "dann")


def test_centroids_move_from_the_predictions_to_the_clusters():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 50)
    features = np.eye(2)[truth] + rng.normal(0, 0.1, (100, 2))
    unsure = np.full((100, 2), 0.5) + 0.05 * (np.eye(2)[truth] - 0.5)
    found = class_centroids(features, unsure)
    assert found.dtype == "float32"
    np.testing.assert_array_equal((features @ found.T).argmax(axis=1), truth)


def test_a_class_that_nothing_is_near_has_a_centroid_of_zeros():
    features = np.array([[1.0, 0.0], [0.9, 0.1]])
    found = class_centroids(features, np.array([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05]]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, 0], atol=1e-5)
