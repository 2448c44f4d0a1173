"""Arrays that are no images, and labels that are no classes, are refused before anything is computed."""

import warnings

import keras
import numpy as np
import pytest

from tlkit.backbones.engines import infer
from tlkit.data.cards import Card
from tlkit.data.dataset import Dataset, Split
from tlkit.data.labelled import check_labels, labelled
from tlkit.errors import DataError, TlkitError, TlkitWarning

IMAGES = np.random.default_rng(0).integers(0, 256, (600, 4, 4, 3), dtype="uint8")
LABELS = np.arange(600) % 2
ONE_HOT = np.eye(2)[LABELS]


def changed(array, row, value, dtype="float32"):
    array = array.astype(dtype)
    array[row] = value
    return array


@pytest.mark.parametrize("row", [0, 300, 599])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_image_that_is_not_finite_is_named(row, value, dtype):
    with pytest.raises(DataError, match=rf"Image {row} of train has NaN or infinite values"):
        labelled((changed(IMAGES, (row, 1, 2, 0), value, dtype), LABELS))


def test_the_sum_of_large_values_is_not_mistaken_for_infinity():
    with pytest.warns(TlkitWarning, match="The values of train"):
        labelled((np.full((600, 4, 4, 3), 3e38, "float32"), LABELS))


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (IMAGES / 255, "Multiply them by 255"),
        ((IMAGES > 128).astype("uint8"), "Multiply them by 255"),
        (IMAGES / 127.5 - 1, "Shift and scale"),
        (IMAGES.astype("uint16") * 257, "by 257"),
    ],
)
def test_another_range_than_0_to_255_is_warned_of(images, advice):
    with pytest.warns(TlkitWarning, match=f"The values of train go .* pixels from 0 to 255.*{advice}"):
        labelled((images, LABELS))


@pytest.mark.parametrize("images", [IMAGES, IMAGES.astype("float32"), np.zeros_like(IMAGES)])
def test_pixels_from_0_to_255_are_accepted_in_silence(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labelled((images, LABELS))


NO_IMAGES = {
    "strings": np.full((2, 4, 4, 3), "a"),
    "objects": IMAGES[:2].astype(object),
    "complex": IMAGES[:2].astype("complex64"),
    "images of two sizes": [IMAGES[0], IMAGES[0, :2]],
    "nothing": None,
    "a number": 3.0,
}


@pytest.mark.parametrize("images", NO_IMAGES.values(), ids=NO_IMAGES)
def test_what_is_no_array_of_numbers_is_refused(images):
    with pytest.raises(DataError, match="expected"):
        labelled((images, [0, 1]))
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(TlkitError, match="expected"):
        infer(network, images, engine="predict")
    with pytest.raises(DataError, match="expected uint8 RGB"):
        Split(images, [0, 1])


@pytest.mark.parametrize("images", [IMAGES[..., 0], IMAGES[..., :1], IMAGES.transpose(0, 3, 1, 2)])
def test_images_of_another_layout_are_refused_with_the_shape_that_is_expected(images):
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(TlkitError, match=r"takes images of shape \(4, 4, 3\)"):
        infer(network, images, engine="predict")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (changed(LABELS, 5, np.nan), "Label 5 of train is NaN"),
        (changed(LABELS, 5, 0.5), "Label 5 of train is 0.5"),
        (changed(LABELS, 5, -1), "from -1 to 1"),
        (changed(LABELS, 5, 2), "from 0 to 2"),
        (changed(ONE_HOT, 5, np.nan), "Label 5 of train is NaN"),
        (changed(ONE_HOT, 5, [-0.5, 1.5]), "from -0.5 to 1.5"),
        (changed(ONE_HOT, 5, [2, 0]), "from 0 to 2"),
        (np.full(600, "cat"), "dtype <U3"),
        (np.full(600, None), "dtype object"),
        (np.zeros((600, 2, 2)), r"shape \(600, 2, 2\)"),
    ],
)
def test_labels_that_are_no_classes_are_named(labels, message):
    with pytest.raises(DataError, match=message):
        check_labels(labels, 2, "train")


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS.astype(float), LABELS[:, None], ONE_HOT, ONE_HOT * 0.8 + 0.1]
)
def test_classes_and_probabilities_are_accepted(labels):
    check_labels(labels, 2, "train")


def test_one_output_may_have_any_targets_from_0_to_1():
    check_labels(np.full(4, 0.3), 1, "train")
    with pytest.raises(DataError, match=r"from 0\.3 to 1\.5"):
        check_labels(np.array([0.3, 1.5]), 1, "train")


@pytest.mark.parametrize("weights", [changed(LABELS, 3, np.nan), changed(LABELS, 3, -1)])
def test_sample_weights_are_finite_and_not_negative(weights):
    with pytest.raises(DataError, match="sample weights of train must be finite"):
        labelled((IMAGES, LABELS, weights))


@pytest.mark.parametrize("label", [-1, 2**31])
def test_a_split_has_no_labels_that_are_no_index(label):
    with pytest.raises(DataError, match="expected class indices from 0"):
        Split(IMAGES[:2], [0, label])


def test_a_data_set_has_a_name_for_each_class():
    split = Split(IMAGES, LABELS)
    card = Card("a", "a", "", "", "", "", [], {}, 4)
    with pytest.raises(DataError, match="labels of train go up to 1, and there are 1 class names"):
        Dataset(split, None, None, ["cat"], card)
