"""Several methods at once: their sum, their names, and what cannot be combined."""

import keras
import numpy as np
import pytest
from keras import ops

from tlkit.errors import TlkitError, UnknownNameError
from tlkit.techniques.domain_adaptation import CDAN, MCC, METHODS, MMD, Combined, Domain, DomainAdapter, pair

RNG = np.random.default_rng(0)


def domain(n, labels=None):
    p = RNG.dirichlet(np.ones(2), n).astype("float32")
    return Domain(RNG.normal(size=(n, 2)), RNG.normal(size=(n, 32)).astype("float32"), p, labels)


def test_the_loss_is_the_sum_of_the_losses(small):
    network = small()
    adapter = DomainAdapter(network, Combined([MMD(weight=2.0), MCC(weight=0.5)]))
    source, target = domain(16, np.arange(16) % 2), domain(16)
    both, progress = adapter.alignment, 0.3
    alone = [each.loss(source, target, each.strength(progress)) for each in both.methods]
    together = both.loss(source, target, both.strength(progress))
    assert min(map(float, alone)) > 0
    assert float(together) == pytest.approx(sum(map(float, alone)), rel=1e-5)


def test_names_joined_by_a_plus_are_combined():
    row = METHODS.find("CDAN-E+mcc")
    assert row.name == "cdan-e+mcc"
    assert row.paper == "Long et al. 2018; Jin et al. 2020"
    first, second = row.build().methods
    assert isinstance(first, CDAN)
    assert first.entropy
    assert isinstance(second, MCC)
    with pytest.raises(UnknownNameError, match="Did you mean 'mcc'"):
        METHODS.find("cdan-e+mccc")


def test_each_method_trains_its_own_layers_and_reports_its_metrics(shifted, small):
    (x, y), (target, _) = shifted
    adapter = DomainAdapter(small(), "cdan-e+mcc+pseudo-label")
    adapter.compile("adam", loss="sparse_categorical_crossentropy")
    discriminator = adapter.alignment.methods[0].discriminator
    before = [ops.copy(each) for each in discriminator.trainable_variables]
    history = adapter.fit(pair((x, y), target, batch_size=50), epochs=2, verbose=0).history
    assert {"discriminator_accuracy", "pseudo_labelled"} <= set(history)
    for old, new in zip(before, discriminator.trainable_variables, strict=True):
        assert (ops.convert_to_numpy(old) != ops.convert_to_numpy(new)).any()


def test_a_combination_is_saved_with_its_methods(shifted, small, tmp_path):
    (x, y), (target, _) = shifted
    adapter = DomainAdapter(small(), Combined([CDAN(entropy=True), MCC(temperature=2.0)]))
    adapter.compile("adam", loss="sparse_categorical_crossentropy")
    adapter.fit(pair((x, y), target), epochs=1, verbose=0)
    adapter.save(tmp_path / "adapter.keras")
    again = keras.saving.load_model(tmp_path / "adapter.keras")
    assert [type(each).__name__ for each in again.alignment.methods] == ["CDAN", "MCC"]
    assert again.alignment.methods[1].temperature == 2.0
    for one, other in zip(adapter.weights, again.weights, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-6)


@pytest.mark.parametrize("name", ["adda", "adabn", "shot", "kliep", "coral-closed"])
def test_methods_with_phases_of_their_own_are_refused(name):
    with pytest.raises(TlkitError, match="cannot be combined"):
        Combined([name, "mcc"])


def test_no_method_at_all_is_refused():
    with pytest.raises(TlkitError, match="methods is empty"):
        Combined([])
