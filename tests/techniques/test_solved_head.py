"""The solved head of a Keras model."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlkit import backbones
from tlkit.errors import TlkitError
from tlkit.models import attach_head, backbone_of, build_classifier, feature_network
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.solved_head import solve_head


def test_the_model_predicts_as_scikit_learn_on_its_features(digits, lenet, weights_of):
    before = weights_of(backbone_of(lenet))
    solved = solve_head(lenet, digits.train, least_scale=0)
    x = extract(feature_network(lenet), digits.train, precision="float32")
    classifier = LogisticRegression(C=solved.C, tol=1e-9, max_iter=100_000)
    pipeline = make_pipeline(StandardScaler(), classifier).fit(x.astype("float64"), digits.train.labels)
    new = extract(feature_network(lenet), digits.test, precision="float32")
    expected = pipeline.predict_proba(new)
    np.testing.assert_allclose(lenet.predict(digits.test.images, verbose=0), expected, atol=1e-4)
    np.testing.assert_allclose(lenet.get_layer("head").predict(new, verbose=0), expected, atol=1e-5)
    assert all(np.array_equal(before[path], value) for path, value in weights_of(backbone_of(lenet)).items())


def test_the_head_learns_from_training_and_validation_labels(digits, lenet):
    train, validation = digits.train, digits.validation
    solved = solve_head(lenet, train, validation)
    assert solved.held_out.shape == (len(train) + len(validation), 10)
    images = np.concatenate([train.images, validation.images])
    found = lenet.predict(digits.test.images, verbose=0)
    solve_head(lenet, (images, np.concatenate([train.labels, validation.labels])))
    np.testing.assert_allclose(lenet.predict(digits.test.images, verbose=0), found, atol=1e-6)


def test_a_single_logit_is_that_of_the_second_of_two_classes(digits, lenet):
    few = digits.train.subset(np.flatnonzero(digits.train.labels < 2))
    two = build_classifier(backbone_of(lenet), 2)
    solved = solve_head(two, few)
    features = keras.Input(two.get_layer("head").inputs[0].shape[1:])
    head = keras.Model(features, keras.layers.Dense(1)(features))
    one = attach_head(backbone_of(lenet), head)
    assert solve_head(one, few).C == solved.C
    found = keras.ops.sigmoid(one.predict(digits.test.images, verbose=0))[:, 0]
    np.testing.assert_allclose(found, two.predict(digits.test.images, verbose=0)[:, 1], atol=1e-6)


def test_a_head_of_logits_and_one_hot_labels(digits, lenet):
    solve_head(lenet, digits.train)
    expected = lenet.predict(digits.test.images, verbose=0)
    logits = build_classifier(backbone_of(lenet), 10, activation=None)
    solve_head(logits, (digits.train.images, np.eye(10)[digits.train.labels]))
    found = keras.ops.softmax(logits.predict(digits.test.images, verbose=0))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_layer_without_weights_below_the_last_one_is_applied(digits):
    backbone = backbones.load_backbone("LeNet", weights=None)
    layers = [keras.Input((100,)), keras.layers.UnitNormalization(), keras.layers.Dense(10, "softmax")]
    model = attach_head(backbone, keras.Sequential(layers))
    solved = solve_head(model, digits.train)
    x = extract(feature_network(model), digits.test, precision="float32")
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(digits.test.images, verbose=0), solved.predict(x), atol=1e-4)


def test_heads_that_cannot_be_solved_are_refused(digits):
    hidden = build_classifier("LeNet", 10, weights=None, bottleneck=8)
    with pytest.raises(TlkitError, match=r"layers with weights below its last layer.*or train_head"):
        solve_head(hidden, digits.train)
    layers = [keras.Input((100,)), keras.layers.Dense(10, "softmax", use_bias=False)]
    unbiased = attach_head(backbones.load_backbone("LeNet", weights=None), keras.Sequential(layers))
    with pytest.raises(TlkitError, match=r"has no bias, so it cannot be solved"):
        solve_head(unbiased, digits.train)


def test_several_labels_per_image_are_refused(digits, lenet):
    several = np.ones((len(digits.train), 10))
    with pytest.raises(TlkitError, match="Some images have several labels or soft labels"):
        solve_head(lenet, (digits.train.images, several))


def test_labels_that_do_not_fit_the_model_are_refused(digits):
    model = build_classifier("LeNet", 3, weights=None)
    with pytest.raises(TlkitError, match="Build the model with classes=10"):
        solve_head(model, digits.train)
