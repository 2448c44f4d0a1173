"""`Split`: images with or without labels; `Dataset`: the splits of a data set and its class names."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit._internal.seeds import check_seed
from tlkit.data.cards import Card
from tlkit.data.images import ImageFiles, digest
from tlkit.errors import DataError, NoLabelsError, UnknownNameError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Split:
    """Images with names, and with class labels and further attributes if these are known.

    Args:
        images: uint8 `(n, height, width, 3)`, values 0 to 255, or `ImageFiles`.
        labels: integer `(n,)` class indices, or None if they are unknown.
        names: `(n,)` one name per image; by default its index.
        attributes: further labels by name, each `(n,)`.

    Raises:
        DataError: the images are not uint8 RGB, the labels are not integers of at least 0, or the lengths
            differ.

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
        shape, dtype = tuple(getattr(images, "shape", ())), getattr(images, "dtype", type(images).__name__)
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
            _check_indices(columns["labels"])
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
        """Whether the class labels are known."""
        return self._labels is not None

    @property
    def labels(self) -> np.ndarray:
        """The class indices, int32 `(n,)`; an unlabelled split raises NoLabelsError."""
        if self._labels is None:
            raise NoLabelsError(
                "This split is unlabelled: there are no labels to read. Pass a labelled split, such as the "
                "source domain's, to a technique that needs labels."
            )
        return self._labels

    def subset(self, indices: np.ndarray | Sequence[int] | slice) -> "Split":
        """Return the examples at `indices` (integers, a boolean mask or a slice), in that order."""
        chosen = np.arange(len(self))[indices if isinstance(indices, slice | np.ndarray) else list(indices)]
        images = self.images
        return Split(
            images.take(chosen) if isinstance(images, ImageFiles) else images[chosen],
            None if self._labels is None else self._labels[chosen],
            self.names[chosen],
            {key: values[chosen] for key, values in self.attributes.items()},
        )

    def few(self, per_class: int, *, seed: int = 0) -> "Split":
        """Return a random subset with `per_class` examples of each class.

        For the same seed, a smaller subset is part of every larger one: `few(10)` contains `few(3)`.

        Raises:
            DataError: `per_class` is below 1, or a class has too few examples.
            NoLabelsError: the split is unlabelled.

        >>> split = Split(np.zeros((6, 8, 8, 3), "uint8"), [0, 0, 0, 1, 1, 1])
        >>> split.few(2).labels.tolist()
        [0, 0, 1, 1]
        """
        check_seed(seed)
        if per_class < 1:
            raise DataError(f"per_class={per_class} was given; expected at least 1, such as 10.")
        chosen: list[int] = []
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            if len(members) < per_class:
                raise DataError(
                    f"Class {label} has {len(members)} examples; expected at least per_class={per_class}. "
                    "Choose a smaller per_class, or leave out the small classes: Dataset.only(names)."
                )
            chosen += np.random.default_rng([seed, label]).permutation(members)[:per_class].tolist()
        return self.subset(sorted(chosen))

    def unlabelled(self) -> "Split":
        """Return the same images without labels, attributes and names.

        Indices replace the names, since a name such as "cat/001.jpg" reveals the label.
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
        """Return the split as batches for `fit`, `evaluate` and `predict` of any Keras model.

        A batch is (images, labels): uint8 `(batch, height, width, 3)` and int32 `(batch,)`. It is the images
        alone if the split is unlabelled or `labels` is false. Files are decoded when their batch is
        requested. Keras's `fit` shuffles the order of the batches by default. With `fit(shuffle=False)` it
        keeps the order, and the next batch of files is decoded during the current step.

        Args:
            batch_size: images per batch, at least 1.
            shuffle: draw a new order of the examples in each epoch.
            seed: of the shuffling; the same seed gives the same orders.
            labels: whether a batch has labels.
            augment: maps the images of a batch to images of the same shape and range, as the layers of
                keras_cv do.
            classes: number of classes; labels are then one-hot, float32 `(batch, classes)`.
            mix: maps the images and one-hot labels of a batch to mixed ones, as mixup does; needs `classes`.

        Raises:
            DataError: the batch size is below 1, or `mix` lacks labels or `classes`.
        """
        from tlkit.data.batches import Batches  # imports Keras, which a split of arrays does not need

        batch_labels = self._labels if labels else None
        return Batches(
            self.images, batch_labels, batch_size, shuffle, seed, augment, classes=classes, mix=mix
        )

    def fingerprint(self) -> str:
        """Return a digest of the pixels and their shape, as hexadecimal digits.

        Labels and names do not count; files and arrays of the same pixels have the same digest.

        >>> images = np.zeros((4, 8, 8, 3), "uint8")
        >>> Split(images, [0, 1, 0, 1]).fingerprint() == Split(images).fingerprint()
        True
        """
        images = self.images
        digests = images.digests if isinstance(images, ImageFiles) else [digest(image) for image in images]
        return hashlib.blake2b(repr(images.shape).encode() + b"".join(digests), digest_size=16).hexdigest()


def _check_indices(labels: np.ndarray) -> None:
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 2**31:
        raise DataError(
            f"Labels from {labels.min()} to {labels.max()} were given; expected class indices from 0. Number "
            "the classes from 0, and leave out images without a label, or give no labels at all."
        )


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """A data set: its splits, its class names and its card.

    Attributes:
        train: the images to learn from.
        validation: the images for model selection, or None.
        test: the images for the final evaluation, or None.
        class_names: the name of each class, in the order of the labels.
        card: description, licence and source.
        skipped: "path: reason" for each file, or table row, that was left out.
        duplicates: pairs of names of identical images in two different splits.

    Raises:
        DataError: a label has no class name.
    """

    train: Split
    validation: Split | None
    test: Split | None
    class_names: list[str]
    card: Card
    skipped: list[str] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, split in self.splits.items() if self.class_names else ():
            largest = -1 if split._labels is None else int(split._labels.max(initial=-1))
            if largest >= len(self.class_names):
                raise DataError(
                    f"The labels of {name} go up to {largest}, and there are "
                    f"{len(self.class_names)} class names. Give one name for each class, in their order."
                )

    @property
    def image_size(self) -> int:
        """The height and width of the images in pixels."""
        return self.train.images.shape[1]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name: "train", "validation", "test"."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def only(self, class_names: Iterable[str]) -> "Dataset":
        """Return a data set of some classes only, numbered in the order of `class_names`.

        The card keeps the checksum of the whole data set.

        Raises:
            UnknownNameError: there is no such class.
            DataError: there are fewer than 2 names, or a name is repeated.
            NoLabelsError: a split is unlabelled.
        """
        selected = list(class_names)
        for name in selected:
            if name not in self.class_names:
                raise UnknownNameError(f"class of {self.card.name}", name, self.class_names)
        if len(selected) < 2 or len(set(selected)) < len(selected):
            raise DataError(
                f"The classes {selected} were given; expected at least 2, each once, of: "
                f"{', '.join(self.class_names)}."
            )
        new_index = np.full(len(self.class_names), -1)
        new_index[[self.class_names.index(name) for name in selected]] = range(len(selected))
        splits: dict[str, Any] = {}
        for name, split in self.splits.items():
            kept = split.subset(new_index[split.labels] >= 0)
            splits[name] = Split(kept.images, new_index[kept.labels], kept.names, kept.attributes)
        counts = {name: len(split) for name, split in splits.items()}
        remaining = {name for split in splits.values() for name in split.names.tolist()}
        return replace(
            self,
            **splits,
            class_names=selected,
            card=replace(self.card, classes=selected, counts=counts),
            duplicates=[pair for pair in self.duplicates if remaining.issuperset(pair)],
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
            lines.append(f"  duplicates across splits: {len(self.duplicates)}")
        return "\n".join(lines)
