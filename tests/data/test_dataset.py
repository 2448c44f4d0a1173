"""Splits: labels and names, unlabelled splits that leak no labels, and batches for Keras."""

import gc

import numpy as np
import pytest

from tlkit.data import Card, Dataset, Split
from tlkit.errors import DataError, NoLabelsError, UnknownNameError


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype="uint8")


@pytest.fixture
def split(images):
    labels = np.arange(10) % 3
    return Split(images, labels, [f"{n}.png" for n in "abcdefghij"], {"group": labels.astype(str)})


def reachable(root):
    found, queue = {}, [root]
    while queue:
        each = queue.pop()
        if id(each) not in found and not isinstance(each, type) and not hasattr(each, "__code__"):
            found[id(each)] = each
            queue += gc.get_referents(each)
    return found


def test_labels_are_always_int32(images):
    assert Split(images, [0, 1] * 5).labels.dtype == np.int32


def test_names_are_indices_by_default(images):
    assert Split(images).names.tolist()[:2] == ["0", "1"]


@pytest.mark.parametrize("column", [{"labels": [0]}, {"names": ["a"]}, {"attributes": {"group": ["a"]}}])
def test_a_column_of_another_length_is_refused(images, column):
    with pytest.raises(DataError, match=r"shape \(1,\), but there are 10 images"):
        Split(images, **column)


def test_images_that_are_not_uint8_rgb_are_refused(images):
    with pytest.raises(DataError, match="float64 were given; expected uint8"):
        Split(images / 255.0)
    with pytest.raises(DataError, match="shape \\(10, 4, 4\\)"):
        Split(images[..., 0])


def test_labels_that_are_not_integers_are_refused(images):
    with pytest.raises(DataError, match="expected integers"):
        Split(images, ["cat", "dog"] * 5)


def test_a_subset_has_every_column(split):
    few = split.subset([4, 1])
    assert few.labels.tolist() == [1, 1]
    assert few.names.tolist() == ["e.png", "b.png"]
    assert few.attributes["group"].tolist() == ["1", "1"]
    np.testing.assert_array_equal(few.images, split.images[[4, 1]])
    assert len(split.subset(split.labels == 0)) == 4
    assert len(split.subset(slice(2))) == 2
    assert len(split.subset([])) == 0
    assert len(split.subset([0]).unlabelled().subset([0])) == 1


def test_an_unlabelled_split_has_no_labels_to_read(split):
    assert not split.unlabelled().labelled
    with pytest.raises(NoLabelsError, match="no labels to read"):
        _ = split.unlabelled().labels


def test_no_labels_attributes_or_names_are_reachable_from_an_unlabelled_split(split):
    found = set(reachable(vars(split.unlabelled())))
    assert id(split.images) in found
    hidden = {id(split.labels), id(split.attributes), id(split.attributes["group"]), id(split.names)}
    assert not hidden & found
    assert split.unlabelled().batches().labels is None


def test_batches_cover_every_example_once_in_order(split):
    batches = split.batches(4)
    assert len(batches) == 3
    np.testing.assert_array_equal(np.concatenate([batches[i][0] for i in range(3)]), split.images)
    np.testing.assert_array_equal(np.concatenate([batches[i][1] for i in range(3)]), split.labels)
    assert batches[0][0].dtype == np.uint8


def test_batches_without_labels_are_images_alone(split):
    assert isinstance(split.batches(4, labels=False)[0], np.ndarray)
    assert isinstance(split.unlabelled().batches(4)[0], np.ndarray)


def test_shuffled_batches_differ_by_epoch_and_repeat_by_seed(split):
    def two_epochs(seed):
        batches = split.batches(10, shuffle=True, seed=seed)
        first = batches[0]
        batches.on_epoch_end()
        return first, batches[0]

    (one, labels), (two, _) = two_epochs(seed=1)
    repeated, other = two_epochs(seed=1), two_epochs(seed=2)
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, repeated[0][0])
    np.testing.assert_array_equal(two, repeated[1][0])
    assert not np.array_equal(one, other[0][0])
    order = [int(np.nonzero((split.images == image).all((1, 2, 3)))[0][0]) for image in one]
    np.testing.assert_array_equal(labels, split.labels[order])


def test_a_batch_size_below_one_is_refused(split):
    with pytest.raises(DataError, match="batch_size=0 was given; expected at least 1"):
        split.batches(0)


def test_keras_fits_and_predicts_from_batches(split):
    import keras

    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(split.batches(4, shuffle=True), epochs=2, verbose=0)
    assert model.predict(split.unlabelled().batches(4), verbose=0).shape == (10, 3)


def test_the_fingerprint_depends_on_the_pixels_alone(split, images):
    assert split.fingerprint() == split.unlabelled().fingerprint()
    images[0, 0, 0, 0] ^= 1
    assert split.fingerprint() != Split(images.copy()[:9]).fingerprint()
    assert Split(images.copy()).fingerprint() != Split(images ^ 1).fingerprint()


def test_the_text_of_a_dataset_is_a_summary(split):
    card = Card("mine", "My images", "", "CC0", "", "", ["a", "b", "c"], {"train": 10}, 4)
    dataset = Dataset(split, None, split.subset([0]), ["a", "b", "c"], card)
    assert repr(dataset).splitlines() == [
        "My images (mine)",
        "  3 classes: a, b, c",
        "  images: train 10, test 1; 4 x 4 pixels",
        "  licence: CC0",
    ]
    assert list(dataset.splits) == ["train", "test"]
    assert dataset.image_size == 4


def test_few_examples_per_class_are_nested_for_one_seed_and_differ_by_seed(split):
    one, two, three = (set(split.few(n, seed=5).names) for n in (1, 2, 3))
    assert one < two < three
    assert np.bincount(split.few(2, seed=5).labels).tolist() == [2, 2, 2]
    assert len({tuple(split.few(1, seed=seed).names) for seed in range(20)}) > 5
    np.testing.assert_array_equal(split.few(2, seed=5).images, split.few(2, seed=5).images)


def test_few_examples_keep_their_order_images_and_attributes(split):
    few = split.few(2)
    order = [split.names.tolist().index(name) for name in few.names]
    assert order == sorted(order)
    np.testing.assert_array_equal(few.images, split.images[order])
    assert few.attributes["group"].tolist() == few.labels.astype(str).tolist()


def test_more_examples_than_a_class_has_are_refused(split):
    with pytest.raises(DataError, match="Class 1 has 3 examples; expected at least per_class=4"):
        split.few(4)
    with pytest.raises(DataError, match="per_class=0 was given; expected at least 1"):
        split.few(0)
    with pytest.raises(NoLabelsError):
        split.unlabelled().few(1)


@pytest.fixture
def dataset(split):
    card = Card("mine", "My images", "", "CC0", "", "", ["a", "b", "c"], {"train": 10, "test": 5}, 4)
    duplicates = [("a.png", "a.png"), ("b.png", "b.png")]
    return Dataset(split, None, split.subset(slice(5)), ["a", "b", "c"], card, duplicates=duplicates)


def test_selected_classes_are_numbered_in_the_order_of_their_names(dataset):
    selected = dataset.only(["c", "a"])
    assert selected.class_names == selected.card.classes == ["c", "a"]
    assert selected.train.names.tolist() == [f"{n}.png" for n in "acdfgij"]
    assert selected.train.labels.tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert selected.train.attributes["group"].tolist() == ["0", "2", "0", "2", "0", "2", "0"]
    np.testing.assert_array_equal(selected.train.images, dataset.train.images[[0, 2, 3, 5, 6, 8, 9]])
    assert selected.validation is None
    assert selected.card.counts == {"train": 7, "test": 3}
    assert selected.card.licence == "CC0"
    assert selected.duplicates == [("a.png", "a.png")]
    assert dataset.class_names == dataset.card.classes == ["a", "b", "c"]


def test_unknown_repeated_or_too_few_classes_are_refused(dataset):
    with pytest.raises(UnknownNameError, match="no class of mine named 'd'"):
        dataset.only(["a", "d"])
    for names in (["a"], ["a", "a"]):
        with pytest.raises(DataError, match="at least 2, each once, of: a, b, c"):
            dataset.only(names)
    unlabelled = Dataset(dataset.train, None, dataset.test.unlabelled(), dataset.class_names, dataset.card)
    with pytest.raises(NoLabelsError):
        unlabelled.only(["a", "b"])


def test_batches_have_one_hot_labels_and_can_be_mixed():
    images = np.arange(6, dtype="uint8")[:, None, None, None] * np.ones((1, 4, 4, 3), "uint8")
    split = Split(images, [0, 1, 2, 0, 1, 2])
    batch, labels = split.batches(4, classes=3)[0]
    np.testing.assert_array_equal(labels, np.eye(3)[[0, 1, 2, 0]])
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(batch, images[:4])
    mixed = split.batches(4, classes=3, mix=lambda x, y: (x[::-1], y[::-1]))[0]
    np.testing.assert_array_equal(mixed[0], images[3::-1])
    np.testing.assert_array_equal(mixed[1], labels[::-1])


def test_mixing_needs_labels_and_the_number_of_classes():
    labelled = Split(np.zeros((2, 4, 4, 3), "uint8"), [0, 1])
    for split, options in ((labelled, {}), (labelled.unlabelled(), {"classes": 2})):
        with pytest.raises(DataError, match="expected both, since a mixed label"):
            split.batches(mix=lambda x, y: (x, y), **options)
