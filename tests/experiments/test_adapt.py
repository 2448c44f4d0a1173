"""Adaptation to a target domain: what is trained, what the target labels may touch, and what is refused."""

import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from pushes import full, graph, traced

import tlkit
from tlkit.callbacks import Interruptible
from tlkit.data import Split
from tlkit.errors import DataError, UnknownNameError
from tlkit.reports.adaptation import ADAPTED, CEILING, SOURCE_ONLY

LENET = {"backbone": "LeNet", "weights": None, "epochs": 1}


def negative(split):
    return Split(255 - split.images, split.labels, split.names)


@pytest.fixture(scope="module")
def source(digits):
    return replace(digits, **{name: split.subset(slice(64)) for name, split in digits.splits.items()})


@pytest.fixture(scope="module")
def target(source):
    """The same digits as negatives: a labelled data set of another domain."""
    parts = {name: negative(split) for name, split in source.splits.items()}
    return replace(source, **parts, card=replace(source.card, name="negatives"))


@pytest.fixture(scope="module")
def adapted(source, target):
    return tlkit.adapt(source, target, method="coral", compare=["mmd"], evaluate=target, **LENET)


@pytest.fixture(scope="module")
def unevaluated(source, target):
    """The same adaptation, to a split whose labels are not to be read, with nothing to evaluate it on."""
    return tlkit.adapt(source, target.train, method="coral", **LENET)


def test_the_control_and_the_adapted_network_predict_the_target(adapted, target):
    assert (adapted.target_name, adapted.method) == ("negatives", "coral")
    assert adapted.target is target.test
    shapes = {name: values.shape for name, values in adapted.probabilities.items()}
    assert shapes == {"train": (128, 10), "target": (64, 10)}  # the validation split is trained on, too
    assert adapted.before.shape == (64, 10)
    assert not np.allclose(adapted.before, adapted.probabilities["target"], atol=1e-4)
    predicted = adapted.model.predict(target.test.images, verbose=0)
    np.testing.assert_allclose(predicted, adapted.probabilities["target"], atol=1e-4)
    assert not adapted.interrupted


def test_accuracies_are_those_of_the_labelled_target(adapted, target):
    right = adapted.probabilities["target"].argmax(axis=1) == target.test.labels
    before = adapted.before.argmax(axis=1) == target.test.labels
    assert list(adapted.accuracies) == [SOURCE_ONLY, ADAPTED, "mmd", CEILING]
    assert adapted.accuracy == adapted.accuracies[ADAPTED] == right.mean()
    assert adapted.accuracies[SOURCE_ONLY] == before.mean()
    assert 0 <= adapted.accuracies[CEILING] <= 1


def test_features_of_both_domains_are_compared_before_and_after(adapted):
    assert set(adapted.a_distance) == set(adapted.features) == {"before", "after"}
    assert all(0 <= distance <= 2 for distance in adapted.a_distance.values())
    for ours, theirs in adapted.features.values():
        assert (len(ours), len(theirs)) == (len(adapted.source_labels), 64)


def test_metrics_hold_the_accuracies_and_the_interval_on_the_target(adapted):
    numbers = adapted.metrics()
    assert numbers["target"] == "negatives"
    assert numbers["accuracy"] == adapted.accuracies
    assert numbers["splits"] == {"train": 128, "validation": None, "test": 64}
    assert numbers["accuracy_by_split"]["test"] == adapted.accuracy
    assert numbers["interval"]["low"] <= adapted.accuracy <= numbers["interval"]["high"]
    assert len(numbers["per_class"]) == 10


def test_further_methods_are_compared_and_the_first_one_is_the_result(adapted):
    first, second = adapted.compared
    assert (first.name, second.name) == ("coral", "mmd")
    assert set(first.scores) == {"entropy", "snd"}
    np.testing.assert_array_equal(first.predicted, adapted.predictions[ADAPTED])
    assert not np.array_equal(first.scores["snd"], second.scores["snd"])


def test_labels_of_the_target_never_touch_training(adapted, unevaluated):
    for weights, others in zip(adapted.model.get_weights(), unevaluated.model.get_weights(), strict=True):
        np.testing.assert_allclose(weights, others, atol=1e-5)


def test_without_images_to_evaluate_the_target_is_predicted_and_its_labels_are_not_read(unevaluated):
    assert unevaluated.target_name == "target"
    assert not unevaluated.target.labelled
    assert unevaluated.accuracy is None
    assert unevaluated.accuracies == {}
    assert unevaluated.probabilities["target"].shape == (64, 10)
    numbers = unevaluated.metrics()
    assert numbers["interval"] is None
    assert numbers["per_class"] == []
    assert unevaluated.report().answer.startswith("Trained; there are no labelled target images")


def test_without_a_test_split_the_train_images_are_evaluated_and_there_is_no_ceiling(source, target):
    labelled = replace(target, validation=None, test=None)
    found = tlkit.adapt(source, target.train, method="coral", evaluate=labelled, **LENET)
    assert found.target is labelled.train
    assert found.ceiling is None
    assert CEILING not in found.accuracies


@pytest.mark.parametrize("features", [None, False])
def test_the_backbone_that_was_passed_keeps_its_weights(source, target, features):
    """A pretrained one is frozen by default; end to end, a copy of it learns."""
    backbone = tlkit.load_backbone("LeNet", weights=None)
    before = [np.array(weights) for weights in backbone.get_weights()]
    options = {"backbone": backbone, "features": features, "epochs": 1}
    found = tlkit.adapt(source, target, method="mmd", **options)
    assert found.backbone == "LeNet"
    assert ("trainable" in found.frozen["state"].tolist()[:-1]) is (features is False)
    assert all(map(np.array_equal, before, backbone.get_weights()))


class Unreadable(np.ndarray):
    """Labels that raise as soon as they are compared or read."""

    def __getitem__(self, index):
        raise AssertionError("target labels were read")

    def __eq__(self, other):
        raise AssertionError("target labels were read")


@pytest.fixture(scope="module")
def backbone():
    """A small network whose random features tell digits apart."""
    keras.utils.set_random_seed(3)
    return tlkit.load_backbone("LeNet", weights=None)


@pytest.fixture(scope="module")
def brighter(source):
    """The same digits, fainter and on grey: the features of a network shift, and the classes remain."""
    parts = {
        name: Split((80 + split.images // 3).astype("uint8"), split.labels, split.names)
        for name, split in source.splits.items()
    }
    return replace(source, **parts, card=replace(source.card, name="grey"))


@pytest.fixture(scope="module")
def by_default(source, brighter, backbone):
    with traced():
        return tlkit.adapt(source, brighter, backbone=backbone, epochs=20, evaluate=brighter)


def test_the_default_on_features_gains_over_the_solved_head_of_the_source(by_default, brighter, backbone):
    assert by_default.method == "mcc"
    assert by_default.accuracy > by_default.accuracies[SOURCE_ONLY] + 0.1
    predicted = by_default.model.predict(brighter.test.images, verbose=0)
    np.testing.assert_allclose(predicted, by_default.probabilities["target"], atol=1e-3)


def test_the_default_never_reads_a_target_label(source, brighter, backbone, by_default):
    train = brighter.train
    vars(hidden := Split(train.images, train.labels, train.names))["_labels"] = train.labels.view(Unreadable)
    with pytest.raises(AssertionError, match="were read"):
        _ = hidden.labels[0]
    with traced():
        found = tlkit.adapt(source, hidden, backbone=backbone, epochs=20)
    expected = by_default.model.predict(train.images, verbose=0)
    np.testing.assert_allclose(found.probabilities["target"], expected, atol=1e-3)


@full
@graph
def test_the_default_end_to_end_is_adamatch_with_mcc(source, target):
    assert tlkit.adapt(source, target, **LENET).method == "adamatch+mcc"


@full
@graph
def test_end_to_end_features_of_the_source_are_normalised_by_its_own_statistics(source, target):
    found = tlkit.adapt(source, target, **LENET | {"backbone": "LeNetBN"})
    plain = tlkit.models.feature_network(found.model).predict(source.train.images, verbose=0)
    assert not np.allclose(found.features["after"][0][: len(plain)], plain, atol=1e-2)


def test_unknown_names_come_with_the_nearest(source, target):
    for names, near in (
        ({"method": "corall"}, "coral"),
        ({"compare": ["dan"]}, "dann"),
        ({"backbone": "LeNett"}, "LeNet"),
    ):
        with pytest.raises(UnknownNameError, match=f"Did you mean.*'{near}'"):
            tlkit.adapt(source, target, **LENET | {"method": "coral"} | names)


def test_other_classes_than_those_of_the_source_are_refused(source, target):
    other = replace(target, class_names=[*target.class_names[:-1], "ten"])
    with pytest.raises(DataError, match="only the source has 9; only the target has ten"):
        tlkit.adapt(source, target, evaluate=other, **LENET)
    mixed = replace(target, class_names=target.class_names[::-1])
    with pytest.raises(DataError, match="their order differs"):
        tlkit.adapt(source, target, evaluate=mixed, **LENET)


@graph
def test_one_ctrl_c_during_the_training_on_the_source_ends_the_adaptation(source, target, monkeypatch):
    class Pressed(Interruptible):
        def on_train_batch_end(self, batch, logs=None):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("tlkit.experiments.adapt.Interruptible", Pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            tlkit.adapt(source, target, method="coral", **LENET)
    finally:
        signal.signal(signal.SIGINT, before)


@graph
def test_ctrl_c_during_the_adaptation_keeps_the_network_and_trains_no_other(
    source, brighter, backbone, monkeypatch
):
    class Stops(Interruptible):
        def on_train_batch_end(self, batch, logs=None):
            self.interrupted = self.model.stop_training = True

    monkeypatch.setattr("tlkit.experiments.adapt.Interruptible", Stops)
    found = tlkit.adapt(source, brighter, backbone=backbone, compare=["dann"], evaluate=brighter)
    assert found.interrupted
    assert [row.name for row in found.compared] == ["mcc"]
    assert found.ceiling is None
    predicted = found.model.predict(brighter.test.images, verbose=0)
    np.testing.assert_allclose(predicted, found.probabilities["target"], atol=1e-3)
