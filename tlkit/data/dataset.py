"""Images with or without labels, and the splits of a data set."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.data.cards import Card
from tlkit.data.images import ImageFiles, digest
from tlkit.errors import DataError, NoLabelsError, UnknownNameError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Split:
    """Images, and what is known about each of them.

    Args:
        images: uint8 (n, height, width, 3), values 0 to 255, or `ImageFiles`.
        labels: int (n,) class indices, or None where nobody knows them.
        names: (n,) what each image is; by default its number.
        attributes: further labels of each image by name, each (n,).

    Raises:
        DataError: the images are not uint8 RGB, or the lengths differ.

    >>> split = Split(np.zeros((4, 8, 8, 3), "uint8"), [0, 1, 0, 1])
    >>> len(split), split.labels.tolist(), split.unlabelled().labelled
    (4, [0, 1, 0, 1], False)
    """

    images: np.ndarray | ImageFiles
    names: np.ndarray
    attributes: dict[str, np.ndarray]
    _labels: np.ndarray | None

    def __init__(
        self,
        images: np.ndarray | ImageFiles,
        labels: np.ndarray | Sequence[int] | None = None,
        names: np.ndarray | Sequence[str] | None = None,
        attributes: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        shape, dtype = tuple(images.shape), images.dtype
        if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8:
            raise DataError(
                f"Images of shape {shape} and dtype {dtype} were given; expected uint8 RGB pixels from 0 "
                "to 255 of shape (n, height, width, 3). For floats from 0 to 1: "
                "(255 * images).astype('uint8')."
            )
        columns = {
            "names": np.asarray(np.arange(shape[0]) if names is None else names).astype(str),
            **{key: np.asarray(values) for key, values in (attributes or {}).items()},
        }
        if labels is not None:
            columns["labels"] = np.asarray(labels)
            if columns["labels"].size and columns["labels"].dtype.kind not in "iu":
                raise DataError(
                    f"Labels of dtype {columns['labels'].dtype} were given; expected integers, the index of "
                    "each image's class. For names: [class_names.index(name) for name in labels]."
                )
        for key, values in columns.items():
            if values.shape != (shape[0],):
                raise DataError(
                    f"{key!r} has shape {values.shape}, but there are {shape[0]} images; expected shape "
                    f"({shape[0]},), one value for each image in the same order."
                )
        label_column = columns.pop("labels", None)
        vars(self).update(
            images=images,
            names=columns.pop("names"),
            attributes=columns,
            _labels=None if label_column is None else label_column.astype("int32"),
        )

    def __len__(self) -> int:
        return self.images.shape[0]

    def __repr__(self) -> str:
        _, height, width, _ = self.images.shape
        return f"Split({len(self)} {'' if self.labelled else 'unlabelled '}images, {height} x {width} pixels)"

    @property
    def labelled(self) -> bool:
        return self._labels is not None

    @property
    def labels(self) -> np.ndarray:
        """Class indices, int32 (n,). Raises NoLabelsError where the split has none."""
        if self._labels is None:
            raise NoLabelsError(
                "This split is unlabelled: there are no labels to read. A technique that needs them must be "
                "given a labelled split, such as the source domain's."
            )
        return self._labels

    def subset(self, indices: np.ndarray | Sequence[int] | slice) -> "Split":
        """Return the chosen examples, in the order of `indices` (integers, a boolean mask or a slice)."""
        chosen = np.arange(len(self))[indices if isinstance(indices, slice | np.ndarray) else list(indices)]
        images = self.images
        return Split(
            images.take(chosen) if isinstance(images, ImageFiles) else images[chosen],
            None if self._labels is None else self._labels[chosen],
            self.names[chosen],
            {key: values[chosen] for key, values in self.attributes.items()},
        )

    def few(self, per_class: int, *, seed: int = 0) -> "Split":
        """Return that many examples of each class, chosen at random; those of few(3) lie in few(10).

        Raises:
            DataError: `per_class` is below 1, or a class has fewer examples.
            NoLabelsError: the split is unlabelled.

        >>> split = Split(np.zeros((6, 8, 8, 3), "uint8"), [0, 0, 0, 1, 1, 1])
        >>> split.few(2).labels.tolist()
        [0, 0, 1, 1]
        """
        if per_class < 1:
            raise DataError(f"{per_class} examples of each class were asked for; ask for at least 1.")
        chosen: list[int] = []
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            if len(members) < per_class:
                raise DataError(
                    f"Class {label} has {len(members)} examples, {per_class} of each were asked for. Ask for "
                    "fewer, or leave out the small classes: Dataset.only(names)."
                )
            chosen += np.random.default_rng([seed, label]).permutation(members)[:per_class].tolist()
        return self.subset(sorted(chosen))

    def unlabelled(self) -> "Split":
        """Return the same images alone: without labels, without attributes, and with numbers for names.

        The names go too, since "cat/001.jpg" or "1F408 cat" tells the label.
        """
        return Split(self.images)

    def batches(
        self,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int = 0,
        labels: bool = True,
        augment: Callable[[np.ndarray], Any] | None = None,
        classes: int | None = None,
        mix: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> "keras.utils.PyDataset":
        """Return the split as input for `fit`, `evaluate` and `predict` of any Keras model.

        Each batch is (images, labels), or only images when `labels` is false or the split has none: uint8
        (batch, height, width, 3) and int32 (batch,). With `shuffle` every epoch has another order, the same
        one for the same seed. Files are decoded when their batch is asked for. Keras's `fit` also changes the
        order of the batches, from Python's `random`; `fit(shuffle=False)` leaves it, and then the next batch
        of files is decoded while one is in use. `augment` maps the images of a batch to others of the same
        shape and range, as the layers of keras_cv do. With `classes` the labels are float32 (batch, classes),
        1 for the class; `mix` then maps images and labels of a batch to mixed ones, as mixup does.

        Raises:
            DataError: the batch size is below 1, or there is nothing that `mix` could mix.
        """
        from tlkit.data.batches import Batches  # imports Keras, which plain arrays can do without

        given = self._labels if labels else None
        return Batches(self.images, given, batch_size, shuffle, seed, augment, classes=classes, mix=mix)

    def fingerprint(self) -> str:
        """Return a hex digest of the pixels and their shape; the same for files and for arrays.

        >>> images = np.zeros((4, 8, 8, 3), "uint8")
        >>> Split(images, [0, 1, 0, 1]).fingerprint() == Split(images).fingerprint()
        True
        """
        images = self.images
        digests = images.digests if isinstance(images, ImageFiles) else [digest(image) for image in images]
        return hashlib.blake2b(repr(images.shape).encode() + b"".join(digests), digest_size=16).hexdigest()


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """A data set's splits, the names of its classes, and its card.

    `skipped` has "path: reason" of each file (or row of a table) that took no part; `duplicates` has the
    names of identical images that lie in two different splits.
    """

    train: Split
    validation: Split | None
    test: Split | None
    class_names: list[str]
    card: Card
    skipped: list[str] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.train.images.shape[1]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def only(self, class_names: Iterable[str]) -> "Dataset":
        """Return the named classes alone, numbered in the given order; the card's checksum is the whole's.

        Raises:
            UnknownNameError: there is no such class.
            DataError: fewer than 2 classes, or one twice.
            NoLabelsError: a split is unlabelled.
        """
        wanted = list(class_names)
        for name in wanted:
            if name not in self.class_names:
                raise UnknownNameError(f"class of {self.card.name}", name, self.class_names)
        if len(wanted) < 2 or len(set(wanted)) < len(wanted):
            raise DataError(
                f"The classes {wanted} were asked for; expected at least 2, each once, of: "
                f"{', '.join(self.class_names)}."
            )
        place = np.full(len(self.class_names), -1)
        place[[self.class_names.index(name) for name in wanted]] = range(len(wanted))
        parts: dict[str, Any] = {}
        for name, split in self.splits.items():
            kept = split.subset(place[split.labels] >= 0)
            parts[name] = Split(kept.images, place[kept.labels], kept.names, kept.attributes)
        counts = {name: len(split) for name, split in parts.items()}
        here = {name for split in parts.values() for name in split.names.tolist()}
        return replace(
            self,
            **parts,
            class_names=wanted,
            card=replace(self.card, classes=wanted, counts=counts),
            duplicates=[pair for pair in self.duplicates if here.issuperset(pair)],
        )

    def __repr__(self) -> str:
        kind, names = "classes", self.class_names
        if not names:
            names = list(self.train.attributes)
            kind = "column" if len(names) == 1 else "columns"
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        counts = ", ".join(f"{name} {len(split)}" for name, split in self.splits.items())
        lines = [
            f"{self.card.title} ({self.card.name})",
            f"  {len(names)} {kind}: {shown}",
            f"  images: {counts}; {self.image_size} x {self.image_size} pixels",
            f"  licence: {self.card.licence}",
        ]
        if self.skipped:
            lines.append(f"  skipped: {len(self.skipped)}")
        if self.duplicates:
            lines.append(f"  duplicates, which lie in two splits: {len(self.duplicates)}")
        return "\n".join(lines)
