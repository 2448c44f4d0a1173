"""Training a classifier: every technique, its predictions and numbers, and a stop by hand."""

import os
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image
from pushes import full, traced
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlkit import evaluate, predict, write_report
from tlkit.backbones import engines
from tlkit.callbacks import EpochLines, Interruptible
from tlkit.data import Split
from tlkit.errors import NoLabelsError, TlkitError, UnknownNameError
from tlkit.experiments.fitting import imbalance_weights
from tlkit.experiments.train import train
from tlkit.models import backbone_of
from tlkit.techniques import robust_fine_tuning
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.robust_fine_tuning import Tuner

LENET = {"backbone": "LeNet", "weights": None}


@pytest.fixture(scope="module")
def scratch(digits):
    with traced():
        return train(digits, technique="scratch", backbone="LeNet", epochs=12, seed=1)


@pytest.fixture(scope="module")
def weights(scratch, tmp_path_factory):
    """The file of a backbone that learned these digits."""
    path = tmp_path_factory.mktemp("weights") / "backbone.keras"
    backbone_of(scratch.model).save(path)
    return str(path)


def test_a_training_predicts_every_split_and_measures_its_parts(scratch):
    assert {name: rows.shape for name, rows in scratch.probabilities.items()} == {
        "train": (200, 10),
        "validation": (100, 10),
        "test": (100, 10),
    }
    assert scratch.accuracy("test") > 0.6
    assert set(scratch.seconds) == {"training", "total"}, "no features from scratch"


def test_a_training_knows_what_was_frozen(scratch):
    assert set(scratch.frozen["state"]) == {"trainable"}


@pytest.fixture(scope="module")
def few(digits):
    """4 training, 2 validation and 3 test images per class."""
    return replace(
        digits, train=digits.train.few(4), validation=digits.validation.few(2), test=digits.test.few(3)
    )


QUICK = {"batch_size": 32, "least_steps": 2, "most_steps": 2, "views": 0}


def test_fine_tuning_starts_at_the_solved_head(few, weights):
    tuned = train(few, technique="fine-tuning", backbone="LeNet", weights=weights, folds=1, **QUICK)
    assert tuned.technique == "fine-tuning"
    assert tuned.tuning.held_out[0.0].shape == (20, 10)
    if tuned.tuning.mix:
        assert len(tuned.history["fine-tuning"]["loss"]) == 1
        assert tuned.frozen.loc["conv1", "state"] == "frozen"
        assert tuned.frozen.loc["dense", "state"] == "trainable"
    assert set(tuned.seconds) == {"features", "head", "training", "total"}


def test_a_frozen_backbone_keeps_its_weights_and_the_model_predicts_as_its_head(digits, weights):
    frozen = train(digits, technique="feature-extraction", backbone="LeNet", weights=weights)
    assert frozen.technique == frozen.asked == "feature-extraction"
    assert not frozen.history
    assert frozen.tuning is None
    assert frozen.frozen["state"].tolist() == ["frozen"] * 3 + ["trainable"]
    before = keras.models.load_model(weights).get_weights()
    assert all(map(np.array_equal, before, backbone_of(frozen.model).get_weights()))
    whole = frozen.model.predict(digits.test.images, verbose=0)
    np.testing.assert_allclose(whole, frozen.probabilities["test"], atol=1e-4)


def test_a_frozen_backbone_is_at_least_as_accurate_as_logistic_regression_on_its_features(digits, weights):
    frozen = train(digits, technique="feature-extraction", backbone="LeNet", weights=weights)
    x = {name: extract(backbone_of(frozen.model), split) for name, split in digits.splits.items()}
    labels = np.concatenate([digits.train.labels, digits.validation.labels])
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=min(frozen.head_losses, key=frozen.head_losses.get))
    )
    probe.fit(np.concatenate([x["train"], x["validation"]]), labels)
    assert frozen.accuracy("test") >= probe.score(x["test"], digits.test.labels) - 0.011


def test_validation_images_are_predicted_by_models_that_did_not_learn_from_them(digits, weights):
    """With random labels, a model that learned from an image would be right about it."""
    rng = np.random.default_rng(0)
    random = replace(
        digits,
        train=Split(digits.train.images, rng.permutation(digits.train.labels)),
        validation=Split(digits.validation.images, rng.permutation(digits.validation.labels)),
    )
    for technique, options in (("feature-extraction", {}), ("fine-tuning", QUICK)):
        found = train(random, technique=technique, backbone="LeNet", weights=weights, **options)
        assert found.accuracy("validation") < 0.3


def test_a_validation_split_that_was_not_held_out_as_a_whole_has_no_predictions(few, weights, monkeypatch):
    known = np.arange(10, len(few.train) + len(few.validation))
    losses = iter(range(100, 0, -1))  # each mix is better than the one before
    monkeypatch.setattr(robust_fine_tuning, "log_loss", lambda *_: next(losses))
    monkeypatch.setattr(Tuner, "_splits", lambda *_: [(known, np.arange(10))])  # no time for the other folds
    monkeypatch.setattr(Tuner, "_fits", lambda *_: True)
    found = train(few, technique="fine-tuning", backbone="LeNet", weights=weights, **QUICK)
    assert found.tuning.mix == 1
    assert list(found.probabilities) == ["train", "test"]
    assert found.metrics()["accuracy"]["validation"] is None


def test_by_default_held_out_labels_choose_and_both_techniques_are_reported(few, weights, tmp_path):
    found = train(few, backbone="LeNet", weights=weights, **QUICK)
    assert found.asked == "auto"
    assert found.technique == ("fine-tuning" if found.tuning.mix else "feature-extraction")
    numbers = found.metrics()
    assert numbers["asked"] == "auto"
    assert numbers["fine_tuning"]["held_out_labels"] == 60
    assert numbers["fine_tuning"]["reason"]
    if found.tuning.mix:
        assert [each.technique for each in found.others] == ["feature-extraction"]
    titles = [section.title for section in found.report().sections]
    assert {"Frozen or fine-tuned", "The head"} <= set(titles)


def test_without_time_the_network_stays_frozen_and_the_report_says_so(few, weights):
    found = train(few, backbone="LeNet", weights=weights, minutes=0)
    frozen = train(few, technique="feature-extraction", backbone="LeNet", weights=weights)
    assert found.technique == "feature-extraction"
    np.testing.assert_allclose(found.probabilities["test"], frozen.probabilities["test"], atol=1e-6)
    assert "There was no time to fine-tune" in found.metrics()["fine_tuning"]["reason"]


def test_a_log_gets_a_line_with_the_time_left_for_each_fold(few, weights, capsys):
    train(few, technique="fine-tuning", backbone="LeNet", weights=weights, verbose=2, folds=2, **QUICK)
    lines = [each for each in capsys.readouterr().out.splitlines() if each]
    assert lines[0].startswith("fine-tuning: 3 trainings, 4 steps, about 0.")
    assert [each[:25] for each in lines[1:]] == ["fold 1 of 2 is trained; a", "fold 2 of 2 is trained; a"]


def test_one_label_per_class_leaves_the_network_frozen(digits, weights):
    each = digits.train.few(1)
    one = replace(digits, train=each.subset(slice(5)), validation=each.subset(slice(5, None)))
    found = train(one, backbone="LeNet", weights=weights)
    assert (found.technique, found.asked, found.tuning) == ("feature-extraction", "auto", None)
    assert list(found.probabilities) == ["train", "test"], "all validation labels were learned from"


def test_test_labels_are_never_read(few, weights):
    class Unread(Split):
        @property
        def labels(self):
            raise AssertionError("a test label was read")

    test = Unread(few.test.images, few.test.labels, few.test.names)
    for technique in ("auto", "scratch"):
        options = {"epochs": 1} if technique == "scratch" else {"weights": weights, "folds": 1, **QUICK}
        train(replace(few, test=test), technique=technique, backbone="LeNet", **options)


def test_mirrored_views_are_averaged_here_and_wherever_the_run_is_used(digits, weights, tmp_path):
    mirrored = {"technique": "feature-extraction", "backbone": "LeNet", "mirrored_views": True}
    with pytest.raises(TlkitError, match="mirrored digits do not keep their class"):
        train(digits, **mirrored, weights=weights)
    shapes = replace(digits, card=replace(digits.card, name="shapes"))
    found = train(shapes, **mirrored, weights=weights)
    images = digits.test.images
    one, other = (found.model.predict(each, verbose=0) for each in (images, images[:, :, ::-1]))
    expected = (one + other) / 2
    np.testing.assert_allclose(found.probabilities["test"], expected, atol=1e-6)
    assert found.metrics()["mirrored_views"] is True
    run = write_report(found, tmp_path / "run")
    np.testing.assert_allclose(evaluate(run, shapes).probabilities, expected, atol=1e-5)
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    (answer,) = predict(run, [tmp_path / "image.png"])
    assert answer["classes"][0]["probability"] == pytest.approx(expected[0].max(), abs=1e-5)


def test_the_same_seed_gives_the_same_model(few, weights):
    first, second = (
        train(few, technique="fine-tuning", backbone="LeNet", weights=weights, seed=3, folds=1, **QUICK)
        for _ in range(2)
    )
    assert first.tuning.mix == second.tuning.mix
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@full
def test_a_small_network_learns_from_a_hundred_images(digits):
    with traced():
        few = replace(digits, train=digits.train.few(10), validation=digits.validation.few(2))
        assert train(few, technique="scratch", backbone="LeNet", epochs=40).accuracy("test") > 0.5


def test_features_are_computed_once(digits, monkeypatch):
    """Freezing the backbone between extraction and head training must not look like another backbone."""
    computed = []
    infer = engines.infer
    monkeypatch.setattr(engines, "infer", lambda *given, **more: computed.append(1) or infer(*given, **more))
    train(digits, technique="feature-extraction", **LENET, seed=5)
    assert len(computed) == len(digits.splits)


def test_the_last_labelled_split_is_evaluated(scratch, digits):
    assert scratch.evaluated == "test"
    without = replace(scratch, data=replace(digits, test=digits.test.unlabelled()))
    assert without.evaluated == "validation"
    assert without.metrics()["accuracy"]["test"] is None
    assert replace(scratch, data=replace(digits, validation=None, test=None)).evaluated == "train"


def test_metrics_are_those_of_the_predictions_with_an_interval_and_the_other_trainings(scratch, digits):
    numbers = replace(scratch, others=[replace(scratch, technique="fine-tuning", seed=2)]).metrics()
    right = scratch.probabilities["test"].argmax(axis=1) == digits.test.labels
    assert numbers["accuracy"]["test"] == scratch.accuracy("test") == right.mean()
    interval = numbers["interval"]
    assert (interval["split"], interval["images"]) == ("test", 100)
    assert interval["low"] < right.mean() < interval["high"]
    assert len(numbers["per_class"]) == numbers["classes"] == 10
    assert [(run["technique"], run["seed"]) for run in numbers["runs"]] == [("fine-tuning", 2)]


def test_epoch_lines_carry_a_name(digits, lenet, capsys):
    lenet.compile("adam", loss="sparse_categorical_crossentropy")
    lenet.fit(digits.test.batches(), epochs=1, callbacks=[EpochLines("control")], verbose=0)
    assert capsys.readouterr().out.startswith("control            epoch  1 of 1: loss ")


def test_unknown_techniques_are_named(digits):
    with pytest.raises(UnknownNameError, match="Did you mean 'fine-tuning'"):
        train(digits, technique="finetuning")

    with pytest.raises(UnknownNameError, match=r"Did you mean 'auto'.*Known: auto, feature-extraction"):
        train(digits, technique="atuo")


def test_training_images_without_labels_are_refused_before_any_work(digits, monkeypatch):
    monkeypatch.setattr(engines, "infer", None)
    with pytest.raises(NoLabelsError, match="This split is unlabelled"):
        train(replace(digits, train=digits.train.unlabelled()), **LENET)


def test_options_that_a_technique_does_not_have_are_refused(digits):
    for options in ({"learning_rate": 1e-4}, {"epochs": 3}):
        with pytest.raises(TlkitError, match=f"has no option {next(iter(options))}.*technique='fine-tuning'"):
            train(digits, technique="feature-extraction", **LENET, **options)
    with pytest.raises(TlkitError, match=r"no setting rate. Its settings are fraction, depthwise"):
        train(digits, **LENET, rate=1)
    with pytest.raises(TlkitError, match="epochs=0 was given; expected a whole number from 1"):
        train(digits, **LENET, epochs=0)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_a_seed_that_is_out_of_range_is_refused(digits, seed):
    with pytest.raises(TlkitError, match=f"seed={seed} was given; expected a whole number from 0 to"):
        train(digits, technique="scratch", backbone="LeNet", seed=seed)


class PressCtrlC(keras.callbacks.Callback):
    """Press Ctrl-C at the end of the second epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_training_with_the_best_epoch(digits, lenet):
    before = signal.getsignal(signal.SIGINT)
    watch = Interruptible()
    lenet.compile("adam", loss="sparse_categorical_crossentropy")
    history = lenet.fit(digits.train.batches(), epochs=50, callbacks=[PressCtrlC(), watch], verbose=0)
    assert watch.interrupted
    assert len(history.history["loss"]) <= 3
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_fine_tuning_leaves_the_frozen_network_and_all_is_predicted(digits, weights):
    stopped = train(
        digits, backbone="LeNet", weights=weights, epochs=4, batch_size=64, callbacks=[PressCtrlC()]
    )
    assert stopped.interrupted
    assert stopped.technique == "feature-extraction"
    assert not stopped.history
    assert set(stopped.probabilities) == {"train", "validation", "test"}


def test_class_weights_make_every_class_count_alike():
    labels = np.array([0] * 30 + [1] * 5)
    weights = imbalance_weights(labels)
    assert weights[0] * 30 == pytest.approx(weights[1] * 5)
    assert imbalance_weights(np.array([0, 0, 1])) is None


def test_a_backbone_of_ones_own_is_transferred_or_starts_anew(digits):
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, strides=2)]
    backbone = keras.Sequential([keras.Input((28, 28, 3)), *parts], name="mine")
    before = [np.array(each) for each in backbone.get_weights()]
    for technique, moved in (("feature-extraction", False), ("scratch", True)):
        options = {"epochs": 1} if technique == "scratch" else {}
        training = train(digits, technique=technique, backbone=backbone, **options)
        assert training.backbone == "mine"
        after = training.model.get_layer("mine").get_weights()
        assert moved == any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert all(map(np.array_equal, before, backbone.get_weights()))
