"""The learning-rate range test: what it measures, what it suggests, and that it leaves no trace."""

import random

import keras
import numpy as np
import pytest
from pushes import graph

import tlkit
from tlkit.errors import TlkitError, TlkitWarning
from tlkit.techniques.learning_rate import LearningRates, find_learning_rate

pytestmark = graph  # a range test makes many steps
N, SIZE, BATCH = 80, 8, 20
LABELS = np.arange(N) % 2
RNG = np.random.default_rng(0)
IMAGES = (40 + 180 * LABELS[:, None, None, None] + RNG.uniform(0, 20, (N, SIZE, SIZE, 3))).astype("uint8")
SHORT = {"steps": 30, "batch_size": BATCH, "highest": 10.0}


class Batches(keras.utils.PyDataset):
    """Batches in a fixed order; the last one has fewer images."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(32 * index, min(N, 32 * (index + 1)))
        return IMAGES[rows], LABELS[rows]


def build():
    """A small classifier with dropout, BatchNormalization, and frozen and trainable layers."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu", name="below"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(32, activation="relu", name="above"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(2, name="head"),
        ]
    )
    model.get_layer("below").trainable = False
    model.get_layer("above").kernel.trainable = False
    return model


@pytest.fixture
def small():
    return build()


def state(model):
    """Everything that a range test could change."""
    return {
        "values": [np.array(keras.ops.convert_to_numpy(each)) for each in model.variables],
        "trainable": [each.trainable for each in (*model._flatten_layers(), *model.variables)],
        "compiled": {name: id(vars(model).get(name)) for name in ("optimizer", "loss", "_compile_metrics")},
        "optimizer": [np.array(keras.ops.convert_to_numpy(each)) for each in model.optimizer.variables],
        "metrics": [np.array(keras.ops.convert_to_numpy(each)) for each in model.metrics_variables],
        "random": random.getstate(),
    }


def assert_same(found, expected):
    for name, value in expected.items():
        if isinstance(value, list):
            for one, other in zip(found[name], value, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=name)
        else:
            assert found[name] == value, name


def test_the_suggestion_for_lenet_is_among_the_learning_rates_that_train_it_well(digits, lenet):
    """On all digits, 1e-3 to 1e-2 gave validation accuracies above 0.96, 1e-4 0.8 and 1e-1 chance."""
    found = find_learning_rate(lenet, digits.train, steps=60)
    assert 5e-4 < found.suggestion < 1e-2
    assert found.suggestion == pytest.approx(found.lowest_loss_rate / 10)
    assert found.rates[len(found.rates) // 10] < found.steepest_rate <= found.lowest_loss_rate
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 60


def test_the_losses_are_those_of_the_batches(small):
    """While the rate is tiny, the weights hardly change, so the losses can be computed in advance."""
    small.layers[-2].rate = 0.0
    data, exact = Batches(), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    small.compile(loss=exact, steps_per_execution=2)
    expected = [float(exact(labels, small(images))) for images, labels in map(data.__getitem__, range(3))]
    found = find_learning_rate(small, data, lowest=1e-12, highest=100, steps=30)
    # Keras orders the batches of a PyDataset at random in each epoch
    for epoch in (found.losses[:3], found.losses[3:6]):
        np.testing.assert_allclose(sorted(epoch), sorted(expected), rtol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the steps are traced")
def test_the_learning_rate_rises_by_the_same_factor_in_each_step(small):
    used = []

    class Recorded(keras.optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            used.append(float(learning_rate))
            super().update_step(gradient, variable, learning_rate)

    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)  # it is replaced
    options = {**SHORT, "optimizer": lambda steps: Recorded(schedule), "run_eagerly": True}
    found = find_learning_rate(small, (IMAGES, LABELS), **options)
    rates = np.array(list(dict.fromkeys(used)))
    np.testing.assert_allclose(rates, np.geomspace(1e-6, 10, 30)[: len(rates)], rtol=1e-5)
    np.testing.assert_allclose(found.rates, rates[: len(found.rates)], rtol=1e-5)


@pytest.mark.parametrize("stopped", [False, True])
def test_the_model_is_as_before(small, stopped):
    exact = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    small.compile(keras.optimizers.Adam(0.01), exact, metrics=["accuracy"])
    small.optimizer.build(small.trainable_variables)
    small.optimizer.iterations.assign(5)
    small.metrics[0].update_state(1.0)
    before, calls = state(small), []

    def interrupted(true, predicted):
        calls.append(1)
        if stopped and len(calls) > 5:
            raise KeyboardInterrupt
        return keras.losses.sparse_categorical_crossentropy(true, predicted, from_logits=True)

    options = {**SHORT, "loss": interrupted, "fraction": 0.5, "run_eagerly": stopped}
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            find_learning_rate(small, (IMAGES, LABELS), **options)
    else:
        find_learning_rate(small, (IMAGES, LABELS), **options, optimizer=small.optimizer)
    assert calls
    assert_same(state(small), before)


def test_a_training_afterwards_is_the_same_as_without_the_test():
    ends = []
    for tested in (False, True):
        model = build()
        if tested:
            find_learning_rate(model, (IMAGES, LABELS), **SHORT)
        tlkit.fine_tune(model, (IMAGES, LABELS), epochs=1, batch_size=BATCH, run_eagerly=True)
        ends.append(model.get_weights())
    for plain, after in zip(*ends, strict=True):
        np.testing.assert_array_equal(plain, after)


def test_divergence_ends_the_test_early(small):
    found = find_learning_rate(small, (IMAGES, LABELS), **{**SHORT, "lowest": 1e-4, "highest": 1e3})
    assert len(found.rates) < 30
    assert np.isfinite(found.losses).all()
    assert found.lowest_loss_rate < found.rates[-1]


def test_tensorflow_data_are_repeated_until_there_are_enough_steps(small):
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(BATCH)
    found = find_learning_rate(small, data, **SHORT)
    assert isinstance(found, LearningRates)
    assert len(found.rates) > 4  # one epoch


def test_a_loss_that_does_not_fall_is_an_error_that_names_the_next_step(small):
    tiny = {**SHORT, "lowest": 1e-12, "highest": 1e-11, "optimizer": "sgd"}
    with pytest.raises(TlkitError, match=r"did not fall: its mean was .*new head.*check the labels"):
        find_learning_rate(small, (IMAGES, LABELS), **tiny)


def test_a_loss_that_still_falls_at_the_highest_rate_is_a_warning(small):
    small.layers[-2].rate = 0.0
    calm = {"steps": 20, "batch_size": N, "highest": 0.03, "optimizer": "sgd", "run_eagerly": True}
    with pytest.warns(TlkitWarning, match=r"falling at the highest learning rate, 0\.03.* larger highest="):
        found = find_learning_rate(small, (IMAGES, LABELS), **calm)
    assert found.lowest_loss_rate == pytest.approx(0.03)


def test_a_loss_that_is_not_finite_at_once_is_an_error(small):
    def broken(true, predicted):
        return np.nan * predicted[:, 0]

    with pytest.raises(TlkitError, match=r"loss of step 1 was nan, at the learning rate 1\.0e-06"):
        find_learning_rate(small, (IMAGES, LABELS), **SHORT, loss=broken, run_eagerly=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "lowest=1.0 and highest=0.1 were given; expected 0 < lowest"),
        ({"steps": 5}, "steps=5 was given; expected at least 20"),
        ({"epochs": 3}, "no argument 'epochs'.*class_weight"),
        ({"optimizer": "no such optimizer"}, "expected a keras.optimizers.Optimizer"),
        ({"fraction": 2.0}, "fraction=2.0 was given"),
    ],
)
def test_wrong_arguments_are_explained(small, options, message):
    before = [each.trainable for each in small.variables]
    with pytest.raises(TlkitError, match=message):
        find_learning_rate(small, (IMAGES, LABELS), **options)
    assert [each.trainable for each in small.variables] == before
