import keras
import numpy as np
import pytest
from pushes import full, graph

from tlkit import backbones
from tlkit.backbones import engines
from tlkit.data import Split
from tlkit.models import backbone_of, build_classifier
from tlkit.techniques.feature_extraction import extract, train_head

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype="uint8")


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(0)
    return backbones.load_backbone("EfficientNetLite0", weights=None, image_size=32)


def test_features_are_the_mean_of_the_feature_map(backbone):
    features = extract(backbone, IMAGES, keep=False)
    expected = backbone.predict(IMAGES, verbose=0).mean(axis=(1, 2))
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_cached_features_are_not_computed_again(backbone, monkeypatch):
    first = extract(backbone, IMAGES)
    monkeypatch.setattr(engines, "infer", lambda *_, **__: pytest.fail("computed again"))
    np.testing.assert_array_equal(extract(backbone, IMAGES), first)


def test_the_cache_key_depends_on_pixels_and_weights(backbone, monkeypatch):
    extract(backbone, IMAGES)
    calls = []
    infer = engines.infer
    monkeypatch.setattr(engines, "infer", lambda *args, **kw: calls.append(1) or infer(*args, **kw))
    other = IMAGES.copy()
    other[3, 2, 1, 0] ^= 1
    extract(backbone, other)
    assert len(calls) == 1
    keras.utils.set_random_seed(1)
    extract(backbones.load_backbone("EfficientNetLite0", weights=None, image_size=32), IMAGES)
    assert len(calls) == 2


def test_a_split_and_its_array_have_the_same_features(backbone):
    np.testing.assert_array_equal(extract(backbone, Split(IMAGES, None)), extract(backbone, IMAGES))


@graph
def test_training_the_head_updates_the_whole_model_but_not_the_backbone(digits, lenet, weights_of):
    before = weights_of(backbone_of(lenet))
    history = train_head(lenet, digits.train, digits.validation, epochs=50)
    assert all(np.array_equal(before[path], value) for path, value in weights_of(backbone_of(lenet)).items())
    whole = lenet.predict(digits.test.images, verbose=0)
    features = extract(backbone_of(lenet), digits.test)
    by_head = lenet.get_layer("head").predict(features, verbose=0)
    np.testing.assert_allclose(whole, by_head, atol=1e-4)
    accuracy = (whole.argmax(axis=1) == digits.test.labels).mean()
    assert accuracy > 0.4  # chance is 0.1; the backbone has random weights
    assert len(history.history["val_accuracy"]) <= 50


def test_the_weights_of_the_best_epoch_are_restored(digits, lenet):
    patient = keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)
    options = {"epochs": 12, "learning_rate": 0.3, "callbacks": [patient]}
    history = train_head(lenet, digits.train, digits.validation, **options)
    head = lenet.get_layer("head")
    head.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, _ = head.evaluate(
        extract(backbone_of(lenet), digits.validation), digits.validation.labels, verbose=0
    )
    assert loss == pytest.approx(min(history.history["val_loss"]), rel=1e-3)


@pytest.mark.parametrize(
    ("images", "batch_size", "steps"),
    [(64, None, 2), (3333, None, 99), pytest.param(3333, 32, 105, marks=full)],
)
def test_by_default_an_epoch_of_the_head_has_at_most_a_hundred_steps(lenet, images, batch_size, steps):
    split = Split(np.zeros((images, 28, 28, 3), "uint8"), np.arange(images) % 10)
    recorder = keras.callbacks.LambdaCallback()
    train_head(lenet, split, epochs=1, batch_size=batch_size, callbacks=[recorder])
    assert recorder.params["steps"] == steps


@full
def test_class_weights_reach_the_loss(digits):
    """A class with weight 0 is never predicted."""
    keras.utils.set_random_seed(0)
    model = build_classifier("LeNet", classes=10, weights=None)
    train_head(model, digits.train, epochs=20, class_weight={i: float(i != 3) for i in range(10)})
    predicted = model.predict(digits.train.images, verbose=0).argmax(axis=1)
    assert (predicted == 3).sum() == 0
    assert len(np.unique(predicted)) > 1
