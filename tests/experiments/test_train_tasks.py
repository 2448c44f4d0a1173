"""Several tasks by one network: every technique, missing labels, and the weights of the best epoch."""

import os
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from pushes import full, graph, traced

from tlkit.data import Split
from tlkit.data.batches import Batches
from tlkit.errors import DataError, TlkitWarning, UnknownNameError
from tlkit.experiments.train_tasks import train_tasks
from tlkit.techniques.multi_task import encoded, tasks_for


def columns(labels, start=0):
    """Three tasks about a digit, as texts: some labels are missing."""
    marks = ["|".join((["even"] if n % 2 == 0 else []) + (["small"] if n < 5 else [])) or "-" for n in labels]
    return {
        "the digit": np.array([f"d{n}" for n in labels]),
        "marks": np.array(marks),
        "size": np.where(np.arange(len(labels)) % 4 == start, "", labels.astype(str)),
    }


@pytest.fixture(scope="module")
def data(digits):
    """Digits whose labels are columns of a table."""
    parts = {
        name: Split(split.images, None, split.names, columns(split.labels))
        for name, split in digits.splits.items()
    }
    return replace(digits, **parts, class_names=[])


@pytest.fixture(scope="module")
def scratch(data):
    with traced():
        return train_tasks(data, technique="scratch", backbone="LeNet", epochs=12, augment=False, seed=1)


def changed(split, **new):
    return Split(split.images, None, split.names, split.attributes | new)


def test_every_split_is_predicted_and_measured(scratch):
    assert {part: len(each["size"]) for part, each in scratch.predictions.items()} == {
        "train": 200,
        "validation": 100,
        "test": 100,
    }
    assert scratch.predictions["test"]["the digit"].shape == (100, 10)
    assert scratch.evaluated == "test"
    measures, floors = scratch.measures("test"), scratch.baselines()
    assert measures["the digit"] > 0.4 > floors["the digit"]
    assert measures["marks"] > floors["marks"]
    assert measures["size"] < floors["size"]
    assert set(scratch.seconds) == {"training", "total"}, "no features from scratch"


def test_measures_are_over_the_labels_that_are_there(scratch, data):
    known = scratch.known("test", "size")
    assert known.sum() == 75
    error = np.abs(scratch.predictions["test"]["size"] - scratch.labels["test"]["size"])[known]
    assert scratch.measures("test")["size"] == pytest.approx(error.mean())
    train, test = (scratch.labels[part]["size"] for part in ("train", "test"))
    constant = np.abs(test - np.nanmedian(train))[known].mean()
    assert scratch.baselines()["size"] == pytest.approx(constant, rel=1e-5)
    assert np.isnan(scratch.scores("test", "size")[~known]).all()


def test_metrics_hold_each_task_with_its_baseline_and_classes_with_an_interval(scratch):
    numbers = scratch.metrics()
    assert (numbers["evaluated"], numbers["balancing"]) == ("test", "equal")
    digit, size = numbers["tasks"]["the digit"], numbers["tasks"]["size"]
    assert digit[digit["measure"]]["test"] == scratch.measures("test")["the digit"]
    assert digit["baseline"] == scratch.baselines()["the digit"]
    assert (digit["interval"]["split"], digit["interval"]["images"]) == ("test", 100)
    assert digit["interval"]["low"] < scratch.measures("test")["the digit"] < digit["interval"]["high"]
    assert size["interval"] is None
    assert size["labelled"] == {"train": 150, "validation": 75, "test": 75}


def test_the_model_is_that_of_the_best_epoch(scratch):
    """Early stopping restores the weights through the learner, on the sum of the validation losses."""
    best = min(scratch.history["scratch"]["val_loss"])
    images = scratch.data.validation.images
    predicted = scratch.model.predict(images, verbose=0)
    loss = sum(
        float(task.loss(scratch.labels["validation"][name], predicted[name]))
        for name, task in scratch.tasks.items()
    )
    assert loss == pytest.approx(best, rel=0.02)  # Keras averages the losses of the batches


def test_features_are_enough_for_the_heads_and_the_whole_model_says_the_same(data):
    run = train_tasks(data, backbone="LeNet", weights=None, balancing="gradnorm", epochs=4)
    assert run.technique == "feature-extraction"
    assert run.frozen["state"].tolist() == ["frozen"] * 3 + ["trainable"]
    assert list(run.history) == ["head"]
    weights = np.array([run.history["head"][f"{name}_weight"] for name in run.tasks])
    assert np.ptp(weights) > 0
    whole = run.model.predict(data.test.images, verbose=0)
    for name, values in run.predictions["test"].items():
        np.testing.assert_allclose(whole[name], values, rtol=1e-3, atol=1e-3)


def test_fine_tuning_starts_with_the_heads_and_reads_files_batch_by_batch(data):
    class Lazy:
        dtype, ndim = np.dtype("uint8"), 4

        def __init__(self, images):
            self.images, self.shape = images, images.shape

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            chosen = self.images[index]
            assert len(chosen) <= 64, "more than a few batches at once"
            return chosen

    run = train_tasks(
        data, technique="fine-tuning", backbone="LeNet", weights=None, epochs=1, head_epochs=2, augment=False
    )
    assert list(run.history) == ["head", "fine-tuning"]
    assert run.frozen.loc["conv1", "state"] == "frozen"
    lazy = {
        part: Split(Lazy(split.images), None, split.names, split.attributes)
        for part, split in data.splits.items()
    }
    run = train_tasks(replace(data, **lazy), technique="scratch", backbone="LeNet", epochs=1)
    assert len(run.predictions["train"]["size"]) == 200


def test_batches_carry_the_labels_of_all_tasks():
    images = np.arange(5 * 4 * 4 * 3, dtype="uint8").reshape(5, 4, 4, 3)
    labels = {"a": np.arange(5), "b": np.arange(10.0).reshape(5, 2)}
    batches = Batches(images, labels, 2, True, 0)
    seen = [batches[i] for i in range(len(batches))]
    assert [len(each) for each, _ in seen] == [2, 2, 1]
    for x, y in seen:
        for image, a, b in zip(x, y["a"], y["b"], strict=True):
            np.testing.assert_array_equal(image, images[a])
            np.testing.assert_array_equal(b, labels["b"][a])


def test_what_a_column_is_comes_from_all_images_and_its_classes_from_training(data):
    odd = data.test.attributes["size"].copy()
    odd[0] = "many"
    with pytest.raises(DataError, match=r"such as 'many'.*--kind size=classification"):
        tasks_for(replace(data, test=changed(data.test, size=odd)))
    kinds = tasks_for(data, {"size": "classification"})
    assert kinds["size"].class_names == [str(n) for n in range(10)]


def test_a_data_set_without_attributes_is_told_where_they_come_from(digits):
    with pytest.raises(DataError, match=r"have no attributes, so there are no tasks.*load_table.*'solar'"):
        tasks_for(digits)


def test_a_class_that_was_never_trained_is_a_missing_label_and_named(data):
    digit, marks = (data.test.attributes[name].astype("U20") for name in ("the digit", "marks"))
    digit[:2], marks[3] = "d10", "even|huge"
    test = changed(data.test, **{"the digit": digit, "marks": marks})
    tasks = tasks_for(data)
    with pytest.warns(TlkitWarning) as said:
        labels = encoded(replace(data, test=test), tasks)
    assert [str(each.message) for each in said] == [
        "2 test images have a 'the digit' that no training image has (d10): left out.",
        "1 test image has a 'marks' that no training image has (huge): left out.",
    ]
    assert labels["test"]["the digit"][:2].tolist() == [-1, -1]
    assert np.isnan(labels["test"]["marks"][3]).all()
    assert not np.isnan(labels["test"]["marks"][4]).any()


def test_a_task_without_validation_labels_is_said_and_not_evaluated_there(data):
    validation = changed(data.validation, size=np.full(100, ""))
    with pytest.warns(TlkitWarning, match="No validation image has a label of 'size'"):
        run = train_tasks(
            replace(data, validation=validation), technique="scratch", backbone="LeNet", epochs=1
        )
    assert run.measures("validation")["size"] is None
    assert run.baselines("validation")["size"] is None
    assert run.measures("test")["size"] is not None
    assert "val_size_loss" not in run.history["scratch"]
    assert "val_marks_loss" in run.history["scratch"]


def test_all_training_labels_of_a_task_missing_is_an_error(data):
    train = changed(data.train, size=np.full(200, ""))
    with pytest.raises(DataError, match="All labels of 'size' are missing"):
        train_tasks(replace(data, train=train), technique="scratch", backbone="LeNet")


def test_without_validation_or_test_the_training_images_are_evaluated(data):
    run = train_tasks(
        replace(data, validation=None, test=None), technique="scratch", backbone="LeNet", epochs=1
    )
    assert run.evaluated == "train"
    assert set(run.measures("train")) == set(run.tasks)


def test_unknown_names_come_with_the_nearest(data):
    with pytest.raises(UnknownNameError, match="Did you mean 'scratch'"):
        train_tasks(data, technique="scrach")
    with pytest.raises(UnknownNameError, match="Did you mean 'pcgrad'"):
        train_tasks(data, balancing="pcgrd")


def test_ctrl_c_keeps_the_best_epoch_and_skips_the_next_phase(data):
    class PressCtrlC(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)

    run = train_tasks(
        data,
        technique="fine-tuning",
        backbone="LeNet",
        weights=None,
        head_epochs=40,
        callbacks=[PressCtrlC()],
    )
    assert run.interrupted
    assert list(run.history) == ["head"]
    assert len(run.history["head"]["loss"]) <= 3
    assert set(run.predictions) == {"train", "validation", "test"}


@full
@graph
@pytest.mark.parametrize("validated", [True, False])
def test_a_fine_tuning_that_ctrl_c_stopped_is_undone_unless_it_was_better(data, validated):
    class PressCtrlC(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.trainings = getattr(self, "trainings", 0) + 1

        def on_train_batch_end(self, batch, logs=None):
            if self.trainings == 2:
                os.kill(os.getpid(), signal.SIGINT)

    known = data if validated else replace(data, validation=None)
    options = {"backbone": "LeNet", "weights": None, "head_epochs": 40, "epochs": 40, "seed": 3}
    heads = train_tasks(known, technique="feature-extraction", **options)
    harmful = {"learning_rate": 1.0, "augment": False, "callbacks": [PressCtrlC()]}
    run = train_tasks(known, technique="fine-tuning", **options, **harmful)
    assert run.interrupted
    assert len(run.history["fine-tuning"]["loss"]) == 1
    for task, predicted in heads.predictions["test"].items():
        np.testing.assert_allclose(run.predictions["test"][task], predicted, atol=1e-4)
