"""Accuracy against the number of labels: what is trained, on what, and what is refused."""

from dataclasses import replace

import pytest

from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.experiments import train as run
from tlkit.experiments.label_counts import BATCH, EPOCHS, STEPS_OF_SMALL
from tlkit.experiments.statistics import label_counts


@pytest.fixture
def trainings(monkeypatch):
    """What `tlkit.experiments.train.train` is asked for, in place of training."""
    asked = []

    def train(data, **options):
        asked.append((data, options))
        return type("Run", (), {"accuracy": lambda self, split: len(data.train) / 1000})()

    monkeypatch.setattr(run, "train", train)
    return asked


OPTIONS = {"backbone": "LeNet", "weights": None, "techniques": ["scratch", "fine-tuning"], "seeds": [0, 1]}


def test_every_technique_sees_the_same_nested_labels_and_no_validation(digits, trainings):
    table = label_counts(digits, sizes=[40, 20], **OPTIONS)
    assert list(table) == ["arm", "labels", "seed", "accuracy", "seconds"]
    assert table["labels"].tolist() == [20, 20, 40, 40] * 2
    assert table["accuracy"].tolist() == [0.02, 0.02, 0.04, 0.04] * 2
    assert all(data.validation is None and data.test is digits.test for data, _ in trainings)
    names = [set(data.train.names) for data, _ in trainings]
    assert names[:4] == names[4:], "both techniques"
    assert names[0] < names[2], "20 of the first seed in its 40"
    assert names[0] != names[1], "another seed, other labels"


def test_few_labels_take_as_many_steps_as_more_do(digits, trainings):
    label_counts(digits, sizes=[20, 200], **OPTIONS)
    for data, options in trainings:
        steps = options["epochs"] * -(-len(data.train) // BATCH)
        assert STEPS_OF_SMALL <= steps < STEPS_OF_SMALL + 7
    trainings.clear()
    label_counts(digits, sizes=[200], steps=1, **OPTIONS)
    assert {options["epochs"] for _, options in trainings} == {EPOCHS}


def test_two_labels_a_class_are_trained_on_in_earnest(digits):
    table = label_counts(digits, sizes=[20], steps=40, **OPTIONS | {"techniques": ["scratch"], "seeds": [0]})
    assert table["accuracy"].item() > 0.35, "chance is 0.1"


def test_what_cannot_be_studied_is_refused_before_anything_is_trained(digits, trainings):
    with pytest.raises(DataError, match="needs a labelled test split"):
        label_counts(replace(digits, test=None), **OPTIONS)
    with pytest.raises(DataError, match="9999 of 200 images"):
        label_counts(digits, sizes=[20, 9999], **OPTIONS)
    with pytest.raises(UnknownNameError, match="fine-tuning"):
        label_counts(digits, **OPTIONS | {"techniques": ["fine-tunning"]})
    with pytest.raises(TlkitError, match="steps=0"):
        label_counts(digits, steps=0, **OPTIONS)
    assert not trainings
