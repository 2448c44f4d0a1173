import keras
import numpy as np
import pytest
from plain_keras import predicted_without_tlkit

from tlkit.backbones import stages
from tlkit.errors import TlkitError, UnknownNameError
from tlkit.models import (
    augmentation,
    backbone_of,
    build_classifier,
    freeze,
    frozen_table,
    reinitialize,
    unfreeze,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32, 3), dtype="uint8")


def test_a_classifier_turns_raw_pixels_into_probabilities(lite):
    probabilities = lite.predict(IMAGES, verbose=0)
    assert probabilities.shape == (6, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_without_activation_it_gives_logits():
    model = build_classifier("LeNet", classes=4, weights=None, activation=None)
    logits = model.predict(RNG.integers(0, 256, (3, 28, 28, 3)).astype("uint8"), verbose=0)
    assert not np.allclose(logits.sum(axis=1), 1)


def test_a_saved_classifier_opens_without_tlkit(lite, tmp_path):
    lite.save(tmp_path / "model.keras")
    found = predicted_without_tlkit(tmp_path / "model.keras", IMAGES)
    np.testing.assert_allclose(found, lite.predict(IMAGES, verbose=0), atol=1e-5)


def train_once(model):
    model.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    model.fit(IMAGES, np.arange(6) % 3, epochs=1, batch_size=3, verbose=0)


def test_a_frozen_backbone_is_bit_identical_after_training(lite, weights_of):
    freeze(lite)
    before, head = weights_of(backbone_of(lite)), weights_of(lite.get_layer("head"))
    train_once(lite)
    assert all(np.array_equal(before[path], value) for path, value in weights_of(backbone_of(lite)).items())
    assert any(
        not np.array_equal(head[path], value) for path, value in weights_of(lite).items() if path in head
    )


def test_unfreezing_from_a_stage_trains_only_that_stage_and_those_above(lite, weights_of):
    unfreeze(lite, from_stage="block6")
    before = weights_of(lite)
    train_once(lite)
    after = weights_of(lite)
    for name, layers in stages(backbone_of(lite)).items():
        kernels = [layer.kernel.path for layer in layers if isinstance(layer, keras.layers.Conv2D)]
        for path in kernels:
            changed = not np.array_equal(before[path], after[path])
            assert changed == (name in ("block6", "block7", "top")), path


def test_batch_norm_stays_in_inference_mode_unless_requested(weights_of):
    model = build_classifier("LeNetBN", classes=3, weights=None, image_size=32)
    unfreeze(model)
    before = weights_of(model)
    train_once(model)
    statistics = [path for path in before if "moving_" in path]
    assert statistics
    assert all(np.array_equal(before[path], weights_of(model)[path]) for path in statistics)
    unfreeze(model, batch_norm=True)
    train_once(model)
    assert not any(np.array_equal(before[path], weights_of(model)[path]) for path in statistics)


def test_a_fraction_counts_layers_from_the_top(lite):
    unfreeze(lite, fraction=0.0)
    assert not backbone_of(lite).trainable_weights
    unfreeze(lite, fraction=1.0, batch_norm=True)
    total = len(backbone_of(lite).trainable_weights)
    unfreeze(lite, fraction=0.5, batch_norm=True)
    assert 0 < len(backbone_of(lite).trainable_weights) < total


def test_the_table_counts_trainable_parameters(lite):
    freeze(lite)
    table = frozen_table(lite)
    assert table["parameters"].sum() == lite.count_params()
    assert table["trainable parameters"].sum() == 1280 * 3 + 3
    unfreeze(lite, from_stage="top")
    assert frozen_table(lite)["state"].to_dict() | {"top": "trainable", "head": "trainable"} == {
        name: "trainable" if name in ("top", "head") else "frozen" for name in frozen_table(lite).index
    }


def test_augmentation_acts_in_training_only():
    layer = augmentation()
    images = IMAGES.astype("float32")
    np.testing.assert_array_equal(layer(images, training=False), images)
    changed = np.array(layer(images, training=True))
    assert not np.allclose(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_an_augmentation_that_acts_in_prediction_is_refused():
    keras_cv = pytest.importorskip("keras_cv")
    with pytest.raises(TlkitError, match=r"in prediction too.*augment=layer"):
        build_classifier("LeNet", 3, weights=None, augmentation=keras_cv.layers.GridMask())
    build_classifier("LeNet", 3, weights=None, augmentation=keras.layers.RandAugment((0, 255)))


def test_augmentation_with_strength_0_changes_nothing():
    images = IMAGES.astype("float32")
    augmented = augmentation(strength=0, flip=False)(images, training=True)
    np.testing.assert_allclose(augmented, images, atol=0.01)


def test_errors_name_the_next_step(lite):
    with pytest.raises(TlkitError, match="classes=1 was given; expected at least 2"):
        build_classifier("LeNet", classes=1, weights=None)
    with pytest.raises(UnknownNameError, match="Did you mean 'block6'"):
        unfreeze(lite, from_stage="blok6")
    with pytest.raises(TlkitError, match="not both"):
        unfreeze(lite, from_stage="top", fraction=0.5)
    with pytest.raises(TlkitError, match=r"fraction=3 was given; expected .* from 0 to 1"):
        unfreeze(lite, fraction=3)
    with pytest.raises(TlkitError, match="build_classifier"):
        backbone_of(keras.Sequential([keras.layers.Dense(2)]))


def test_a_reinitialized_model_has_new_weights_and_a_new_optimizer_state(lite):
    freeze(lite)
    lite.compile("adam", loss="sparse_categorical_crossentropy")
    before = lite.get_weights()
    lite.fit(IMAGES, np.arange(6) % 3, epochs=2, verbose=0)
    keras.utils.set_random_seed(1)
    reinitialize(lite)
    assert int(lite.optimizer.iterations) == 0
    assert float(lite.optimizer.learning_rate) == pytest.approx(0.001)
    assert all(not np.any(moment) for moment in lite.optimizer.variables[2:])
    first = lite.get_weights()
    assert not np.array_equal(before[0], first[0])
    keras.utils.set_random_seed(1)
    reinitialize(lite)
    assert all(np.array_equal(old, new) for old, new in zip(first, lite.get_weights(), strict=True))
