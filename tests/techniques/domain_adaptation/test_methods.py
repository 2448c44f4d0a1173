"""Every method on a toy problem with a known answer, and what all of them promise."""

import keras
import numpy as np
import pytest
from pushes import graph, mostly_full, seeds, traced

from tlkit.errors import UnknownNameError
from tlkit.models import build_classifier, reinitialize
from tlkit.techniques.domain_adaptation import METHODS, DomainAdapter, pair

NAMES = [method.name for method in METHODS]
OPTIONS = {
    "coral": {"weight": 3000.0},
    "dann": {"weight": 1.0},
    "cdan": {"weight": 0.5},
    "cdan-e": {"weight": 0.5},
    "adda": {"learning_rate_factor": 1.0},
    # the default for features, dropout, would take away one of only two coordinates
    "pseudo-label": {"threshold": 0.9, "change": keras.layers.GaussianNoise(0.2)},
    "adamatch": {"change": keras.layers.GaussianNoise(0.2)},
}
# KLIEP weights examples: see test_weighting.py, a problem that weights can solve
RECOVERING = [name for name in NAMES if name != "kliep"]
# one of each kind: statistics, moments, a kernel, adversaries, pseudo-labels, without a source
ON_PUSH = ("adabn", "coral", "jan", "dann", "cdan-e", "mcd", "adda", "mcc", "pseudo-label", "shot")
SEEDS, EPOCHS, BATCH = seeds(3, 4, 5), 40, 50


def plan():
    """Return a new optimizer for the whole training: steps that become small, as Ganin et al. take them."""
    schedule = keras.optimizers.schedules.CosineDecay(5e-3, EPOCHS * 8)  # of 8 batches
    return keras.optimizers.Adam(schedule)


@pytest.fixture(scope="module")
def learned(shifted, small, accuracy):
    """Weights that know the source, and their errors: without and with batch normalisation, by seed."""
    (x, y), _ = shifted
    known = {False: [], True: []}
    for batch_norm, runs in known.items():
        for seed in SEEDS:
            network = small(batch_norm, seed)
            network.compile(plan(), "sparse_categorical_crossentropy")
            with traced():
                network.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
            runs.append((network.get_weights(), 1 - accuracy(network)))
    return known


@graph
@pytest.mark.parametrize("name", mostly_full(RECOVERING, *ON_PUSH))
def test_it_recovers_what_the_source_alone_gets_wrong(name, learned, shifted, small, draw_kernels, accuracy):
    (x, y), (target, _) = shifted
    known = learned[name == "adabn"]
    before, after = np.mean([wrong for _, wrong in known]), []
    assert before > 0.1
    network, method = small(name == "adabn"), METHODS.find(name).build(**OPTIONS.get(name, {}))
    adapter = DomainAdapter(network, method)
    adapter.compile(plan(), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    for seed, (weights, _) in zip(SEEDS, known, strict=True):  # in one graph: to build it takes long
        reinitialize(adapter)
        draw_kernels(method, seed + 100)
        draw_kernels(network, seed)
        if method.starts_from_source:
            network.set_weights(weights)
        pairs = pair((x, y), target, batch_size=BATCH)
        adapter.fit(pairs, epochs=EPOCHS, source_epochs=0, verbose=0)
        after.append(1 - accuracy(network))
    assert np.mean(after) < before / 2, after


def check_training(name, model, inputs):
    """Adapt a classifier for one epoch, and check that it still answers with probabilities."""
    adapter = DomainAdapter(model, METHODS.find(name).build())
    adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    adapter.fit(pair((inputs, np.arange(24) % 3), inputs[::-1], batch_size=12), epochs=1, verbose=0)
    p = adapter.classifier.predict(inputs, verbose=0)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_the_head_on_features(name):
    head = build_classifier("LeNet", 3, weights=None, bottleneck=8).get_layer("head")
    check_training(name, head, np.random.default_rng(0).normal(size=(24, 100)).astype("float32"))


@pytest.mark.parametrize("name", mostly_full(NAMES, "dann", "mmd", "adda", "mcd", "adabn"))
def test_it_trains_the_whole_network(name):
    images = np.random.default_rng(0).integers(0, 255, (24, 28, 28, 3)).astype("uint8")
    check_training(name, build_classifier("LeNetBN", 3, weights=None), images)


def test_a_method_is_found_by_its_name_and_the_nearest_is_offered():
    assert METHODS.find("CDAN-E").build().entropy is True
    with pytest.raises(UnknownNameError, match="Did you mean 'dann'"):
        METHODS.find("dan")


def test_every_method_says_what_it_does_and_where_it_is_from():
    assert len(set(NAMES)) == len(METHODS)
    for method in METHODS:
        assert method.summary
        assert method.paper[-4:].isdigit()
        assert type(method.build()).__doc__


@pytest.mark.parametrize("name", mostly_full(NAMES, "mmd", "adda", "pseudo-label", "kliep"))
def test_an_adapter_of_logits_goes_on_after_it_was_saved_and_loaded(name, tmp_path):
    keras.utils.set_random_seed(0)
    below = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    network = keras.Sequential([keras.Input((6,)), *below, keras.layers.Dense(3)])
    x, y = np.random.default_rng(0).normal(size=(40, 6)).astype("float32"), np.arange(40) % 3
    method = METHODS.find(name).build()
    again = type(method).from_config(method.get_config())
    assert again.get_config() == method.get_config()
    adapter = DomainAdapter(network, method)
    adapter.compile("adam", metrics=["accuracy"])
    adapter.fit({"source": x, "target": x + 1}, y, epochs=1, verbose=0)
    adapter.save(tmp_path / "adapter.keras")
    loaded = keras.saving.load_model(tmp_path / "adapter.keras")
    for one, other in zip(adapter.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-6)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), network.predict(x, verbose=0), atol=1e-5)
    loaded.fit(pair((x, y), x + 1), epochs=1, verbose=0)
