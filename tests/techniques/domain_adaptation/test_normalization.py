import keras
import numpy as np
import pytest

from tlkit.errors import TlkitError
from tlkit.techniques.domain_adaptation import AdaBN, DomainAdapter, pair
from tlkit.techniques.domain_adaptation.adabn import adapt_statistics, match_statistics

RNG = np.random.default_rng(0)


def test_statistics_become_those_of_the_inputs():
    network = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.BatchNormalization()]
    )
    x = RNG.normal(2.0, 3.0, (64, 3)).astype("float32")
    adapt_statistics(network, x, batch_size=64)
    norm = network.layers[-1]
    np.testing.assert_allclose(norm.moving_mean, x.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, x.var(axis=0), rtol=1e-4)
    assert (norm.momentum, network.layers[0].rate) == (0.99, 0.5)


def test_adabn_changes_statistics_alone(adapted, small, weights_of):
    network = small(batch_norm=True)
    before = weights_of(network)
    adapted(AdaBN(), network=network, source_epochs=0)
    changed = {path for path, value in weights_of(network).items() if (value != before[path]).any()}
    assert {path.split("/")[-1] for path in changed} == {"moving_mean", "moving_variance"}


def test_a_network_without_batch_normalisation_is_refused(adapted):
    with pytest.raises(TlkitError, match="has no BatchNormalization"):
        adapted(AdaBN(), source_epochs=0)


def test_training_keeps_the_statistics_of_the_target(small, shifted):
    (x, y), (target, _) = shifted
    network = small(batch_norm=True)
    from tlkit.techniques.domain_adaptation import MMD

    adapter = DomainAdapter(network, MMD(weight=0.0))
    adapter.compile(keras.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
    adapter.fit(pair((x, y), target, batch_size=100), epochs=20, verbose=0)
    seen = keras.ops.convert_to_numpy(network.layers[0](target))
    kept = keras.ops.convert_to_numpy(network.layers[1].moving_mean)
    np.testing.assert_allclose(kept, seen.mean(axis=0), atol=0.1)


def two_layers():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    layers += [keras.layers.Dense(3), keras.layers.BatchNormalization()]
    network = keras.Sequential([keras.Input((3,)), *layers])
    for norm in (network.layers[1], network.layers[4]):  # statistics of neither domain
        norm.moving_mean.assign(RNG.normal(size=norm.moving_mean.shape))
        norm.moving_variance.assign(RNG.uniform(0.5, 2.0, norm.moving_variance.shape))
    return network


def test_matched_statistics_give_the_target_the_outputs_that_the_source_had():
    network = two_layers()
    source = RNG.normal(1.0, 2.0, (300, 3)).astype("float32")
    target = 0.5 * source[::-1] - 4.0  # the same images on another scale
    before = network.predict(source, verbose=0)
    apart = network.predict(target, verbose=0)[::-1]
    match_statistics(network, source, target)
    after = network.predict(target, verbose=0)[::-1]
    assert np.abs(apart - before).mean() > 0.3
    np.testing.assert_allclose(after, before, atol=0.01)


def test_matching_the_source_to_itself_changes_nothing():
    network = two_layers()
    source = RNG.normal(1.0, 2.0, (100, 3)).astype("float32")
    before = network.predict(source, verbose=0)
    match_statistics(network, source, source)
    np.testing.assert_allclose(network.predict(source, verbose=0), before, atol=1e-3)


def test_matching_needs_batch_normalisation():
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(TlkitError, match="has no BatchNormalization"):
        match_statistics(network, np.zeros((4, 3)), np.zeros((4, 3)))
