from functools import partial

import keras
import numpy as np
import pytest
from pushes import full, graph

from tlkit.backbones import stages
from tlkit.errors import TlkitError
from tlkit.models import backbone_of, unfreeze
from tlkit.optimizers import adam, depth_scales, scaled_learning_rates, warmup_cosine
from tlkit.techniques.fine_tuning import fine_tune, gradual_unfreezing


@pytest.mark.parametrize("kind", ["Adam", "Nadam", "SGD", "RMSprop"])
def test_the_update_is_scaled_not_the_gradient(kind):
    """Adam's first update is the learning rate, whatever the gradient; a scaled gradient changes nothing."""
    slow, fast, full = (keras.Variable([1.0], name=name) for name in ("slow", "fast", "full"))
    for optimizer, variables in ((getattr(keras.optimizers, kind)(0.1), [slow, fast]), (None, [full])):
        optimizer = optimizer or getattr(keras.optimizers, kind)(0.1)
        optimizer.build(variables)
        with scaled_learning_rates(optimizer, {slow.path: 0.01}):
            optimizer.apply([keras.ops.convert_to_tensor([5.0])] * len(variables))
    steps = [1 - float(np.array(each)[0]) for each in (slow, fast, full)]
    assert steps[0] == pytest.approx(0.01 * steps[1], rel=1e-3)
    assert steps[1] == pytest.approx(steps[2], rel=1e-5)


def test_afterwards_the_optimizer_applies_the_full_learning_rate_again():
    weight = keras.Variable([1.0], name="weight")
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([weight])
    with pytest.raises(RuntimeError), scaled_learning_rates(optimizer, {weight.path: 0.0}):
        raise RuntimeError
    optimizer.apply([keras.ops.convert_to_tensor([1.0])])
    assert float(np.array(weight)[0]) == pytest.approx(0.9)


def test_the_learning_rate_decays_from_stage_to_stage(lite):
    unfreeze(lite)
    scales = depth_scales(lite, 0.5)
    order = list(stages(backbone_of(lite)).values())
    top, below = order[-1], order[-2]
    assert {scales[each.path] for each in lite.get_layer("head").trainable_variables} == {1.0}
    assert {scales[each.path] for layer in top for each in layer.trainable_variables} == {0.5}
    assert {scales[each.path] for layer in below for each in layer.trainable_variables} == {0.25}
    with pytest.raises(TlkitError, match="depth_decay=2 was given"):
        depth_scales(lite, 2)


def test_the_learning_rate_rises_then_falls():
    schedule = warmup_cosine(1.0, steps=100, warmup=0.1)
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(rates[10]) == pytest.approx(1.0)
    assert np.all(np.diff(rates[:11]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    assert float(warmup_cosine(1.0, steps=10, warmup=0)(0)) == 1.0
    constant = warmup_cosine(1.0, steps=100, final=1.0)
    assert [float(constant(step)) for step in (0, 5, 10, 99)] == [0.0, 0.5, 1.0, 1.0]


@graph
def test_fine_tuning_restores_the_best_epoch(digits, lenet):
    patient = keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)
    history = fine_tune(lenet, digits.train, digits.validation, epochs=15, callbacks=[patient])
    lenet.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = lenet.evaluate(digits.validation.batches(), verbose=0)
    assert loss == pytest.approx(min(history.history["val_loss"]), rel=1e-3)
    assert accuracy > 0.7


def test_patience_never_ends_a_training_within_the_warm_up(digits, lenet):
    few, wrong = digits.train.images[:20], (digits.train.labels[:20] + 1) % 10
    validation = few, wrong  # its loss rises as soon as the network learns
    epochs = 60  # of one step, so the warm-up ends after 6 of them
    history = fine_tune(lenet, (few, digits.train.labels[:20]), validation, epochs=epochs).history
    assert 0.3 * epochs < len(history["val_loss"]) < epochs
    assert history["val_loss"][-1] > min(history["val_loss"])


@graph
def test_only_training_images_are_augmented(digits, lenet):
    """The network is trained on negatives, but validated on the original images."""
    negatives = digits.train.batches(32, shuffle=True, augment=lambda images: 255 - images)
    patient = keras.callbacks.EarlyStopping(patience=15)
    history = fine_tune(lenet, negatives, digits.validation, epochs=15, callbacks=[patient])
    assert history.history["accuracy"][-1] > max(history.history["val_accuracy"]) + 0.3


@full
def test_a_layer_of_keras_cv_can_augment_images(digits, lenet):
    keras_cv = pytest.importorskip("keras_cv")
    batch, labels = digits.train.batches(16, augment=keras_cv.layers.RandomCutout(0.5, 0.5))[0]
    assert batch.shape == (16, 28, 28, 3)
    assert (batch != digits.train.images[:16]).any()
    np.testing.assert_array_equal(labels, digits.train.labels[:16])
    fine_tune(lenet, digits.train.batches(augment=keras_cv.layers.RandAugment((0, 255))), epochs=1)


@full
def test_the_same_seed_gives_the_same_model(digits):
    def trained():
        from tlkit.models import augmentation, build_classifier

        keras.utils.set_random_seed(3)
        model = build_classifier("LeNet", 10, weights=None, augmentation=augmentation(flip=False))
        fine_tune(model, digits.train, epochs=2)
        return model.predict(digits.test.images, verbose=0)

    np.testing.assert_allclose(trained(), trained(), atol=1e-5)


def test_gradual_unfreezing_proceeds_from_the_top_downwards(digits, lenet, weights_of):
    moved = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.before = weights_of(self.model)

        def on_train_end(self, logs=None):
            after = weights_of(self.model)
            moved.append(
                {path for path, value in self.before.items() if not np.array_equal(value, after[path])}
            )

    history = gradual_unfreezing(lenet, digits.train, stages=["dense", "conv2"], callbacks=[Watch()])
    assert len(history.history["loss"]) == len(history.epoch) == 2
    assert not any("conv" in path for path in moved[0])
    assert any("conv2" in path for path in moved[1])
    assert not any("conv1" in path for path in moved[1])


def test_weight_decay_acts_on_kernels_but_not_on_biases(digits, lenet):
    """Weight decay changes a weight by learning rate x decay x weight, in addition to the step of Adam."""
    start, ends = lenet.get_weights(), []
    lenet.get_layer("head").layers[0].rate = 0.0
    for decay in (None, 2.0):
        lenet.set_weights(start)
        optimizer = adam(1, 0.01, warmup=0, weight_decay=decay)
        fine_tune(lenet, digits.train, epochs=1, batch_size=200, optimizer=optimizer)
        ends.append(lenet.get_weights())
    for weight, before, plain, decayed in zip(lenet.weights, start, *ends, strict=True):
        factor = 0.01 * 2.0 if weight.name == "kernel" else 0.0
        np.testing.assert_allclose(plain - decayed, factor * before, atol=2e-6)


def test_label_smoothing_follows_its_definition(digits, lenet):
    images, labels = digits.train.images, digits.train.labels
    lenet.get_layer("head").layers[0].rate = 0.0
    p = lenet.predict(images, verbose=0)
    target = 0.8 * np.eye(10)[labels] + 0.2 / 10
    expected = -np.mean(np.sum(target * np.log(p), axis=1))
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
    history = fine_tune(lenet, digits.train, epochs=1, batch_size=200, loss=smoothed)
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-4)
    assert history.history["accuracy"][0] == pytest.approx(np.mean(p.argmax(axis=1) == labels), abs=1e-6)


@pytest.mark.parametrize("validated", [False, True])
def test_averaged_weights_are_kept(digits, lenet, validated):
    few = digits.train.subset(slice(64))
    lenet.get_layer("head").layers[0].rate = 0.0
    recorded = [[np.array(each) for each in lenet.trainable_variables]]

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            recorded.append([np.array(each) for each in self.model.trainable_variables])

    validation = digits.validation if validated else None
    averaging = partial(adam, learning_rate=0.01, warmup=0, use_ema=True, ema_momentum=0.5)
    options = {"epochs": 2, "batch_size": 32, "callbacks": [Watch()]}
    history = fine_tune(lenet, few, validation, optimizer=averaging, **options)
    assert len(recorded) == 5
    average = recorded[1]  # Keras starts from the weights after the first step
    averages = [average]
    for weights in recorded[2:]:
        average = [0.5 * old + 0.5 * new for old, new in zip(average, weights, strict=True)]
        averages.append(average)
    best = int(np.argmin(history.history["val_loss"])) if validated else 1
    for found, expected in zip(lenet.trainable_variables, averages[2 * best + 1], strict=True):
        np.testing.assert_allclose(np.array(found), expected, atol=1e-5)
    if validated:
        lenet.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        loss, _ = lenet.evaluate(digits.validation.images, digits.validation.labels, verbose=0)
        assert loss == pytest.approx(min(history.history["val_loss"]), rel=1e-3)
