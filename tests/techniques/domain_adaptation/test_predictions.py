import keras
import numpy as np
import pytest
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import augmentation, build_classifier
from tlkit.techniques.domain_adaptation import AdaMatch, Domain, DomainAdapter, PseudoLabel, pair
from tlkit.techniques.domain_adaptation.entropy import entropy
from tlkit.techniques.domain_adaptation.mcc import class_confusion

RNG = np.random.default_rng(0)


def test_entropy_is_that_of_scipy():
    from scipy.stats import entropy as expected

    p = RNG.dirichlet(np.ones(5), 8).astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(entropy(p)), expected(p, axis=1), rtol=1e-4)


def test_class_confusion_is_the_share_beside_the_diagonal():
    p = RNG.dirichlet(np.ones(3), 8).astype("float32")
    soft = p ** (1 / 2.5)
    soft /= soft.sum(axis=1, keepdims=True)
    weights = 1 + np.exp(np.sum(soft * np.log(soft), axis=1))
    weights /= weights.mean()
    c = np.zeros((3, 3))
    for w, row in zip(weights, soft, strict=True):
        c += w * np.outer(row, row)
    c /= c.sum(axis=1, keepdims=True)
    assert float(class_confusion(p)) == pytest.approx(1 - np.trace(c) / 3, rel=1e-3)


def test_sure_predictions_confuse_nothing():
    sure = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    even = np.full((4, 3), 1 / 3, "float32")
    assert float(class_confusion(sure)) < 0.02
    assert float(class_confusion(even)) == pytest.approx(2 / 3, rel=1e-3)


def test_below_the_threshold_there_are_no_pseudo_labels(adapted):
    _, history = adapted(PseudoLabel(threshold=1.1), epochs=2)
    assert history.history["pseudo_labelled"] == [0, 0]
    assert history.history["alignment_loss"] == [0, 0]


def test_adamatch_aligns_the_frequencies_and_lowers_the_threshold_with_the_confidence_on_the_source():
    source = np.array([[0.6, 0.4], [0.2, 0.8]], "float32")  # mean 0.4, 0.6; mean confidence 0.7
    target = np.array([[0.9, 0.1], [0.7, 0.3]], "float32")  # mean 0.8, 0.2
    method = AdaMatch(threshold=0.9)
    found, threshold = method.guesses(Domain(None, None, source), Domain(None, None, target))
    expected = target * [0.4 / 0.8, 0.6 / 0.2]
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4)
    assert float(threshold) == pytest.approx(0.9 * 0.7)
    assert ops.convert_to_numpy(found)[1].argmax() == 1  # the rarer class of the target wins


def test_a_change_of_pixels_is_refused_on_features():
    head = build_classifier("LeNet", 3, weights=None, bottleneck=8).get_layer("head")
    with pytest.raises(TlkitError, match="needs pixels"):
        DomainAdapter(head, PseudoLabel(change=augmentation()))


def test_the_changed_view_leaves_no_trace_in_the_statistics():
    """Batch normalisation keeps the statistics of the target as it is, not of its changed view."""
    model = build_classifier("LeNetBN", 3, weights=None, dropout=0.0)
    change = keras.layers.Rescaling(0.0)  # a view of nothing
    adapter = DomainAdapter(model, PseudoLabel(threshold=0.0, change=change))
    adapter.compile(keras.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
    images = RNG.integers(100, 255, (32, 28, 28, 3)).astype("uint8")
    adapter.fit(pair((0 * images, np.arange(32) % 3), images, batch_size=32), epochs=1, verbose=0)
    backbone = model.get_layer("LeNetBN")
    norm = backbone.get_layer("conv1_bn")
    before_norm = keras.Model(backbone.input, norm.input)(images)
    expected = (1 - norm.momentum) * np.mean(ops.convert_to_numpy(before_norm), axis=(0, 1, 2))
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_mean), expected, rtol=1e-3, atol=1e-5)
