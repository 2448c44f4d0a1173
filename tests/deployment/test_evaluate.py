"""A saved model is evaluated on labelled images: the classes are matched by name, never by their order."""

from dataclasses import replace

import numpy as np
import pytest

from tlkit.data import Dataset, Split
from tlkit.deployment.evaluate import evaluate
from tlkit.deployment.saved_run import open_run
from tlkit.errors import DataError, TlkitError
from tlkit.reports.result import write_report


@pytest.fixture(scope="module")
def run(with_model):
    return open_run(with_model)


def test_the_accuracy_is_that_of_the_models_predictions(run, digits):
    found = evaluate(run, digits)
    predicted = run.model.predict(digits.test.images, verbose=0)
    np.testing.assert_allclose(found.probabilities, predicted, atol=1e-5)
    assert found.accuracy == np.mean(predicted.argmax(axis=1) == digits.test.labels)
    numbers = found.metrics()
    assert numbers["interval"]["low"] < found.accuracy < numbers["interval"]["high"]
    assert numbers["interval"]["images"] == numbers["images"] == 100
    assert sum(row["support"] for row in numbers["per_class"]) == 100
    assert found.seconds["total"] > 0


def test_a_folder_and_a_name_are_enough(with_model, run):
    found = evaluate(with_model, "digits/optical")
    assert found.name == "digits/optical"
    assert len(found.images) == 359  # the test split alone
    np.testing.assert_array_equal(found.probabilities, evaluate(run, "digits/optical").probabilities)


def test_classes_in_another_order_are_matched_by_name(run, digits):
    test = Split(digits.test.images, 9 - digits.test.labels, digits.test.names)
    reordered = replace(digits, test=test, class_names=digits.class_names[::-1])
    expected, found = evaluate(run, digits), evaluate(run, reordered)
    assert found.class_names == expected.class_names
    np.testing.assert_array_equal(found.images.labels, expected.images.labels)
    assert found.accuracy == expected.accuracy


def test_some_of_the_classes_are_enough(run, digits):
    rows = np.isin(digits.test.labels, [3, 7])
    few = Split(
        digits.test.images[rows], (digits.test.labels[rows] == 7).astype(int), digits.test.names[rows]
    )
    found = evaluate(run, Dataset(few, None, None, ["3", "7"], digits.card))
    assert set(found.images.labels) == {3, 7}
    by_class = {row["name"]: row for row in found.metrics()["per_class"]}
    assert len(by_class) == 10
    assert by_class["3"]["support"] + by_class["7"]["support"] == len(few)
    assert by_class["0"]["support"] == 0


def test_classes_that_the_model_does_not_know_are_refused(run, digits):
    unknown = replace(digits, class_names=[*digits.class_names[:8], "cat", "dog"])
    with pytest.raises(DataError, match=r"does not know cat, dog; it knows 0, 1, .*Rename or remove"):
        evaluate(run, unknown)


def test_images_without_labels_and_folders_without_a_run_are_refused(run, digits, tmp_path):
    with pytest.raises(DataError, match="label"):
        evaluate(run, replace(digits, test=digits.test.unlabelled()))
    with pytest.raises(TlkitError, match="not the folder of a run"):
        evaluate(tmp_path, digits)


def test_the_report_has_the_confusions_and_the_table_a_row_for_each_image(run, digits, tmp_path):
    import pandas as pd

    found = evaluate(run, digits)
    document = found.report()
    assert document.answer == found.answer
    assert "of 100 images right, 95 % interval" in document.answer
    assert {"Confusion", "Each class", "Worst mistakes"} <= {section.title for section in document.sections}
    write_report(found, tmp_path)
    table = pd.read_csv(tmp_path / "predictions.csv", dtype={"truth": str, "prediction": str})
    assert table["file"].tolist() == digits.test.names.tolist()
    assert np.mean(table["truth"] == table["prediction"]) == found.accuracy
    np.testing.assert_allclose(table[[f"p({name})" for name in digits.class_names]].sum(axis=1), 1, atol=1e-4)
