"""The labels, loss, measure and baseline of each task, compared with numbers computed by hand."""

import numpy as np
import pytest
from keras import ops

from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.techniques.multi_task import Classification, MultiLabel, Regression
from tlkit.techniques.multi_task.writing import layer_name


def array(tensor):
    return ops.convert_to_numpy(tensor)


def test_classes_may_be_names_integers_or_floats():
    task = Classification(["cat", "dog"])
    assert task.encode(["dog", " NaN", None, "cat"]).tolist() == [1, -1, -1, 0]
    assert task.encode(np.array([1.0, np.nan])).tolist() == [1, -1]
    for wrong in ([0, 2], [0.5], [[0], [1]], [-2]):
        with pytest.raises(DataError, match="integers from 0 to 1"):
            task.encode(np.array(wrong))
    with pytest.raises(UnknownNameError, match="Did you mean 'cat'"):
        task.encode(["cta"])


def test_several_labels_may_be_texts_or_numbers():
    task = MultiLabel(["red", "round"])
    np.testing.assert_array_equal(
        task.encode(["round", "", "round | red", "-"]), [[0, 1], [np.nan] * 2, [1, 1], [0, 0]]
    )
    assert task.encode(np.array([[1, 0]])).tolist() == [[1.0, 0.0]]
    with pytest.raises(DataError, match="label 2 was given"):
        task.encode(np.array([[2, 0]]))
    with pytest.raises(UnknownNameError, match="no label named 'rund'"):
        task.encode(["rund"])


def test_numbers_may_be_texts_vectors_or_columns():
    task = Regression()
    np.testing.assert_array_equal(task.encode(["2.5", ""]), [[2.5], [np.nan]])
    assert task.encode(np.array([1, 2])).tolist() == [[1.0], [2.0]]
    with pytest.raises(DataError, match="finite"):
        task.encode(np.array([np.inf]))
    with pytest.raises(DataError, match=r"expected \(n, 2\)"):
        Regression(2).encode(np.array([1.0]))


def test_known_is_one_where_there_is_a_label():
    assert array(Classification(2).known(np.array([0, -1, 1]))).tolist() == [1, 0, 1]
    assert array(Regression().known(np.array([[np.nan], [2.0]]))).tolist() == [[0], [1]]
    assert array(MultiLabel(2).known(np.array([[1, np.nan]]))).tolist() == [[1, 0]]


def test_the_loss_is_the_mean_over_labels_that_are_not_missing():
    probabilities = np.array([[0.5, 0.5], [0.9, 0.1], [0.25, 0.75]], "float32")
    loss = Classification(2).loss(np.array([0, -1, 1]), probabilities)
    assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2, rel=1e-4)
    loss = MultiLabel(2).loss(np.array([[1, np.nan], [0, 1]]), probabilities[:2])
    assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.1) + np.log(0.1)) / 3, rel=1e-4)
    task = Regression(mean=10.0, deviation=2.0)
    predicted = np.array([[11.0], [50.0], [16.0]])
    loss = task.loss(np.array([[10.0], [np.nan], [12.0]]), predicted)
    assert float(loss) == pytest.approx((0.5**2 + 2**2) / 2)
    weighted = task.loss(np.array([[10.0], [np.nan], [12.0]]), predicted, np.array([3.0, 9.0, 1.0]))
    assert float(weighted) == pytest.approx((3 * 0.5**2 + 2**2) / 4)
    assert float(task.loss(np.full((2, 1), np.nan), predicted[:2])) == 0


def test_the_score_is_the_accuracy_or_the_error_in_the_units_of_the_labels():
    probabilities = np.array([[0.4, 0.6], [0.9, 0.1]])
    assert array(Classification(2).score(np.array([1, 1]), probabilities)).tolist() == [1, 0]
    assert array(MultiLabel(2).score(np.array([[1, 1], [1, 0]]), probabilities)).tolist() == [[0, 1], [1, 1]]
    error = Regression(mean=10.0, deviation=2.0).score(np.array([[10.0]]), np.array([[13.0]]))
    assert array(error).tolist() == [[3]]


def test_the_baseline_is_the_best_constant_prediction_of_the_training_labels():
    assert Classification(3).baseline(np.array([2, 2, 0, -1, -1, -1]), np.array([2, 0, 0, -1])) == (
        pytest.approx(1 / 3)
    )
    train = np.array([[1, 0], [1, np.nan], [0, 0.0]])
    assert MultiLabel(2).baseline(train, np.array([[1, 1], [0, np.nan]])) == pytest.approx(1 / 3)
    task = Regression()
    assert task.baseline(np.array([[1.0], [2], [30], [np.nan]]), np.array([[0.0], [5], [np.nan]])) == 2.5


def test_a_task_without_different_labels_is_refused():
    for wrong in (1, ["cat"], ["cat", "cat"]):
        with pytest.raises(TlkitError, match="2 or more different"):
            Classification(wrong)
    with pytest.raises(TlkitError, match="1 or more different"):
        MultiLabel([])
    with pytest.raises(TlkitError, match="all the same need no network"):
        Regression.of([3.0, 3.0])
    with pytest.raises(DataError, match="All labels are missing"):
        Regression.of([np.nan])


def test_any_column_name_becomes_a_valid_layer_name():
    names = ["hair colour", "größe", "50%", "a:b", "颜色", "大小", "_x", "weight (kg)"]
    layers = [layer_name(name) for name in names]
    assert len(set(layers)) == len(names)
    assert all(name.isascii() and " " not in name for name in layers)
