"""Every method on a toy problem with a known answer, and what all of them promise."""

import keras
import numpy as np
import pytest

from tlkit.errors import UnknownNameError
from tlkit.models import build_classifier
from tlkit.techniques.domain_adaptation import METHODS, DomainAdapter, find, pair

NAMES = [method.name for method in METHODS]
OPTIONS = {
    "coral": {"weight": 100.0},
    "mdd": {"weight": 0.3},
    "dann": {"weight": 1.0},
    "cdan": {"weight": 1.0},
    "cdan-e": {"weight": 1.0},
    # the default for features, dropout, would take away one of only two coordinates
    "pseudo-label": {"threshold": 0.9, "change": keras.layers.GaussianNoise(0.2)},
}
ADVERSARIAL = ("dann", "cdan", "cdan-e", "adda")
WEIGHTING = ("kliep", "ratio")  # of examples: see test_weighting.py, a problem that weights can solve
GROWING = ("afn",)  # longer features: no help against a shift


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*WEIGHTING, *GROWING)])
def test_it_recovers_what_the_source_alone_gets_wrong(name, adapted, accuracy, shifted, small):
    (x, y), _ = shifted
    batch_norm = name in ("adabn", "tent")
    alone = small(batch_norm)
    alone.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    alone.fit(x, y, batch_size=50, epochs=20, verbose=0)
    assert accuracy(alone) < 0.9
    method = find(name).build(**OPTIONS.get(name, {}))
    epochs = 40 if name in ADVERSARIAL else 20
    adapter, _ = adapted(method, network=small(batch_norm), epochs=epochs)
    wrong = 1 - accuracy(alone), 1 - accuracy(adapter.classifier)
    assert wrong[1] < wrong[0] / 2


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_the_head_on_features_and_from_end_to_end(name):
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    for inputs, model in (
        (rng.normal(size=(24, 100)).astype("float32"), None),
        (rng.integers(0, 255, (24, 28, 28, 3)).astype("uint8"), build_classifier("LeNetBN", 3, weights=None)),
    ):
        whole = model or build_classifier("LeNet", 3, weights=None, bottleneck=8)
        adapter = DomainAdapter(model or whole.get_layer("head"), find(name).build())
        adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        adapter.fit(pair((inputs, labels), inputs[::-1], batch_size=12), epochs=1, verbose=0)
        p = adapter.classifier.predict(inputs, verbose=0)
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-4)


def test_a_method_is_found_by_its_name_and_the_nearest_is_offered():
    assert find("CDAN-E").build().entropy is True
    with pytest.raises(UnknownNameError, match="Did you mean 'dann'"):
        find("dan")


def test_every_method_says_what_it_does_and_where_it_is_from():
    assert len(set(NAMES)) == len(NAMES) == 20
    for method in METHODS:
        assert method.does
        assert method.paper[-4:].isdigit()
        assert type(method.build()).__doc__
