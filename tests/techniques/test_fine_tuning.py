import keras
import numpy as np
import pytest

from tlkit.backbones import stages
from tlkit.errors import TlkitError
from tlkit.models import backbone_of, unfreeze
from tlkit.techniques.fine_tuning import (
    DiscriminativeAdam,
    depth_scales,
    fine_tune,
    gradual_unfreezing,
    warmup_cosine,
)


def test_the_step_is_scaled_not_the_gradient():
    """Adam's first step is the step size, whatever the gradient; a scaled gradient would not change it."""
    slow, fast = keras.Variable([1.0], name="slow"), keras.Variable([1.0], name="fast")
    optimizer = DiscriminativeAdam(0.1, scales={slow.path: 0.01})
    optimizer.build([slow, fast])
    optimizer.apply([keras.ops.convert_to_tensor([5.0])] * 2)
    assert float(slow.numpy()[0]) == pytest.approx(1 - 0.001, abs=1e-5)
    assert float(fast.numpy()[0]) == pytest.approx(1 - 0.1, abs=1e-4)


def test_with_one_scale_for_all_it_is_adam():
    ends = []
    for optimizer in (keras.optimizers.Adam(0.05), DiscriminativeAdam(0.05)):
        weight = keras.Variable([1.0, -2.0])
        optimizer.build([weight])
        for step in range(5):
            optimizer.apply([keras.ops.convert_to_tensor([0.3 * step, -1.0])])
        ends.append(weight.numpy())
    np.testing.assert_allclose(*ends, rtol=1e-5)


def test_the_optimizer_survives_saving():
    optimizer = DiscriminativeAdam(0.1, scales={"a": 0.5})
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.scales == {"a": 0.5}


def test_each_stage_takes_a_share_of_the_step_above_it(lite):
    unfreeze(lite)
    scales = depth_scales(lite, 0.5)
    order = list(stages(backbone_of(lite)).values())
    top, below = order[-1], order[-2]
    assert {scales[each.path] for each in lite.get_layer("head").trainable_variables} == {1.0}
    assert {scales[each.path] for layer in top for each in layer.trainable_variables} == {0.5}
    assert {scales[each.path] for layer in below for each in layer.trainable_variables} == {0.25}
    with pytest.raises(TlkitError, match="up to 1; got 2"):
        depth_scales(lite, 2)


def test_the_step_size_rises_then_falls():
    schedule = warmup_cosine(1.0, steps=100, warmup=0.1)
    sizes = [float(schedule(step)) for step in range(101)]
    assert sizes[0] == 0
    assert max(sizes) == pytest.approx(sizes[10]) == pytest.approx(1.0)
    assert np.all(np.diff(sizes[:11]) > 0)
    assert np.all(np.diff(sizes[10:]) < 0)
    assert sizes[-1] == pytest.approx(0, abs=1e-6)
    assert float(warmup_cosine(1.0, steps=10, warmup=0)(0)) == 1.0


def test_fine_tuning_learns_and_chooses_the_best_epoch(digits, lenet):
    history = fine_tune(lenet, digits.train, digits.validation, epochs=15, patience=20)
    loss, accuracy = lenet.evaluate(digits.validation.batches(), verbose=0)
    assert loss == pytest.approx(min(history.history["val_loss"]), rel=1e-3)
    assert accuracy > 0.7
    assert "tlkit" not in type(lenet.optimizer).__module__


def test_training_images_alone_are_augmented(digits, lenet):
    """Trained on negatives it knows negatives; the validation images it is judged by are as they are."""
    history = fine_tune(
        lenet, digits.train, digits.validation, epochs=15, patience=15, augment=lambda images: 255 - images
    )
    assert history.history["accuracy"][-1] > max(history.history["val_accuracy"]) + 0.3


def test_a_layer_of_keras_cv_augments(digits, lenet):
    keras_cv = pytest.importorskip("keras_cv")
    batch, labels = digits.train.batches(16, augment=keras_cv.layers.RandomCutout(0.5, 0.5))[0]
    assert batch.shape == (16, 28, 28, 3)
    assert (batch != digits.train.images[:16]).any()
    np.testing.assert_array_equal(labels, digits.train.labels[:16])
    fine_tune(lenet, digits.train, epochs=1, augment=keras_cv.layers.RandAugment((0, 255)))


def test_the_same_seed_gives_the_same_model(digits):
    def trained():
        from tlkit.models import augmentation, build_classifier

        keras.utils.set_random_seed(3)
        model = build_classifier("LeNet", 10, weights=None, augmentation=augmentation(flip=False))
        fine_tune(model, digits.train, epochs=2, seed=3)
        return model.predict(digits.test.images, verbose=0)

    np.testing.assert_allclose(trained(), trained(), atol=1e-5)


def test_gradual_unfreezing_goes_from_the_top_down(digits, lenet, weights_of):
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


def test_weight_decay_takes_its_share_off_kernels_and_nothing_off_offsets(digits, lenet):
    """In the first step Adam moves by the step size: the rest is the decay, step size x share x weight."""
    start, ends = lenet.get_weights(), []
    lenet.get_layer("head").layers[0].rate = 0.0
    for decay in (None, 2.0):
        lenet.set_weights(start)
        fine_tune(
            lenet, digits.train, epochs=1, batch_size=200, warmup=0, learning_rate=0.01, weight_decay=decay
        )
        ends.append(lenet.get_weights())
    for weight, before, plain, decayed in zip(lenet.weights, start, *ends, strict=True):
        share = 0.01 * 2.0 if weight.name == "kernel" else 0.0
        np.testing.assert_allclose(plain - decayed, share * before, atol=2e-6)


def test_label_smoothing_is_the_textbook_loss(digits, lenet):
    images, labels = digits.train.images, digits.train.labels
    lenet.get_layer("head").layers[0].rate = 0.0
    p = lenet.predict(images, verbose=0)
    target = 0.8 * np.eye(10)[labels] + 0.2 / 10
    expected = -np.mean(np.sum(target * np.log(p), axis=1))
    history = fine_tune(lenet, digits.train, epochs=1, batch_size=200, label_smoothing=0.2)
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-4)
    assert history.history["accuracy"][0] == pytest.approx(np.mean(p.argmax(axis=1) == labels), abs=1e-6)
    with pytest.raises(TlkitError, match="label_smoothing=1 was given"):
        fine_tune(lenet, digits.train, label_smoothing=1)


@pytest.mark.parametrize("validated", [False, True])
def test_the_average_of_the_weights_is_what_is_kept(digits, lenet, validated):
    few = digits.train.subset(slice(64))
    lenet.get_layer("head").layers[0].rate = 0.0
    seen = [[np.array(each) for each in lenet.trainable_variables]]

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append([np.array(each) for each in self.model.trainable_variables])

    validation = digits.validation if validated else None
    options = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "warmup": 0, "callbacks": [Watch()]}
    history = fine_tune(lenet, few, validation, ema=0.5, **options)
    assert len(seen) == 5
    average = seen[1]  # Keras starts from the weights after the first step
    averages = [average]
    for weights in seen[2:]:
        average = [0.5 * old + 0.5 * new for old, new in zip(average, weights, strict=True)]
        averages.append(average)
    best = int(np.argmin(history.history["val_loss"])) if validated else 1
    for found, expected in zip(lenet.trainable_variables, averages[2 * best + 1], strict=True):
        np.testing.assert_allclose(np.array(found), expected, atol=1e-5)
    if validated:
        loss, _ = lenet.evaluate(digits.validation.images, digits.validation.labels, verbose=0)
        assert loss == pytest.approx(min(history.history["val_loss"]), rel=1e-3)
