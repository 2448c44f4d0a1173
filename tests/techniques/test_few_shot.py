"""Few-shot heads predict the nearest class, and their Keras layers predict the same."""

import keras
import numpy as np
import pytest
from plain_keras import predicted_without_tlkit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC

from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.models import attach_head, build_classifier, freeze
from tlkit.techniques import few_shot
from tlkit.techniques.feature_extraction import extract

LINEAR = [name for name in few_shot.HEADS.names if name != few_shot.NEIGHBOURS]


@pytest.fixture
def clouds():
    """Four overlapping classes of vectors of different lengths: 15 training and 50 test examples each."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 20))

    def draw(each):
        labels = np.repeat(np.arange(4), each)
        lengths = rng.uniform(0.2, 5.0, (len(labels), 1))
        return lengths * (centres[labels] + rng.normal(size=(len(labels), 20))), labels

    return draw(15), draw(50)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", few_shot.HEADS.names)
def test_one_label_per_class_is_enough_and_more_labels_are_better(name, clouds):
    (x, y), (test, labels) = clouds
    one, all_ = (few_shot.head(name).fit(x[::step], y[::step]) for step in (15, 1))
    assert one.predict(x[::15]).tolist() == [0, 1, 2, 3]
    assert 0.4 < one.score(test, labels) < all_.score(test, labels) - 0.02


@pytest.mark.parametrize("name", few_shot.HEADS.names)
def test_predictions_do_not_depend_on_the_lengths_of_the_vectors(name, clouds):
    (x, y), (test, _) = clouds
    one, other = few_shot.head(name).fit(x, y), few_shot.head(name).fit(x * np.arange(1, 61)[:, None], y)
    np.testing.assert_array_equal(one.predict(test), other.predict(7 * test))


@pytest.mark.parametrize("name", few_shot.HEADS.names)
def test_labels_may_have_gaps(name, clouds):
    (x, y), (test, _) = clouds
    plain, gaps = few_shot.head(name).fit(x, y), few_shot.head(name).fit(x, 3 * y + 5)
    np.testing.assert_array_equal(3 * plain.predict(test) + 5, gaps.predict(test))


def test_the_nearest_class_mean_agrees_with_scikit_learn(clouds):
    (x, y), (test, _) = clouds
    reference = NearestCentroid().fit(unit(x), y)
    ours = few_shot.head("nearest class mean").fit(x, y)
    np.testing.assert_array_equal(ours.predict(test), reference.predict(unit(test)))
    distances = np.square(unit(test)[:, None] - ours.means_).sum(axis=2)
    expected = np.exp(-distances) / np.exp(-distances).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.predict_proba(test), expected, atol=1e-12)


def test_the_scale_of_the_cosine_head_does_not_change_its_predictions(clouds):
    (x, y), (test, _) = clouds
    means = np.stack([unit(x)[y == label].mean(axis=0) for label in range(4)])
    by_angle = (unit(test) @ unit(means).T).argmax(axis=1)
    mild, sure = few_shot.Cosine(scale=1).fit(x, y), few_shot.Cosine(scale=50).fit(x, y)
    for classifier in (mild, sure):
        np.testing.assert_array_equal(classifier.predict(test), by_angle)
    assert sure.predict_proba(test).max(axis=1).mean() > mild.predict_proba(test).max(axis=1).mean() + 0.3


def test_cosine_and_nearest_mean_differ_for_a_scattered_class():
    """The mean of scattered directions has the right angle, but it is short and far from all vectors."""
    x, y = [[1, 0], [1, 0], [10, 1], [-10, 1]], [0, 0, 1, 1]
    predictions = {name: few_shot.head(name).fit(x, y).predict([[1, 1.2]])[0] for name in LINEAR}
    assert (predictions["cosine"], predictions["nearest class mean"]) == (1, 0)


def test_with_more_neighbours_than_examples_all_examples_vote():
    x = np.array([[1, 0], [0, 1], [-1, 0.0]])
    classifier = few_shot.NearestNeighbours(neighbours=50).fit(x, [2, 1, 0])
    assert classifier.predict([[0.9, 0.2], [0.1, 1.0], [-1.0, 0.1]]).tolist() == [2, 1, 0]


def test_several_neighbours_can_outvote_the_nearest_one():
    x, y = [[1, 0], [1, 0.1], [1, 0.2], [-1, 0]], [1, 0, 0, 1]
    predictions = [few_shot.NearestNeighbours(k).fit(x, y).predict([[1, 0.04]])[0] for k in (1, 3)]
    assert predictions == [1, 1]
    predictions = [few_shot.NearestNeighbours(k).fit(x, y).predict([[1, 0.049]])[0] for k in (1, 3)]
    assert predictions == [1, 0]


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("classes", [2, 4])
def test_keras_layers_give_the_same_probabilities(name, classes, clouds, tmp_path):
    (x, y), (test, _) = clouds
    classifier = few_shot.head(name).fit(x[y < classes], y[y < classes])
    network = few_shot.keras_head(classifier)
    network.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras")
    probabilities = again.predict(test, verbose=0)
    assert probabilities.shape == (200, classes)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(test), atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), classifier.predict(test))


def test_logistic_regression_without_a_normalizer_can_be_converted(clouds):
    (x, y), (test, _) = clouds
    classifier = LogisticRegression(max_iter=1000).fit(x, y)
    probabilities = few_shot.keras_head(classifier).predict(test, verbose=0)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(test), atol=1e-4)


def test_with_its_backbone_a_head_is_one_file_that_loads_without_tlkit(digits, tmp_path):
    keras.utils.set_random_seed(0)
    backbone = build_classifier("LeNet", 10, weights=None).get_layer("LeNet")
    classifier = few_shot.head("cosine").fit(extract(backbone, digits.train), digits.train.labels)
    model = attach_head(backbone, few_shot.keras_head(classifier))
    freeze(model)
    assert not model.get_layer("LeNet").trainable_variables
    model.save(tmp_path / "model.keras")
    found = predicted_without_tlkit(tmp_path / "model.keras", digits.test.images)
    predictions = found.argmax(axis=1)
    np.testing.assert_array_equal(predictions, classifier.predict(extract(backbone, digits.test)))
    assert np.mean(predictions == digits.test.labels) > 0.5


def test_other_classifiers_cannot_be_converted_to_keras(clouds):
    (x, y), _ = clouds
    neighbours = few_shot.head("nearest neighbours").fit(x, y)
    with pytest.raises(TlkitError, match=r"all training examples.*Use another head: nearest class mean"):
        few_shot.keras_head(neighbours)
    with pytest.raises(TlkitError, match="LinearSVC cannot be converted to Keras"):
        few_shot.keras_head(LinearSVC().fit(x, y))
    scaled = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    with pytest.raises(TlkitError, match=r"only step .* is Normalizer\(\)"):
        few_shot.keras_head(scaled)
    with pytest.raises(TlkitError, match=r"only step .* is Normalizer\(\)"):
        few_shot.keras_head(make_pipeline(Normalizer("l1"), LogisticRegression()).fit(x, y))
    with pytest.raises(TlkitError, match=r"labels are \[5, 6, 7, 8\].*Dataset.only"):
        few_shot.keras_head(few_shot.head("cosine").fit(x, y + 5))


def test_unusable_examples_are_refused(clouds):
    (x, y), _ = clouds
    with pytest.raises(DataError, match=r"tlkit.extract"):
        few_shot.head("cosine").fit(np.zeros((3, 8, 8, 3)), [0, 1, 2])
    with pytest.raises(DataError, match=r"\(60, 20\) and labels of shape \(59,\)"):
        few_shot.head("cosine").fit(x, y[1:])
    with pytest.raises(DataError, match="one class"):
        few_shot.head("nearest class mean").fit(x, 0 * y)
    with pytest.raises(UnknownNameError, match="Did you mean 'cosine'"):
        few_shot.head("cosin")


def test_the_name_of_a_head_may_be_in_upper_or_lower_case():
    assert isinstance(few_shot.head("Nearest Class Mean"), few_shot.NearestClassMean)


def test_heads_are_estimators_of_scikit_learn():
    again = clone(few_shot.Cosine(scale=3.0))
    assert again.get_params() == {"scale": 3.0}
