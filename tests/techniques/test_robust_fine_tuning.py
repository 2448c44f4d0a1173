"""Fine-tuning from the solved head: the choice by held-out labels, the mix, time, and the frozen fallback."""

import math
import random
import time

import keras
import numpy as np
import pytest
from ml_dtypes import bfloat16
from pushes import full

from tlkit import augmentation, build_classifier
from tlkit.callbacks import Interruptible
from tlkit.data import Split
from tlkit.errors import TlkitError
from tlkit.models import frozen_table
from tlkit.techniques import robust_fine_tuning
from tlkit.techniques.interpolation import interpolated
from tlkit.techniques.repeated_training import Recipe, RepeatedTraining
from tlkit.techniques.robust_fine_tuning import MIXES, MOST_DIVISIONS, affordable, log_loss, robust_fine_tune
from tlkit.techniques.solved_head import solve_head
from tlkit.techniques.step_budget import StepBudget

QUICK = {"batch_size": 32, "least_steps": 3, "most_steps": 3, "views": 0}


@pytest.fixture(scope="module")
def bright():
    """Images of two classes that differ in brightness alone: 20 of each, and 10 of each for validation."""
    rng = np.random.default_rng(0)

    def split(n):
        labels = np.arange(n) % 2
        pixels = rng.integers(0, 120, (n, 28, 28, 3)) + 100 * labels[:, None, None, None]
        return Split(pixels.astype("uint8"), labels)

    return split(40), split(20)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return build_classifier("LeNet", 2, weights=None)


def always(mix):
    """Replace the log loss, so that a mix is chosen."""
    order = iter(range(10**6))

    def loss(probabilities, labels):
        return float(next(order) % len(MIXES) != MIXES.index(mix))

    return loss


def test_where_tuning_hurts_the_model_is_the_frozen_network_bit_by_bit(bright, model):
    frozen = keras.models.clone_model(model)
    frozen.set_weights(model.get_weights())
    solve_head(frozen, *bright)
    before = frozen_table(frozen)["state"].tolist()
    hurt = robust_fine_tune(model, *bright, folds=1, learning_rate=10.0, **QUICK)
    assert hurt.mix == 0
    assert hurt.log_losses[0.0] == min(hurt.log_losses.values())
    assert not hurt.history
    for one, other in zip(frozen.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert frozen_table(model)["state"].tolist() == before


def test_a_training_that_diverges_to_nan_falls_back_to_the_frozen_network(bright, model):
    diverged = robust_fine_tune(model, *bright, folds=1, learning_rate=1e30, **QUICK)
    assert diverged.mix == 0
    assert all(np.isfinite(each).all() for each in model.get_weights())


def test_the_mix_with_the_lowest_held_out_log_loss_is_taken(bright, model, monkeypatch):
    monkeypatch.setattr(robust_fine_tuning, "log_loss", always(0.5))
    keras.utils.set_random_seed(0)
    solved = keras.models.clone_model(model)
    solved.set_weights(model.get_weights())
    solve_head(solved, *bright)
    found = robust_fine_tune(model, *bright, folds=1, learning_rate=1e-5, **QUICK)
    assert found.mix == 0.5
    monkeypatch.setattr(robust_fine_tuning, "log_loss", always(1.0))
    whole = keras.models.clone_model(model)
    whole.set_weights(solved.get_weights())
    assert robust_fine_tune(whole, *bright, folds=1, learning_rate=1e-5, **QUICK).mix == 1
    for start, end, mixed in zip(solved.get_weights(), whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mixed, (start + end) / 2, atol=1e-7)


def test_every_label_is_held_out_once_and_the_last_training_sees_all(bright, model, monkeypatch):
    seen, made = [], []
    train = RepeatedTraining.train

    def watched(training, start, rows, steps, bar=None, name=""):
        if bar is not None:
            seen.append(set(rows.tolist()))
            made.append(steps)
        return train(training, start, rows, steps, bar)

    monkeypatch.setattr(RepeatedTraining, "train", watched)
    monkeypatch.setattr(robust_fine_tuning, "log_loss", always(1.0))
    found = robust_fine_tune(model, *bright, folds=3, **QUICK)
    assert found.folds == 3
    assert sorted(found.rows.tolist()) == list(range(60))
    assert made == [2, 2, 2, 3]  # the same number of epochs
    *parts, last = seen
    assert last == set(range(60))
    held_out = np.split(found.rows, np.cumsum([60 - len(part) for part in parts])[:-1])
    assert all(part.isdisjoint(rows.tolist()) for part, rows in zip(parts, held_out, strict=True))


def test_the_folds_of_few_labels_are_drawn_several_times(bright, model, monkeypatch):
    losses = []
    monkeypatch.setattr(robust_fine_tuning, "MOST_DIVISIONS", MOST_DIVISIONS)  # not as on a push
    monkeypatch.setattr(robust_fine_tuning, "log_loss", lambda _, labels: losses.append(labels) or 0.0)
    found = robust_fine_tune(model, bright[0].few(5), **QUICK)
    assert found.folds == 9
    assert [len(labels) for labels in losses] == [30] * len(MIXES)  # every prediction counts
    assert sorted(found.rows.tolist()) == list(range(10))
    assert {each.shape for each in found.held_out.values()} == {(10, 2)}
    assert found.mix == 0  # the first of equals


@full
def test_a_class_with_a_single_label_does_not_choose_the_mix(bright, monkeypatch):
    model, seen = build_classifier("LeNet", 3, weights=None), []
    monkeypatch.setattr(robust_fine_tuning, "log_loss", lambda _, labels: seen.extend(labels) or 0.0)
    labels = np.append(bright[0].labels[:20], 2)
    found = robust_fine_tune(model, (bright[0].images[:21], labels), folds=2, **QUICK)
    assert set(seen) == {0, 1}
    assert 2 in found.labels


def test_an_earlier_ctrl_c_does_not_stop_the_next_fine_tuning(bright, model):
    watch = Interruptible()
    watch.interrupted = True
    found = robust_fine_tune(model, *bright, folds=1, callbacks=[watch], **QUICK)
    assert (found.folds, found.interrupted) == (1, False)


@full
def test_one_fold_holds_out_the_validation_split(bright, model):
    found = robust_fine_tune(model, *bright, folds=1, **QUICK)
    assert found.rows.tolist() == list(range(40, 60))
    np.testing.assert_array_equal(found.labels, bright[1].labels)


def test_stored_activations_give_the_same_training(bright, monkeypatch):
    monkeypatch.setattr(robust_fine_tuning, "log_loss", always(1.0))
    after = []
    for views in (0, 1):
        keras.utils.set_random_seed(0)
        model = build_classifier("LeNet", 2, weights=None, dropout=0)
        solve_head(model, *bright)
        frozen = model.predict(bright[1].images, verbose=0)
        options = QUICK | {"views": views, "batch_size": 64}
        robust_fine_tune(model, *bright, folds=1, fraction=0.3, learning_rate=1e-4, **options)
        after.append(model.predict(bright[1].images, verbose=0))
    changed = np.abs(after[0] - frozen).max()
    assert changed > 0.1
    np.testing.assert_allclose(*after, atol=0.05 * changed)  # stored in float16


@pytest.mark.parametrize(
    ("seconds", "cached"), [pytest.param(math.inf, True, marks=full), (600, True), (1e-6, False)]
)
def test_views_are_cached_if_there_is_time(bright, seconds, cached):
    model = build_classifier("LeNet", 2, weights=None, augmentation=augmentation())
    images, labels = bright[0].images, bright[0].labels
    recipe = Recipe.of(**QUICK | {"views": 2}, fraction=0.3)
    start = model.get_weights()
    with RepeatedTraining(model, images, labels, recipe, seconds=seconds) as training:
        assert (training._views is not None) == cached
        assert len(training.train(start, np.arange(40), 3)["loss"]) == 2
        after = training.predict(start, np.arange(40))
    np.testing.assert_allclose(after, model.predict(images, verbose=0), atol=0.01)  # stored in float16


def test_short_time_leaves_fewer_views(bright, monkeypatch):
    model = build_classifier("LeNet", 2, weights=None, augmentation=augmentation())
    monkeypatch.setattr(RepeatedTraining, "_seconds_per_view", lambda *_: 5.0)
    recipe = Recipe.of(**QUICK | {"views": 8}, fraction=0.3)
    images, labels = bright[0].images, bright[0].labels
    for seconds, views in ((1000, 8), (60, 3)):
        with RepeatedTraining(model, images, labels, recipe, seconds=seconds) as training:
            assert training._views.shape[:2] == (40, views)


def test_without_space_for_activations_the_frozen_stages_run_in_every_step(bright, model, monkeypatch):
    def full(*_, **__):
        raise TlkitError("no space")

    monkeypatch.setattr("tlkit.techniques.repeated_training.kept_activations", full)
    found = robust_fine_tune(model, *bright, folds=1, fraction=0.3, **QUICK | {"views": 2})
    assert found.steps == 3
    assert all(np.isfinite(each).all() for each in found.held_out.values())


@pytest.mark.parametrize("depthwise", [False, True])
def test_depthwise_convolutions_stay_frozen_unless_asked_for(bright, depthwise):
    layers = [
        keras.layers.DepthwiseConv2D(3, name="depthwise"),
        keras.layers.Conv2D(4, 1, name="pointwise"),
        keras.layers.GlobalAveragePooling2D(),
    ]
    model = build_classifier(keras.Sequential([keras.Input((28, 28, 3)), *layers]), 2)
    recipe = Recipe.of(fraction=1.0, depthwise=depthwise)
    with RepeatedTraining(model, bright[0].images, bright[0].labels, recipe):
        assert {layer.name: layer.trainable for layer in layers[:2]} == {
            "depthwise": depthwise,
            "pointwise": True,
        }


def test_the_order_of_the_images_depends_on_the_seed_alone(bright, model, monkeypatch):
    # Keras would shuffle the batches again, by random numbers that other threads draw from as well
    shuffled = []
    monkeypatch.setattr(random, "shuffle", shuffled.append)
    robust_fine_tune(model, *bright, folds=1, fraction=0.3, **QUICK | {"views": 1})
    assert not shuffled


def test_a_model_of_logits_with_augmentation_is_tuned(bright):
    model = build_classifier("LeNet", 2, weights=None, activation=None, augmentation=augmentation())
    found = robust_fine_tune(model, *bright, **QUICK | {"views": 2}, folds=1, fraction=0.3)
    for probabilities in found.held_out.values():
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert not model.compiled


def test_an_error_leaves_the_frozen_network_with_its_solved_head(bright, model):
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("stop")

    solved = keras.models.clone_model(model)
    solved.set_weights(model.get_weights())
    solve_head(solved, *bright)
    with pytest.raises(RuntimeError, match="stop"):
        robust_fine_tune(model, *bright, callbacks=[Fails()], **QUICK)
    for one, other in zip(solved.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_short_time_takes_folds_first_then_steps():
    splits = [(np.arange(40), np.arange(40, 60))] * 3
    recipe = Recipe(least_steps=100, epochs=50, batch_size=10)  # 300 steps, and 200 of each fold
    both = [splits, splits[:1]]
    assert affordable(both, recipe, 60, 0.1, math.inf) == (splits, 300)
    assert affordable(both, recipe, 60, 0.1, 92) == (splits, 300)
    assert affordable(both, recipe, 60, 0.1, 91) == (splits[:1], 300)  # 90 s of steps, 1.2 s of predictions
    assert affordable(both, recipe, 60, 0.1, 25.6) == (splits[:1], 150)
    assert affordable(both, recipe, 60, 0.1, 25) == (splits[:1], 146)
    assert affordable(both, recipe, 60, 0.1, 10) == ([], 0)


def test_predictions_of_many_images_take_time_too():
    folds = [(np.arange(8_000), np.arange(8_000, 10_000))]
    recipe = Recipe(batch_size=10)  # 1.8 trainings; 20,000 predictions take as long as 667 steps
    assert affordable([folds], recipe, 10_000, 0.1, 150)[1] == (1500 - 667) / 1.8 // 1
    assert affordable([folds], recipe, 10_000, 0.1, 60) == ([], 0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by a tenth of a millisecond when it is read; add seconds to its only element."""
    now = [0.0]

    def read():
        now[0] += 1e-4
        return now[0]

    monkeypatch.setattr(time, "perf_counter", read)
    return now


@pytest.mark.parametrize(("minutes", "folds", "labels"), [(1, 1, 14), pytest.param(2.6, 4, 40, marks=full)])
def test_folds_are_left_out_when_trainings_take_longer_than_estimated(
    bright, model, monkeypatch, clock, minutes, folds, labels
):
    train = RepeatedTraining.train

    def slower(self, start, rows, steps, bar=None, name=""):
        clock[0] += 25.0 if bar is not None else 0.0
        return train(self, start, rows, steps, bar)

    monkeypatch.setattr(RepeatedTraining, "train", slower)
    found = robust_fine_tune(model, bright[0], minutes=minutes, **QUICK)
    assert found.folds == folds
    assert len(found.labels) == labels


def test_with_little_time_the_whole_validation_split_is_held_out(bright, model, monkeypatch, clock):
    monkeypatch.setattr(RepeatedTraining, "seconds_per_step", lambda training: 1.0)
    found = robust_fine_tune(model, *bright, minutes=0.15, **QUICK)
    assert (found.folds, found.steps) == (1, 3)
    assert found.rows.tolist() == list(range(40, 60))


def test_few_labels_without_a_validation_split_hold_out_some_of_them(bright, model):
    few = bright[0].few(2)
    found = robust_fine_tune(model, few, folds=1, **QUICK)
    assert sorted(found.labels.tolist()) == [0, 1]
    with pytest.raises(TlkitError, match=r"Every class has a single label.*keep the network frozen"):
        robust_fine_tune(model, bright[0].few(1), **QUICK)


def test_sample_weights_are_refused_and_not_ignored(bright, model):
    weighted = bright[0].images, bright[0].labels, np.ones(40)
    with pytest.raises(TlkitError, match=r"Sample weights were given.*class_weight="):
        robust_fine_tune(model, weighted, **QUICK)


def test_without_time_nothing_is_tuned(bright, model):
    found = robust_fine_tune(model, *bright, minutes=0, **QUICK)
    assert (found.steps, found.folds, found.mix) == (0, 0, 0)
    assert set(frozen_table(model)["state"]) == {"frozen", "trainable"}


def test_a_model_with_a_single_output_is_refused(bright):
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
    with pytest.raises(TlkitError, match="has a single output; expected one for each class"):
        robust_fine_tune(keras.Sequential([keras.Input((28, 28, 3)), *layers]), *bright)


def test_batches_are_refused(bright, model):
    with pytest.raises(TlkitError, match=r"Batches were given.*Give a split"):
        robust_fine_tune(model, bright[0].batches(), **QUICK)


def test_a_log_loss_of_nan_is_infinite():
    assert log_loss(np.array([[np.nan, 0.5]]), np.array([1])) == np.inf


def test_a_last_training_that_fails_leaves_the_frozen_network(bright, model, monkeypatch):
    """As if every fold had gained, and the training on all labels had not."""
    monkeypatch.setattr(robust_fine_tuning, "log_loss", always(1.0))
    failed = robust_fine_tune(model, *bright, folds=1, learning_rate=10.0, **QUICK)
    assert failed.failed
    assert failed.mix == 0
    frozen = keras.models.clone_model(model)
    frozen.set_weights(model.get_weights())
    solve_head(frozen, *bright)
    for one, other in zip(frozen.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_certainty_alone_does_not_make_a_log_loss_high():
    labels = np.arange(40) % 2
    right = labels ^ (np.arange(40) < 8)  # 80 %
    certain = np.where(np.eye(2)[right] == 1, 0.9999, 0.0001)
    unsure = np.full((40, 2), 0.5)
    assert log_loss(certain, labels) < log_loss(unsure, labels) == pytest.approx(np.log(2))


def test_weights_of_any_float_type_are_mixed_and_integers_are_not():
    mixed = interpolated([np.zeros(1, bfloat16)], [np.ones(1, bfloat16)], 0.5)
    assert (mixed[0].dtype, float(mixed[0][0])) == (bfloat16, 0.5)
    assert interpolated([np.array([1])], [np.array([3])], 0.5) == [3]
    assert interpolated([np.array([1])], [np.array([3])], 0.0) == [1]


def test_a_step_budget_warms_up_and_ends_after_its_steps(lenet, digits):
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    lenet.compile("adam", "sparse_categorical_crossentropy")
    lenet.fit(digits.train.batches(20), epochs=5, callbacks=[StepBudget(0.1, 20), Rates()], verbose=0)
    assert len(rates) == 20
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] < 0.002


def test_a_step_budget_shortens_to_its_time_but_not_below_the_least(lenet, digits):
    class Slow(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            time.sleep(0.02)

    lenet.compile("adam", "sparse_categorical_crossentropy")
    slow, budget = Slow(), StepBudget(0.1, 1000, seconds=0.01, least=12)
    lenet.fit(digits.train.batches(10), epochs=5, callbacks=[budget, slow], verbose=0)
    assert slow.steps == budget.steps == 12


@full
def test_the_only_label_of_one_of_two_classes_is_never_held_out(bright, model):
    images, labels = bright[0].images[:21], np.zeros(21, int)
    labels[0] = 1
    found = robust_fine_tune(model, (images, labels), **QUICK)
    assert found.folds == 6  # 2 of 3 in each draw: without this label, no head could be solved
    assert 0 not in found.rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 0}, "folds=0 was given"),
        ({"rate": 1}, "no setting rate. Its settings are fraction"),
        ({"batch_size": 0}, "batch_size=0 was given; expected at least 1"),
        ({"averaging": 1.0}, r"averaging=1.0 was given; expected 0 to 0.9999"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(bright, model, options, message):
    before = model.get_weights()
    with pytest.raises(TlkitError, match=message):
        robust_fine_tune(model, bright[0], **options)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
