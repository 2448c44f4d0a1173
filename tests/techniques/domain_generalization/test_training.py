"""Training on several domains: what a batch holds, and what a method leaves in the network."""

import keras
import numpy as np
import pytest
from plain_keras import predicted_without_tlkit
from pushes import graph, mostly_full

from tlkit.errors import DataError
from tlkit.techniques.domain_generalization import METHODS, DomainBatches, DomainTrainer
from tlkit.techniques.domain_generalization.training import ERM, WeightAveraging
from tlkit.techniques.repeated_training import Recipe

RNG = np.random.default_rng(0)
COUNTS = (21, 9)
LABELS = [np.arange(count) % 3 for count in COUNTS]
# the class is the brightest channel; the domains differ in brightness
IMAGES = [
    (
        brightness + 90 * np.eye(3)[labels][:, None, None] + RNG.uniform(0, 20, (len(labels), 12, 12, 3))
    ).astype("uint8")
    for brightness, labels in zip((20, 120), LABELS, strict=True)
]
RECIPE = Recipe(learning_rate=1e-2, batch_size=8)


def network():
    keras.utils.set_random_seed(0)
    images = x = keras.Input((12, 12, 3))
    x = keras.layers.Rescaling(1 / 255)(x)
    for filters in (6, 8):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
        x = keras.layers.BatchNormalization(momentum=0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax")(x))


def test_a_batch_holds_equally_many_examples_of_each_domain_in_order():
    batches = DomainBatches(IMAGES, LABELS, 8, 3, seed=1)
    assert len(batches) == 6  # the larger domain once, four at a time
    seen = []
    for index in range(len(batches)):
        images, labels = batches[index]
        assert images.shape == (8, 12, 12, 3)
        assert images[:4].min() < 20 + 20 <= 120 <= images[4:].min()
        np.testing.assert_array_equal(images.mean(axis=(1, 2)).argmax(axis=-1), labels.argmax(axis=-1))
        seen += [image.tobytes() for image in images[:4]]
    assert {image.tobytes() for image in IMAGES[0]} == set(seen)
    first = batches[0][0]
    batches.on_epoch_end()
    assert not np.array_equal(first, batches[0][0])
    np.testing.assert_array_equal(first, DomainBatches(IMAGES, LABELS, 8, 3, seed=1)[0][0])


def test_stored_activations_take_turns_over_their_views():
    inputs = [np.broadcast_to(np.arange(2)[None, :, None], (4, 2, 1)).astype("float16")]
    batches = DomainBatches(inputs, [np.zeros(4, int)], 4, 2, views=True)
    first = batches[0][0]
    batches.on_epoch_end()
    assert first.dtype == np.float32
    assert sorted(first[:, 0].tolist()) == sorted(batches[0][0][:, 0].tolist()) == [0, 0, 1, 1]


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="Domain 2 has 9 examples and 8 labels"):
        DomainBatches(IMAGES, [LABELS[0], LABELS[1][:8]], 8, 3)


TRAINED = [row.name for row in METHODS if row.name != "frozen"]


@graph
@pytest.mark.parametrize("method", mostly_full(TRAINED, *(each for each in TRAINED if each != "erm")))
def test_every_method_learns_repeats_itself_and_leaves_a_plain_network(method, tmp_path):
    model = network()
    start = model.get_weights()
    trainer = DomainTrainer(model, METHODS.find(method).build(), 2, RECIPE)
    trainer.train(IMAGES, LABELS, 60)
    assert trainer.steps == 60
    everything, labels = np.concatenate(IMAGES), np.concatenate(LABELS)
    predicted = model.predict(everything, verbose=0)
    assert np.mean(predicted.argmax(axis=1) == labels) > 0.8
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        predicted_without_tlkit(tmp_path / "model.keras", everything), predicted, atol=1e-4
    )
    model.set_weights(start)
    trainer.train(IMAGES, LABELS, 60)
    assert trainer.steps == 60


@graph
def test_averaged_weights_lie_between_and_have_their_own_statistics():
    model = network()
    start = [np.array(each) for each in model.get_weights()]
    DomainTrainer(model, ERM(), 2, RECIPE).train(IMAGES, LABELS, 40)
    last = [np.array(each) for each in model.get_weights()]
    model.set_weights(start)
    trainer = DomainTrainer(model, WeightAveraging(0.999), 2, RECIPE)
    trainer.train(IMAGES, LABELS, 40)
    moved = [np.abs(each - first).sum() for each, first in zip(model.get_weights(), start, strict=True)]
    far = [np.abs(each - first).sum() for each, first in zip(last, start, strict=True)]
    assert moved[0] < 0.7 * far[0]  # an average over all steps
    norm = next(each for each in model.layers if isinstance(each, keras.layers.BatchNormalization))
    inside = keras.Model(model.inputs, norm.input)
    batches = DomainBatches(IMAGES, LABELS, 8, 3)
    x = np.concatenate([inside.predict(batches[i][0], verbose=0) for i in range(len(batches))])
    np.testing.assert_allclose(norm.moving_mean, x.mean(axis=(0, 1, 2)), rtol=0.15, atol=1e-3)
