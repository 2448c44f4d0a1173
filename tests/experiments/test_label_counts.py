"""Accuracy against the number of labels: what is trained, on what, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pushes import full

from tlkit.challenges.dataset_size import fit_power_law
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.experiments import label_counts as experiment
from tlkit.experiments.fitting import Fitted
from tlkit.experiments.label_counts import BATCH, EPOCHS, STEPS_OF_SMALL, LabelCounts, label_counts
from tlkit.techniques import TECHNIQUES


@pytest.fixture
def trainings(monkeypatch):
    """What `fit_classifier` is asked for, in place of training: the more labels, the more right answers."""
    asked = []

    def fit_classifier(data, technique, **options):
        asked.append((data, technique, options))
        right = np.arange(len(data.test)) < len(data.train) / 10
        answers = np.where(right, data.test.labels, (data.test.labels + 1) % 10)
        return Fitted(None, "LeNet", technique, probabilities={"test": np.eye(10)[answers]})

    monkeypatch.setattr(experiment, "fit_classifier", fit_classifier)
    return asked


OPTIONS = {"backbone": "LeNet", "weights": None, "techniques": ["scratch", "fine-tuning"], "seeds": [0, 1]}


def test_every_technique_sees_the_same_nested_labels_and_no_validation(digits, trainings):
    table = label_counts(digits, sizes=[40, 20], **OPTIONS).table
    measured = ["accuracy", "balanced_accuracy", "macro_f1"]
    assert list(table) == ["arm", "labels", "seed", *measured, "seconds"]
    assert table["arm"].tolist() == ["scratch"] * 4 + ["fine-tuning"] * 4
    assert table["labels"].tolist() == [20, 20, 40, 40] * 2
    assert table["accuracy"].tolist() == [0.02, 0.02, 0.04, 0.04] * 2
    assert [technique for _, technique, _ in trainings] == table["arm"].tolist()
    assert [options["seed"] for _, _, options in trainings] == table["seed"].tolist()
    assert all(data.validation is None and data.test is digits.test for data, _, _ in trainings)
    names = [set(data.train.names) for data, _, _ in trainings]
    assert names[:4] == names[4:], "both techniques"
    assert names[0] < names[2], "20 of the first seed in its 40"
    assert names[0] != names[1], "another seed, other labels"


def test_few_labels_take_as_many_steps_as_more_do(digits, trainings):
    label_counts(digits, sizes=[20, 200], **OPTIONS)
    for data, _, options in trainings:
        steps = options["epochs"] * -(-len(data.train) // BATCH)
        assert STEPS_OF_SMALL <= steps < STEPS_OF_SMALL + 7
    trainings.clear()
    label_counts(digits, sizes=[200], steps=1, **OPTIONS)
    assert {options["epochs"] for _, _, options in trainings} == {EPOCHS}


def test_a_head_alone_is_solved_without_epochs(digits, trainings):
    label_counts(digits, sizes=[20], **OPTIONS | {"techniques": ["feature-extraction"]})
    assert all("epochs" not in options for _, _, options in trainings)


def test_with_one_label_per_class_fine_tuning_keeps_the_network_frozen(digits, trainings):
    label_counts(digits, sizes=[10], **OPTIONS | {"seeds": [0]})
    assert [technique for _, technique, _ in trainings] == ["scratch", "feature-extraction"]


def test_by_default_all_techniques_meet_six_sizes_from_two_per_class_to_all(digits, trainings):
    found = label_counts(digits, backbone="LeNet", weights=None, seeds=[0])
    assert found.table["arm"].unique().tolist() == list(TECHNIQUES.names)
    sizes = found.table["labels"].unique()
    assert (len(sizes), sizes[0], sizes[-1]) == (6, 20, 200)
    assert found.backbone == "LeNet"
    assert found.data is digits


@full
def test_two_labels_a_class_are_trained_on_in_earnest(digits):
    found = label_counts(digits, sizes=[20], steps=40, **OPTIONS | {"techniques": ["scratch"], "seeds": [0]})
    assert found.table["accuracy"].item() > 0.35, "chance is 0.1"


def test_what_cannot_be_measured_is_refused_before_anything_is_trained(digits, trainings):
    for test in (None, digits.test.unlabelled()):
        with pytest.raises(DataError, match="labelled test split is needed"):
            label_counts(replace(digits, test=test), **OPTIONS)
    with pytest.raises(DataError, match="9999 of 200 images"):
        label_counts(digits, sizes=[20, 9999], **OPTIONS)
    with pytest.raises(UnknownNameError, match="fine-tuning"):
        label_counts(digits, **OPTIONS | {"techniques": ["fine-tunning"]})
    with pytest.raises(UnknownNameError, match="Did you mean 'LeNet'"):
        label_counts(digits, **OPTIONS | {"backbone": "LeNett"})
    with pytest.raises(TlkitError, match="steps=0"):
        label_counts(digits, steps=0, **OPTIONS)
    with pytest.raises(TlkitError, match="at least one arm"):
        label_counts(digits, **OPTIONS | {"techniques": []})
    assert not trainings


def measured(digits, sizes, **options):
    """A result in which fine-tuning follows a power law, and scratch stays 0.2 below."""
    rows = [
        (arm, size, seed, 0.95 - size**-0.4 - 0.2 * (arm == "scratch") + 0.001 * seed)
        for arm in ("scratch", "fine-tuning")
        for size in sizes
        for seed in (0, 1, 2)
    ]
    table = pd.DataFrame(rows, columns=["arm", "labels", "seed", "accuracy"])
    return LabelCounts(digits, table, "LeNet", **options)


def test_the_metrics_forecast_how_many_labels_the_best_technique_needs(digits):
    found = measured(digits, (20, 40, 80, 160, 320, 640), target_accuracy=0.9)
    numbers = found.metrics()
    assert numbers["best"] == found.best == "fine-tuning"
    assert numbers["target_accuracy"] == 0.9
    rows = found.best_rows
    law = fit_power_law(rows["labels"], rows["accuracy"])
    needed = law.needed(0.9)
    assert numbers["forecast"] == {
        "scale": law.scale,
        "exponent": law.exponent,
        "limit": law.limit,
        "labels_needed": needed.labels,
        "low": needed.low,
        "high": needed.high,
    }
    assert numbers["forecast"]["labels_needed"] == pytest.approx(0.05 ** (-1 / 0.4), rel=0.3)
    assert numbers["check"]["labels"].tolist() == [320, 640]
    assert numbers["results"] is found.table


def test_three_sizes_are_too_few_for_a_forecast(digits):
    found = measured(digits, (20, 40, 80))
    assert found.forecast is None
    assert found.metrics()["forecast"] is None
    assert found.metrics()["check"] is None
