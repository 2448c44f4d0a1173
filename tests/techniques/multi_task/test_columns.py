"""Tasks are inferred from columns of a table, whose values are encoded as labels."""

import numpy as np
import pytest

from tlkit.data import Split
from tlkit.errors import DataError, UnknownNameError
from tlkit.techniques.multi_task import Classification, MultiLabel, Regression, infer_tasks, labels_for


def inferred(values, kind=None):
    return infer_tasks({"it": np.array(values)}, {"it": kind} if kind else None)["it"]


def test_numbers_become_a_regression_in_the_units_of_their_labels():
    task = inferred(["1", "2.5", "", "1e1", " nan ", "None"])
    assert isinstance(task, Regression)
    assert task.mean == pytest.approx(4.5)
    assert task.deviation == pytest.approx(np.std([1, 2.5, 10]))


def test_texts_become_classes_in_natural_order_and_so_do_numbers_on_request():
    assert inferred(["dog", "cat", "", "dog", "cat"]).class_names == ["cat", "dog"]
    task = inferred(["10", "2", "2", "10"], "classification")
    assert isinstance(task, Classification)
    assert task.class_names == ["2", "10"]


def test_texts_with_bars_become_several_labels_and_a_dash_means_no_label():
    task = inferred(["red|round", "-", "", "round", "big | red"])
    assert isinstance(task, MultiLabel)
    assert task.class_names == ["big", "red", "round"]
    assert inferred(["red", "blue", "red"], "multi-label").class_names == ["blue", "red"]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["", "nan", "none"], None, "All labels of 'it' are missing. Fill some in, or remove the column"),
        (["1", "2", "three", "4"], None, "3 numbers and 1 texts, such as 'three'.*--kind it=classification"),
        (["a", "b", "3", "c"], None, "1 numbers and 3 texts, such as '3'"),
        (["a", "b", "c", "d", "e"], None, "neither numeric nor categorical: 5 different texts on 5"),
        (["a", "a", "a"], None, "'it' as classification: .*expected 2 or more"),
        (["2", "2"], None, "'it' as regression: .*all the same"),
        (["a", "b"], "regression", "'it' as regression: 'a' is not a finite number"),
    ],
)
def test_an_unsuitable_column_is_named(values, kind, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        inferred(values, kind)


def test_unknown_kinds_and_columns_are_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'regression'"):
        inferred(["1", "2"], "regresion")
    with pytest.raises(UnknownNameError, match="no column named 'is'"):
        infer_tasks({"it": np.array(["1", "2"])}, {"is": "regression"})
    with pytest.raises(DataError, match="no column of labels"):
        infer_tasks({})


def test_labels_are_encoded_from_attributes():
    tasks = {
        "kind": Classification(["cat", "dog"]),
        "marks": MultiLabel(["big", "red"]),
        "size": Regression(),
    }
    attributes = {
        "kind": np.array(["dog", "", "cat"]),
        "marks": np.array(["red", "-", ""]),
        "size": np.array(["1.5", "", "-2"]),
        "note": np.array(["", "", ""]),
    }
    labels = labels_for(Split(np.zeros((3, 8, 8, 3), "uint8"), attributes=attributes), tasks)
    assert labels["kind"].tolist() == [1, -1, 0]
    np.testing.assert_array_equal(labels["marks"], [[0, 1], [0, 0], [np.nan, np.nan]])
    np.testing.assert_array_equal(labels["size"], [[1.5], [np.nan], [-2]])


def test_missing_or_unsuitable_labels_are_named():
    split = Split(np.zeros((2, 8, 8, 3), "uint8"), attributes={"kind": np.array(["cat", "cow"])})
    with pytest.raises(UnknownNameError, match="no attribute of the images named 'size'"):
        labels_for(split, {"size": Regression()})
    with pytest.raises(DataError, match="Task 'kind': There is no class named 'cow'"):
        labels_for(split, {"kind": Classification(["cat", "dog"])})
