import numpy as np
import pytest

from tlkit.challenges.overfitting import cutmix, mixup
from tlkit.data import Split
from tlkit.techniques.fine_tuning import fine_tune

# all pixels of image k have the value 10 k, and each image has its own class
IMAGES = np.broadcast_to(10 * np.arange(6, dtype="uint8")[:, None, None, None], (6, 8, 8, 3)).copy()
ONE_HOT = np.eye(6, dtype="float32")


@pytest.mark.parametrize("mixing", [mixup(0.8, seed=0), cutmix(1.0, seed=0)], ids=["mixup", "cutmix"])
def test_labels_are_mixed_in_the_same_proportion_as_the_images(mixing):
    mixed = 0
    for _ in range(5):
        images, labels = mixing(IMAGES, ONE_HOT)
        assert images.shape == IMAGES.shape
        assert isinstance(images, np.ndarray)
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), labels @ (10 * np.arange(6)), atol=1e-2)
        mixed += np.sum((labels > 0.01).sum(axis=1) == 2)
    assert mixed > 5


def test_mixup_blends_the_whole_image_and_cutmix_pastes_a_rectangle():
    for image in mixup(0.8, seed=1)(IMAGES, ONE_HOT)[0]:
        np.testing.assert_allclose(image, image[0, 0, 0], atol=1e-3)
    several = 0
    for image in cutmix(1.0, seed=1)(IMAGES, ONE_HOT)[0]:
        values = np.unique(image)
        assert set(values) <= set(10.0 * np.arange(6))
        if len(values) == 2:
            for value in values:
                rows, columns = np.nonzero(image[..., 0] == value)
                area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
                several += area == len(rows)
    assert several > 0


def test_training_batches_are_mixed_and_validation_batches_are_not(tiny, split):
    batches = []

    def recording(images, labels):
        batches.append((images, labels))
        return mixup(0.8, seed=2)(images, labels)

    mixed = split.batches(8, shuffle=True, mix=recording, classes=3)
    history = fine_tune(tiny, mixed, split, epochs=2)
    assert {len(images) for images, _ in batches} == {8, 4}
    assert len(batches) >= 4
    assert {labels.shape[1] for _, labels in batches} == {3}
    # the validation loss is that of plain images and labels
    tiny.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, _ = tiny.evaluate(split.images, split.labels, verbose=0)
    assert loss == pytest.approx(min(history.history["val_loss"]), rel=1e-4)


def test_a_batch_of_one_image_is_not_changed():
    images, labels = mixup()(IMAGES[:1], ONE_HOT[:1])
    np.testing.assert_allclose(images, IMAGES[:1], atol=1e-4)
    np.testing.assert_allclose(labels, ONE_HOT[:1], atol=1e-6)


def test_a_split_returns_mixed_batches():
    images, labels = Split(IMAGES, np.arange(6)).batches(4, classes=6, mix=cutmix(seed=0))[0]
    assert images.shape == (4, 8, 8, 3)
    assert labels.shape == (4, 6)
