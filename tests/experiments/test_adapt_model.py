"""A trained classifier adapts to a target without its source."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from pushes import graph, traced

import tlkit
from tlkit.data import Split
from tlkit.errors import DataError, TlkitError
from tlkit.experiments.adapt_model import adapt_model


@pytest.fixture(scope="module")
def model(digits):
    """A small network that has learned some digits, and normalises by batches."""
    keras.utils.set_random_seed(0)
    model = tlkit.build_classifier("LeNetBN", 10, weights=None, dropout=0.0)
    model.compile("adam", "sparse_categorical_crossentropy")
    with traced():
        model.fit(digits.train.images[:], digits.train.labels, epochs=12, verbose=0)
    return model


@pytest.fixture(scope="module")
def faint(digits):
    """The same digits with a third of the contrast, on grey."""
    parts = {
        name: Split((120 + split.images // 3).astype("uint8"), split.labels, split.names)
        for name, split in digits.splits.items()
    }
    return replace(digits, **parts, card=replace(digits.card, name="faint"))


@pytest.fixture(scope="module")
def adapted(model, digits, faint):
    with traced():
        return adapt_model(model, faint, class_names=digits.class_names, evaluate=faint, epochs=5)


def test_a_copy_is_adapted_and_measured_on_labelled_target_images(adapted, model, faint):
    assert (adapted.method, adapted.target_name, adapted.source) == ("shot", "faint", None)
    assert adapted.model is not model
    before = np.mean(model.predict(faint.test.images, verbose=0).argmax(axis=1) == faint.test.labels)
    assert adapted.accuracies["source only"] == before
    assert adapted.accuracy >= before
    predicted = adapted.model.predict(faint.test.images, verbose=0)
    np.testing.assert_allclose(predicted, adapted.probabilities["target"], atol=1e-4)
    last = [each.get_layer("head").layers[-1].get_weights() for each in (model, adapted.model)]
    for one, other in zip(*last, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_report_and_the_metrics_need_no_source(adapted):
    sections = adapted.report().sections
    assert sections[0].title == "What adaptation gained"
    assert "The data" not in [each.title for each in sections]
    assert "adapted to faint without source images or target labels" in sections[0].blocks[0].text
    numbers = adapted.metrics()
    assert numbers["data"] is None
    assert numbers["splits"] == {"train": None, "validation": None, "test": len(adapted.target)}
    assert numbers["class_names"] == adapted.class_names


def test_without_labels_nothing_is_claimed(model, digits, faint):
    found = adapt_model(model, faint.train.subset(slice(40)), class_names=digits.class_names, method="adabn")
    assert found.accuracies == {}
    assert len(found.probabilities["target"]) == 40


@graph
@pytest.mark.parametrize("method", ["dann", "cdan-e+mcc"])
def test_a_method_that_needs_the_source_is_refused(method, model, digits, faint):
    with pytest.raises(TlkitError, match="needs a labelled source"):
        adapt_model(model, faint, class_names=digits.class_names, method=method)


def test_other_classes_than_those_of_the_model_are_refused(model, digits, faint):
    with pytest.raises(DataError, match="The model has 10 outputs, and its classes are a, b"):
        adapt_model(model, faint, class_names=["a", "b"])
    other = replace(faint, class_names=[*digits.class_names[1:], "x"])
    with pytest.raises(DataError, match="and the labelled target has 1, 2"):
        adapt_model(model, faint, class_names=digits.class_names, evaluate=other)
