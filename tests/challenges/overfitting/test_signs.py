import keras
import numpy as np
import pytest

from tlkit.challenges.overfitting import distance_from_start, generalisation_gap, shuffled_labels
from tlkit.data import Split
from tlkit.errors import DataError, NoLabelsError, TlkitError
from tlkit.models import backbone_of
from tlkit.techniques.fine_tuning import fine_tune

HISTORY = {"loss": [1.0, 0.5], "val_loss": [1.5, 2.0], "accuracy": [0.5, 1.0], "val_accuracy": [0.5, 0.25]}


def test_the_gap_is_above_0_if_the_model_is_better_on_training_images():
    np.testing.assert_allclose(generalisation_gap(HISTORY), [0, 0.75])
    np.testing.assert_allclose(generalisation_gap(HISTORY, "loss"), [0.5, 1.5])
    history = keras.callbacks.History()
    history.history = HISTORY
    np.testing.assert_allclose(generalisation_gap(history), [0, 0.75])


def test_a_history_without_validation_is_refused():
    with pytest.raises(TlkitError, match="but not 'val_accuracy'"):
        generalisation_gap({"accuracy": [1.0]})
    with pytest.raises(TlkitError, match="but not 'auc'"):
        generalisation_gap(HISTORY, "auc")


def test_only_the_stage_that_moved_has_a_distance(tiny):
    start = tiny.get_weights()
    conv = backbone_of(tiny).get_layer("conv2")
    conv.kernel.assign(1.5 * np.array(conv.kernel))
    backbone_of(tiny).get_layer("conv2_bn").moving_mean.assign(np.full(4, 9.0))  # not a trained weight
    table = distance_from_start(tiny, start)
    assert table.index.tolist() == ["conv1", "conv2", "dense", "head"]
    assert table["weights"].tolist() == [3 * 3 * 3 * 4 + 4 + 8, 16 + 4 + 8, 64 * 6 + 6, 6 * 3 + 3]
    moved = 0.5 * np.linalg.norm(np.array(conv.kernel) / 1.5)
    size = np.sqrt(np.sum((np.array(conv.kernel) / 1.5) ** 2) + 4)  # plus the four scales of 1
    np.testing.assert_allclose(table["distance"], [0, moved, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(table["relative"], [0, moved / size, 0, 0], rtol=1e-5)
    by_layer = distance_from_start(tiny, start, by="layer")
    assert by_layer["relative"]["conv2"] == pytest.approx(0.5, rel=1e-5)
    assert by_layer["relative"].drop("conv2").eq(0).all()


def test_a_start_of_another_network_is_refused(tiny, lenet):
    with pytest.raises(TlkitError, match=r"Keep start = model.get_weights\(\) before"):
        distance_from_start(tiny, lenet)
    with pytest.raises(TlkitError, match="by='block'"):
        distance_from_start(tiny, tiny, by="block")


def test_shuffling_keeps_the_counts_and_the_images():
    labels = np.repeat(np.arange(5), [3, 10, 20, 30, 37])
    split = Split(np.zeros((100, 8, 8, 3), "uint8"), labels, attributes={"size": np.arange(100)})
    for fraction, changed in ((1.0, 60), (0.3, 10)):
        shuffled = shuffled_labels(split, fraction, seed=1)
        np.testing.assert_array_equal(np.bincount(shuffled.labels), np.bincount(labels))
        assert changed < np.sum(shuffled.labels != labels) <= 100 * fraction
        np.testing.assert_array_equal(shuffled.labels, shuffled_labels(split, fraction, seed=1).labels)
        assert not np.array_equal(shuffled.labels, shuffled_labels(split, fraction, seed=2).labels)
        assert shuffled.images is split.images
        assert shuffled.attributes["size"] is split.attributes["size"] or np.array_equal(
            shuffled.attributes["size"], split.attributes["size"]
        )
    np.testing.assert_array_equal(shuffled_labels(split, 0.0).labels, labels)
    np.testing.assert_array_equal(split.labels, labels)  # the original is unchanged


def test_shuffling_half_of_the_labels_keeps_the_other_half():
    split = Split(np.zeros((60, 8, 8, 3), "uint8"), np.arange(60))
    half = shuffled_labels(split, 0.5, seed=3)
    assert np.sum(half.labels != split.labels) > 20
    assert np.sum(half.labels == split.labels) >= 30


def test_a_network_memorises_shuffled_labels(tiny, split):
    shuffled = shuffled_labels(split, seed=0)
    fine_tune(tiny, shuffled, epochs=30, batch_size=12, learning_rate=0.05)
    random = np.random.default_rng(1)
    other, labels = random.integers(0, 256, (300, 8, 8, 3)).astype("uint8"), random.integers(0, 3, 300)
    assert np.mean(np.argmax(tiny(shuffled.images), axis=1) == shuffled.labels) == 1
    assert 0.2 < np.mean(np.argmax(tiny(other), axis=1) == labels) < 0.47


def test_an_invalid_fraction_or_an_unlabelled_split_is_refused(split):
    with pytest.raises(DataError, match="expected 0 to 1, such as"):
        shuffled_labels(split, 1.5)
    with pytest.raises(NoLabelsError):
        shuffled_labels(split.unlabelled())
