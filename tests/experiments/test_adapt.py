"""Adaptation to a target domain: what is trained, what the target labels may touch, and what is refused."""

import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from pushes import full, graph, mostly_full, traced

import tlkit
from tlkit.callbacks import Interruptible
from tlkit.data import Split
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.experiments.adapt_by_vote import NETWORKS, Voter
from tlkit.experiments.fitting import fit_classifier
from tlkit.models import feature_network
from tlkit.reports.adaptation import ARMS
from tlkit.techniques.domain_adaptation.voting import vote_on_features

LENET = {"backbone": "LeNet", "weights": None, "epochs": 1}


def negative(split):
    return Split(255 - split.images, split.labels, split.names)


@pytest.fixture(scope="module")
def source(digits):
    parts = {name: split.subset(slice(64)) for name, split in digits.splits.items()}
    return replace(digits, **parts)


@pytest.fixture(scope="module")
def target(source):
    """The same digits as negatives: a labelled data set of another domain."""
    parts = {name: negative(split) for name, split in source.splits.items()}
    return replace(source, **parts, card=replace(source.card, name="negatives"))


@pytest.fixture(scope="module")
def adapted(source, target):
    return tlkit.adapt(source, target, method="coral", validator="snd", evaluate=target, **LENET)


@pytest.fixture(scope="module")
def unevaluated(source, target):
    """The same adaptation, to a split whose labels are not to be read, with nothing to evaluate it on."""
    return tlkit.adapt(source, target.train, method="coral", validator="snd", **LENET)


def test_the_control_and_the_adapted_network_predict_the_target(adapted, target):
    assert (adapted.target_name, adapted.method, adapted.validator) == ("negatives", "coral", "snd")
    assert adapted.target is target.test
    assert list(adapted.history) == ["source only", "adaptation"]
    assert {name: each.shape for name, each in adapted.probabilities.items()} == {
        "train": (64, 10),
        "validation": (64, 10),
        "target": (64, 10),
    }
    assert adapted.before.shape == (64, 10)
    assert not np.allclose(adapted.before, adapted.probabilities["target"], atol=1e-4)
    predicted = adapted.model.predict(target.test.images, verbose=0)
    np.testing.assert_allclose(predicted, adapted.probabilities["target"], atol=1e-4)
    assert not adapted.interrupted


def test_accuracies_are_those_of_the_labelled_target(adapted, target):
    right = adapted.probabilities["target"].argmax(axis=1) == target.test.labels
    before = adapted.before.argmax(axis=1) == target.test.labels
    assert adapted.accuracy == right.mean()
    assert set(adapted.accuracies) == set(ARMS)
    assert adapted.accuracies["source_only"] == before.mean()
    # after a single epoch, the last, the selected and the best one are the same
    assert adapted.accuracies["last"] == adapted.accuracies["selected"] == adapted.accuracies["oracle"]
    assert adapted.target_accuracy == [adapted.accuracy]
    assert 0 <= adapted.accuracies["ceiling"] <= 1


def test_features_of_both_domains_are_compared_before_and_after(adapted, source):
    assert set(adapted.a_distance) == set(adapted.features) == {"before", "after"}
    assert all(0 <= distance <= 2 for distance in adapted.a_distance.values())
    for ours, theirs in adapted.features.values():
        assert len(ours) == len(adapted.source_labels) == len(theirs) == 64
    np.testing.assert_array_equal(adapted.source_labels, source.train.labels)


def test_metrics_hold_the_accuracies_and_the_interval_on_the_target(adapted):
    numbers = adapted.metrics()
    assert (numbers["target"], numbers["validator"]) == ("negatives", "snd")
    assert numbers["accuracy"] == adapted.accuracies
    assert numbers["splits"] == {"train": 64, "validation": 64, "test": 64}
    assert numbers["accuracy_by_split"]["test"] == adapted.accuracy
    assert numbers["interval"]["low"] <= adapted.accuracy <= numbers["interval"]["high"]
    assert len(numbers["per_class"]) == 10


def test_labels_of_the_target_never_touch_training(adapted, unevaluated):
    for one, other in zip(adapted.model.get_weights(), unevaluated.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_without_images_to_evaluate_the_target_is_predicted_and_its_labels_are_not_read(unevaluated):
    assert unevaluated.target_name == "target"
    assert not unevaluated.target.labelled
    assert unevaluated.accuracy is None
    assert set(unevaluated.accuracies.values()) == {None}
    assert unevaluated.target_accuracy == []
    assert unevaluated.probabilities["target"].shape == (64, 10)
    numbers = unevaluated.metrics()
    assert numbers["interval"] is None
    assert numbers["per_class"] == []
    assert unevaluated.report().answer.startswith("Trained; there are no labelled target images")


def test_without_a_test_split_the_train_images_are_evaluated_and_there_is_no_ceiling(source, target):
    labelled = replace(target, validation=None, test=None)
    found = tlkit.adapt(source, target.train, method="coral", evaluate=labelled, **LENET)
    assert found.target is labelled.train
    assert found.accuracies["ceiling"] is None
    assert found.validator is None
    assert found.accuracies["selected"] is None
    assert found.accuracies["last"] == found.accuracy


@pytest.mark.parametrize("on_features", [None, False])
def test_the_backbone_that_was_passed_keeps_its_weights(source, target, on_features):
    """A pretrained one is frozen by default; end to end, a copy of it learns."""
    backbone = tlkit.load_backbone("LeNet", weights=None)
    before = [np.array(each) for each in backbone.get_weights()]
    options = {"backbone": backbone, "on_features": on_features, "epochs": 1}
    found = tlkit.adapt(source, target, method="mmd", **options)
    assert found.backbone == "LeNet"
    assert ("trainable" in found.frozen["state"].tolist()[:-1]) is (on_features is False)
    assert all(map(np.array_equal, before, backbone.get_weights()))


def test_without_a_validator_the_held_out_labels_are_trained_on_too(source, target):
    found = tlkit.adapt(source, target, method="coral", **LENET)
    assert (len(found.source.train), found.source.validation) == (128, None)
    assert set(found.probabilities) == {"train", "target"}
    assert found.accuracies["selected"] is None


class Unreadable(np.ndarray):
    """Labels that raise as soon as they are compared or read."""

    def __getitem__(self, index):
        raise AssertionError("target labels were read")

    def __eq__(self, other):
        raise AssertionError("target labels were read")


@pytest.fixture(scope="module")
def backbone():
    """A small network whose random features tell digits apart."""
    keras.utils.set_random_seed(3)  # with other weights, the choice may be another
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
def voted(source, brighter, backbone):
    with traced():
        return tlkit.adapt(source, brighter, backbone=backbone, epochs=20, evaluate=brighter)


def test_by_default_methods_vote_and_a_linear_head_learns_from_the_vote(voted, brighter, backbone):
    assert (voted.method, voted.choice) == ("auto", "vote")
    names = ["source only", "matched features", "jan", "mcc", "cdan-e", "cdan-e+mcc"]
    assert [each.name for each in voted.candidates] == names
    assert voted.accuracy > voted.accuracies["source_only"]
    by_name = {each.name: np.mean(each.predicted == brighter.test.labels) for each in voted.candidates}
    assert voted.accuracies["oracle"] == max(by_name.values())
    assert voted.accuracies["source_only"] == by_name["source only"]
    assert (voted.accuracies["last"], voted.accuracies["selected"]) == (None, voted.accuracy)
    assert 0 < voted.accuracies["ceiling"] <= 1
    predicted = voted.model.predict(brighter.test.images, verbose=0)
    np.testing.assert_allclose(predicted, voted.probabilities["target"], atol=1e-3)
    assert len(voted.model.get_layer("head").layers) == 2  # dropout, and the single layer
    assert voted.target_frequencies.sum() == pytest.approx(1)
    assert set(voted.a_distance) == {"before", "after"}


@graph
def test_the_vote_never_reads_a_target_label(source, brighter, backbone, voted):
    train = brighter.train
    vars(hidden := Split(train.images, train.labels, train.names))["_labels"] = train.labels.view(Unreadable)
    with pytest.raises(AssertionError, match="were read"):
        _ = hidden.labels[0]
    found = tlkit.adapt(source, hidden, backbone=backbone, epochs=20)
    np.testing.assert_allclose(
        found.probabilities["target"].argmax(axis=1),
        voted.model.predict(train.images, verbose=0).argmax(axis=1),
    )
    assert found.accuracies == dict.fromkeys(ARMS)


@graph
def test_end_to_end_the_network_that_agrees_most_with_the_vote_is_the_result(source, target):
    found = tlkit.adapt(source, target, evaluate=target, **LENET)
    assert [each.name for each in found.candidates] == ["source only", *NETWORKS]
    assert found.choice == max(found.candidates[1:], key=lambda each: each.agreement).name
    assert list(found.history) == ["source only", "adaptation"]
    chosen = next(each for each in found.candidates if each.name == found.choice)
    predicted = found.model.predict(target.test.images, verbose=0)
    np.testing.assert_allclose(predicted, found.probabilities["target"], atol=1e-4)
    np.testing.assert_array_equal(chosen.predicted, predicted.argmax(axis=1))
    features = feature_network(found.model).predict(target.train.images, verbose=0)
    np.testing.assert_allclose(found.features["after"][1], features, atol=1e-4)
    assert found.accuracies["ceiling"] is not None
    assert f"The network trained by {found.choice} agrees most with the vote" in str(found.report())


def test_end_to_end_a_network_that_no_other_agrees_with_is_not_chosen(source, target, monkeypatch):
    networks = [tlkit.build_classifier("LeNet", 10, weights=None) for _ in NETWORKS]
    for network, favoured in zip(networks, (3, 7, 7), strict=True):
        network.layers[-1].layers[-1].bias.assign(99 * np.eye(10)[favoured])  # this class for every image
    voters = {
        name: Voter(tlkit.DomainAdapter(network, name), 1.0, {"loss": [loss]})
        for loss, (name, network) in enumerate(zip(NETWORKS, networks, strict=True))
    }
    monkeypatch.setattr("tlkit.experiments.adapt_by_vote._voters", lambda *given: voters)
    found = tlkit.adapt(source, target, **LENET)
    assert (found.choice, found.history["adaptation"]) == (NETWORKS[1], {"loss": [1]})
    assert found.model is networks[1]
    assert found.target_frequencies[7] == 1


@full
@graph
def test_end_to_end_features_of_the_source_are_normalised_by_its_own_statistics(source, target):
    found = tlkit.adapt(source, target, **LENET | {"backbone": "LeNetBN"})
    plain = feature_network(found.model).predict(source.train.images, verbose=0)
    assert not np.allclose(found.features["after"][0][: len(plain)], plain, atol=1e-2)


@graph
@pytest.mark.parametrize("trained", mostly_full([0, 2], 0))
def test_after_ctrl_c_the_networks_trained_so_far_vote(source, target, monkeypatch, trained):
    fits = []

    class Stops(Interruptible):
        def on_train_batch_end(self, batch, logs=None):
            if isinstance(self.model, tlkit.DomainAdapter) and len(fits) > trained:
                self.interrupted = self.model.stop_training = True

    def fit(adapter, *given, **options):
        fits.append(adapter)
        return fit_adapter(adapter, *given, **options)

    fit_adapter = tlkit.DomainAdapter.fit
    monkeypatch.setattr(tlkit.DomainAdapter, "fit", fit)
    monkeypatch.setattr("tlkit.experiments.adapt.Interruptible", Stops)
    found = tlkit.adapt(source, target, evaluate=target, **LENET)
    assert found.interrupted
    assert len(fits) == trained + 1
    voters = ["source only", *NETWORKS[:trained]] if trained else []
    assert [each.name for each in found.candidates] == voters
    assert found.choice in (voters[1:] or ["interrupted"])
    assert (found.accuracies["last"], found.accuracies["ceiling"]) == (None, None)
    assert ("adapted (the result)" in str(found.report())) == bool(trained)


@graph
def test_end_to_end_a_pretrained_backbone_is_fine_tuned_and_keeps_its_own_weights(
    source, brighter, backbone, monkeypatch
):
    voted_on = []

    def vote(features, labels, target, *others, **options):
        voted_on.append((features, target))
        return vote_on_features(features, labels, target, *others, **options)

    monkeypatch.setattr("tlkit.experiments.adapt_by_vote.vote_on_features", vote)
    monkeypatch.setattr("tlkit.experiments.adapt_by_vote.AUTO", "fine-tuning")  # it could keep it frozen
    before = [np.array(each) for each in backbone.get_weights()]
    options = {"backbone": backbone, "on_features": False, "epochs": 2}
    found = tlkit.adapt(source, brighter, evaluate=replace(brighter, test=None), **options)
    assert all(map(np.array_equal, before, backbone.get_weights()))
    assert "mcc" in [each.name for each in found.candidates]
    assert found.structure > 0.2
    assert found.accuracies["ceiling"] is None
    (features, target), width = voted_on[0], backbone.output_shape[1]
    assert features.shape[1] == target.shape[1] == 2 * width  # pretrained, and fine-tuned on the source
    frozen = np.asarray(tlkit.extract(backbone, brighter.train))
    np.testing.assert_allclose(target[:, :width], frozen, atol=1e-3)
    fine_tuned = feature_network(found.model).predict(brighter.train.images, verbose=0)
    scale = np.linalg.norm(target[:, width:]) / np.linalg.norm(fine_tuned)
    np.testing.assert_allclose(target[:, width:], scale * fine_tuned, atol=1e-3)
    sizes = [np.linalg.norm(part, axis=1).mean() for part in np.split(features, 2, axis=1)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-3)
    predicted = found.model.predict(brighter.train.images, verbose=0)
    np.testing.assert_allclose(predicted, found.probabilities["target"], atol=1e-3)
    assert [each.name for each in found.candidates][:2] == ["source only", "matched features"]
    np.testing.assert_array_equal(found.candidates[0].predicted, found.before.argmax(axis=1))


def test_a_validator_needs_a_single_method(source, target):
    with pytest.raises(TlkitError, match="chooses the epoch of a single method"):
        tlkit.adapt(source, target, validator="snd", **LENET)


def test_unknown_names_come_with_the_nearest(source, target):
    for names, near in (
        ({"method": "corall"}, "coral"),
        ({"validator": "snb"}, "snd"),
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


@full
@graph
def test_several_sources_are_joined_and_compared_with_each_other(source, brighter, backbone, voted):
    dark = Split(source.train.images // 2, source.train.labels, source.train.names)
    other = replace(source, train=dark, validation=None, card=replace(source.card, name="dark"))
    found = tlkit.adapt([source, other], brighter, backbone=backbone, epochs=1, evaluate=brighter)
    assert len(found.source.train) == 64 + 64 + 64  # the validation split of the first is trained on
    names = ["digits/optical", "dark", "all sources together"]
    assert [(each.name, each.images) for each in found.sources] == list(
        zip(names, [128, 64, 192], strict=True)
    )
    alone, _, together = (np.mean(each.predicted == brighter.test.labels) for each in found.sources)
    assert together == pytest.approx(found.accuracies["source_only"], abs=0.02)
    assert alone == pytest.approx(voted.accuracies["source_only"], abs=0.02)
    assert voted.sources == []
    assert found.metrics()["data"] == "digits/optical + dark"
    assert "The sources" in [each.title for each in found.report().sections]


@graph
def test_one_method_learns_from_all_sources(source, target):
    found = tlkit.adapt([source, target], source.train, method="coral", validator="snd", **LENET)
    assert len(found.probabilities["train"]) == len(found.probabilities["validation"]) == 128
    assert [each.predicted for each in found.sources] == [None] * 3


def test_sources_that_do_not_fit_are_refused(source, target):
    other = replace(target, class_names=[*target.class_names[:-1], "ten"])
    with pytest.raises(DataError, match="only digits/optical has 9; only negatives has ten"):
        tlkit.adapt([source, other], target, **LENET)
    named = replace(other, card=source.card)
    with pytest.raises(DataError, match=r"only digits/optical has 9; only digits/optical \(2\) has ten"):
        tlkit.adapt([source, named], target, **LENET)
    small = Split(np.zeros((4, 8, 8, 3), "uint8"), np.arange(4))
    with pytest.raises(DataError, match="images of 28 pixels and negatives of 8"):
        tlkit.adapt([source, replace(target, train=small)], target, **LENET)
    with pytest.raises(DataError, match="No labelled domain"):
        tlkit.adapt([], target, **LENET)


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
def test_ctrl_c_during_the_vote_leaves_a_result_of_the_methods_trained_so_far(
    source, brighter, backbone, monkeypatch
):
    class Stops(Interruptible):
        def on_train_batch_end(self, batch, logs=None):
            self.interrupted = self.model.stop_training = True

    monkeypatch.setattr("tlkit.experiments.adapt.Interruptible", Stops)
    found = tlkit.adapt(source, brighter, backbone=backbone, epochs=20, evaluate=brighter)
    assert found.interrupted
    assert [each.name for each in found.candidates] == ["source only", "matched features"]
    predicted = found.model.predict(brighter.test.images, verbose=0)
    np.testing.assert_allclose(predicted, found.probabilities["target"], atol=1e-3)


@pytest.mark.parametrize("pretrained", mostly_full([True, False], False))
def test_after_ctrl_c_in_the_training_on_the_source_nothing_else_is_trained(
    source, brighter, backbone, monkeypatch, pretrained
):
    trainings = []

    def interrupted(*given, **options):
        trainings.append(fit_classifier(*given, **options))
        trainings[-1].interrupted = True
        return trainings[-1]

    monkeypatch.setattr("tlkit.experiments.adapt_by_vote.fit_classifier", interrupted)
    options = {"backbone": backbone, "on_features": False, "epochs": 1} if pretrained else LENET
    found = tlkit.adapt(source, brighter, evaluate=brighter, **options)
    assert found.interrupted
    assert len(trainings) == 1
    voters = ["source only", "matched features"] if pretrained else []
    assert [each.name for each in found.candidates] == voters
    assert (found.choice, found.accuracies["ceiling"]) == ("interrupted", None)
    assert "Ctrl-C stopped the training before any method had finished" in str(found.report())
    predicted = found.model.predict(brighter.test.images, verbose=0)
    np.testing.assert_allclose(predicted, found.probabilities["target"], atol=1e-3)
