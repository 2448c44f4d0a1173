import keras
import numpy as np
import pytest
from keras import ops
from pushes import graph

from tlkit.plots.saliency import gradient
from tlkit.techniques.domain_adaptation import ADDA, CDAN, DANN, MCD, DomainAdapter, pair
from tlkit.techniques.domain_adaptation.alignment import Domain
from tlkit.techniques.domain_adaptation.cdan import certainty, multilinear_map
from tlkit.techniques.domain_adaptation.dann import reverse_gradient

RNG = np.random.default_rng(0)
FEATURES = ops.convert_to_tensor(RNG.normal(size=(6, 4)).astype("float32"))
P = RNG.dirichlet(np.ones(3), 6).astype("float32")


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_the_reversed_gradient_has_the_other_sign_and_this_size(strength):
    x = ops.convert_to_tensor([1.0, -2.0, 3.0])
    np.testing.assert_allclose(ops.convert_to_numpy(reverse_gradient(x, strength)), [1, -2, 3])
    slope = gradient(lambda t: ops.sum(ops.square(reverse_gradient(t, strength))), x)
    np.testing.assert_allclose(ops.convert_to_numpy(slope), -strength * np.array([2.0, -4.0, 6.0]), rtol=1e-6)


def test_the_map_of_cdan_is_the_outer_product():
    rows = ops.convert_to_numpy(multilinear_map(FEATURES, P))
    features = ops.convert_to_numpy(FEATURES)
    np.testing.assert_allclose(rows, [np.outer(f, p).ravel() for f, p in zip(features, P, strict=True)])


def test_a_large_map_is_estimated_by_random_features():
    """The inner product of two estimates is about that of the outer products."""
    keras.utils.set_random_seed(0)
    method = CDAN()
    encoder = keras.Sequential([keras.Input((600,)), keras.layers.ReLU()])
    last = keras.layers.Dense(20, activation="softmax")
    method.prepare(encoder, last)
    f = np.abs(RNG.normal(size=(2, 600))).astype("float32")
    p = RNG.dirichlet(np.ones(20), 2).astype("float32")
    seen = ops.convert_to_numpy(method.conditioned(Domain(None, *map(ops.convert_to_tensor, (f, p)))))
    assert seen.shape == (2, 4096)
    assert seen[0] @ seen[1] == pytest.approx((f[0] @ f[1]) * (p[0] @ p[1]), rel=0.2)


def test_sure_predictions_weigh_more():
    p = ops.convert_to_tensor([[1.0, 0.0], [0.5, 0.5]])
    weights = ops.convert_to_numpy(certainty(Domain(None, None, p)))
    assert weights[0] / weights[1] == pytest.approx(2 / (1 + 0.5), rel=1e-3)
    assert weights.mean() == pytest.approx(1)


@graph
def test_the_discriminator_beats_chance_where_nothing_opposes_it(adapted):
    _, history = adapted(DANN(weight=0.0))
    assert history.history["discriminator_accuracy"][-1] > 0.9


@graph
def test_the_reversal_lowers_what_the_discriminator_finds(adapted):
    found = [min(adapted(DANN(weight=w))[1].history["discriminator_accuracy"][5:]) for w in (0.0, 0.3)]
    assert found[1] < found[0] - 0.1


def test_adda_leaves_the_source_encoder_and_the_classifier_bit_identical(shifted, small, weights_of):
    (x, y), (target, _) = shifted
    adapter = DomainAdapter(small(), ADDA())
    loss = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    adapter.compile("adam", **loss)
    adapter.classifier.compile("adam", **loss)
    adapter.classifier.fit(x, y, epochs=3, verbose=0)
    encoder, last = weights_of(adapter.encoder), weights_of(adapter.last)
    adapter.fit(pair((x, y), target), epochs=2, source_epochs=0, verbose=0)
    for before, after in (
        (list(encoder.values()), adapter.alignment.source_encoder.get_weights()),
        (list(last.values()), adapter.last.get_weights()),
    ):
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)
    assert any((encoder[path] != now).any() for path, now in weights_of(adapter.encoder).items())
    assert adapter.last.trainable


def test_adda_drops_features_of_both_domains_or_of_none():
    layers = keras.layers
    last = layers.Dense(3)
    encoder = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.Dropout(0.5)])
    method = ADDA()
    method.prepare(encoder, last)
    x = RNG.normal(size=(50, 4)).astype("float32")
    for training, low, high in ((True, 0.3, 0.7), (False, 0.0, 0.0)):
        for features in method.encode(encoder, x, x, training):
            assert low <= np.mean(ops.convert_to_numpy(features) == 0) <= high
    mean = method.source_encoder.layers[0].moving_mean
    np.testing.assert_array_equal(ops.convert_to_numpy(mean), 0)  # it stays as it was


def test_adda_does_not_teach_the_discriminator_by_what_should_fool_it():
    keras.utils.set_random_seed(0)
    method = ADDA()
    method.prepare(keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]), keras.layers.Dense(3))
    slope = ops.convert_to_numpy(gradient(method.fooled, FEATURES))
    assert np.abs(slope).max() > 0
    kernel = method.discriminator.layers[1].kernel
    before = float(method.fooled(FEATURES))
    network = Fooling(method)
    network.compile("sgd", loss=lambda _, loss: ops.mean(loss))
    network.fit(FEATURES, np.zeros((6, 1)), verbose=0)
    assert float(method.fooled(FEATURES)) == before
    assert kernel.trainable


class Fooling(keras.Model):
    """Only `fooled` as a loss, over a discriminator that could learn."""

    def __init__(self, method):
        super().__init__()
        self.method = method
        self.offset = self.add_weight(shape=(), name="offset")

    def call(self, features):
        return self.method.fooled(features) + 0.0 * self.offset


def test_the_classifiers_of_mcd_disagree_more_while_the_features_agree():
    """The gradient of the discrepancy has opposite signs for a classifier and for the features."""
    keras.utils.set_random_seed(0)
    last = keras.layers.Dense(3, activation="softmax")
    last.build((None, 4))
    method = MCD()
    method.prepare(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()]), last)
    labels = np.zeros(6, "int32")

    def loss(features, strength):
        fixed = Domain(None, ops.stop_gradient(FEATURES), P, labels)
        return method.loss(fixed, Domain(None, features, P), strength)

    slopes = [ops.convert_to_numpy(gradient(lambda f, s=s: loss(f, s), FEATURES)) for s in (1.0, 0.0)]

    def apart(features):
        return ops.mean(ops.abs(method.first(features) - method.second(features)))

    np.testing.assert_allclose(
        slopes[0], ops.convert_to_numpy(gradient(apart, FEATURES)), rtol=1e-4, atol=1e-7
    )
    np.testing.assert_array_equal(slopes[1], 0)
