"""Load a folder of images as a data set."""

import posixpath
import shlex
import warnings
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np

from tlkit._internal.sizes import check_image_size
from tlkit.data.cards import Card
from tlkit.data.dataset import Dataset, Split
from tlkit.data.images import ImageFiles, scan
from tlkit.data.layout import UNDECIDED, find_images, folder_at, images_below, printable
from tlkit.data.splits import are_classes, stratified
from tlkit.errors import DataError, TlkitWarning

IN_MEMORY_BYTES = 500_000_000
UNREADABLE_LIMIT = 0.1


def load_folder(
    path: str | Path,
    *,
    image_size: int = 224,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    in_memory: bool | None = None,
    progress: bool = False,
) -> Dataset:
    """Load a folder of images with one sub-folder per class.

    These layouts are read, where `path` is the folder and `1.jpg` stands for the images:

    - `path/cat/1.jpg`, `path/dog/1.jpg`: each class is split at random.
    - `path/train/cat/1.jpg`, `path/validation/cat/1.jpg`, `path/test/cat/1.jpg`: the folders are the splits.
    - `path/cat/train/1.jpg`, `path/cat/test/1.jpg`: each class folder contains its splits.

    Only train is required: a missing validation split is split off from train, a missing test split stays
    missing. Other names of splits are read, too, such as `Training`, `val`, `test_set`, and `seg_train` next
    to `seg_test`. A class folder may contain folders, as in `path/cat/images/1.jpg`. A folder that contains
    only another folder is skipped, as in `path/archive/train/train/cat/1.jpg`. A test folder whose images are
    not sorted into classes is left out with a warning. For a table of labels, see `load_table`.

    Every file is decoded once while the folder is loaded. Unreadable files are left out with a warning.

    Args:
        path: the folder.
        image_size: height and width in pixels; `tlkit.data.decode.decode` crops the images to squares.
        validation, test: fractions of each class to split off; 0 for no such split.
        seed: chooses the random split, which depends on the seed and the file names alone.
        in_memory: keep the decoded images in memory (True), or decode them at each access (False); None
            keeps up to 0.5 GB.
        progress: show a progress bar.

    Warns:
        TlkitWarning: files or folders are left out; it is doubtful which folders are the classes; identical
            images are in two splits, or have different classes.

    Raises:
        DataError: the folder is missing, is empty or has another layout; a class is missing from train or
            has too few images; only some classes contain splits; more than 10 % of the files are unreadable.
    """
    root = folder_at(path)
    found, class_names = find_images(root)
    pixels, digests, kept, skipped = read_files(
        root, [each.file for each in found], image_size, in_memory, progress
    )
    found = [found[row] for row in kept]
    names = np.array([each.name for each in found])
    labels = np.array([class_names.index(each.class_name) for each in found])
    part = np.array([each.split for each in found], dtype="U10")

    to_split = np.isin(part, ["train", UNDECIDED])
    part[to_split] = stratified(
        [f"{seed}/{name}" for name in names[to_split]],
        labels[to_split],
        class_names,
        validation=0 if "validation" in part else validation,
        test=test if UNDECIDED in part else 0,
    )
    inside = posixpath.commonpath(names.tolist())
    return as_dataset(
        root,
        Split(pixels, labels, names),
        part,
        class_names,
        digests,
        skipped,
        name=str(path),
        description=f"A folder of images{inside and f'; the classes are in {inside}'}.",
    )


def load_unsorted(path: str | Path, *, image_size: int = 224, progress: bool = False) -> Dataset:
    """Load all images in a folder and its sub-folders, without labels.

    Args:
        path: the folder.
        image_size: height and width in pixels.
        progress: show a progress bar.

    Returns:
        A data set with an unlabelled train split, and without classes.

    Raises:
        DataError: the folder is missing or contains no images; more than 10 % of the files are unreadable.
    """
    root = folder_at(path)
    files = images_below(root)
    if not files:
        raise DataError(f"There are no images below {root}. Expected files such as .jpg or .png.")
    pixels, digests, kept, skipped = read_files(root, files, image_size, None, progress)
    whole = Split(pixels, None, [printable(files[row].relative_to(root)) for row in kept])
    part = np.full(len(kept), "train")
    return as_dataset(root, whole, part, [], digests, skipped, name=str(path))


def read_files(
    root: Path, files: list[Path], image_size: int, in_memory: bool | None, progress: bool
) -> tuple[np.ndarray | ImageFiles, list[bytes], list[int], list[str]]:
    """Decode every file once, and leave out unreadable files with a warning.

    Returns:
        The images, uint8 `(n, image_size, image_size, 3)`, as an array or as `ImageFiles`; the digest of each
        image; the index of each image in `files`; and "path: reason" for each file that could not be read.

    Raises:
        DataError: more than 10 % of the files are unreadable.
    """
    check_image_size(image_size)
    keep = len(files) * image_size**2 * 3 <= IN_MEMORY_BYTES if in_memory is None else in_memory
    images, outcomes = scan(files, image_size, keep, progress)
    skipped = [str(outcome) for outcome in outcomes if isinstance(outcome, DataError)]
    _report_skipped(root, skipped, len(files))
    kept = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, bytes)]
    digests = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    if images is None:
        # A path object takes four times the memory of a string, and there may be a million files.
        return ImageFiles([str(files[row]) for row in kept], image_size, digests), digests, kept, skipped
    return (images[kept] if skipped else images), digests, kept, skipped


def as_dataset(
    root: Path,
    whole: Split,
    part: np.ndarray,
    class_names: list[str],
    digests: list[bytes],
    skipped: list[str],
    *,
    name: str,
    description: str = "A folder of images.",
) -> Dataset:
    """Return the data set of a folder, divided into the splits that `part` `(n,)` names, with a card."""
    _warn_contradictions(root, digests, whole, class_names)
    splits = {
        split: whole.subset(part == split) for split in ("train", "validation", "test") if split in part
    }
    card = Card(
        name=printable(name),
        title=printable(root.resolve().name),
        description=description,
        licence="unknown (yours)",
        source=printable(root.resolve()),
        citation="",
        classes=class_names,
        counts={split: len(each) for split, each in splits.items()},
        image_size=whole.images.shape[1],
    )
    return Dataset(
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        class_names,
        card,
        skipped,
        _duplicates(digests, whole.names.tolist(), part.tolist()),
    )


def _report_skipped(root: Path, skipped: list[str], n: int) -> None:
    if not skipped:
        return
    message = (
        f"{len(skipped)} of {n} image files below {root} could not be read: "
        f"{'; '.join(skipped[:3])}{'; ...' if len(skipped) > 3 else ''}."
    )
    if len(skipped) > UNREADABLE_LIMIT * n:
        raise DataError(
            f"{message} That is more than {UNREADABLE_LIMIT:.0%}: copy the folder again from its source, or "
            "remove these files."
        )
    warnings.warn(f"{message} They are left out.", TlkitWarning, stacklevel=2)


def _duplicates(digests: list[bytes], names: list[str], part: list[str]) -> list[tuple[str, str]]:
    pairs = _identical(digests, names, part)
    if pairs:
        warnings.warn(
            f"Identical images are in different splits, {_in_words(pairs)}. This is a leak: a model is "
            "evaluated on images that it was trained on, so its accuracy is overestimated. Remove one of "
            "each (see Dataset.duplicates).",
            TlkitWarning,
            stacklevel=2,
        )
    return pairs


def _warn_contradictions(root: Path, digests: list[bytes], whole: Split, class_names: list[str]) -> None:
    """Warn if identical images have different classes, those of the folders or of the table's only column."""
    names, columns = whole.names.tolist(), list(whole.attributes.values())
    if class_names:
        classes = [class_names[label] for label in whole.labels]
        advice = f"Run `tlkit audit {shlex.quote(str(root))}`, and keep one of each."
    elif len(columns) == 1 and are_classes(columns[0]):
        classes, advice = columns[0].tolist(), "Correct the table."
    else:
        return
    named = (f"{name} ({label})" for name, label in zip(names, classes, strict=True))
    if pairs := _identical(digests, named, classes):
        warnings.warn(
            f"Identical images have different classes, {_in_words(pairs)}. At least one class of each pair "
            f"is wrong. {advice}",
            TlkitWarning,
            stacklevel=3,
        )


def _identical(digests: list[bytes], names: Iterable[str], groups: list[str]) -> list[tuple[str, str]]:
    """Return pairs of names of identical images in two different groups, without those in the group ""."""
    repeated = {digest for digest, count in Counter(digests).items() if count > 1}
    first: dict[bytes, dict[str, str]] = {}  # the first file of each content in each group
    for digest, name, group in zip(digests, names, groups, strict=True):
        if digest in repeated and group:
            first.setdefault(digest, {}).setdefault(group, name)
    return [pair for by_group in first.values() for pair in combinations(by_group.values(), 2)]


def _in_words(pairs: list[tuple[str, str]]) -> str:
    count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    shown = "; ".join(f"{one} and {other}" for one, other in pairs[:3])
    return f"{count}: {shown}{'; ...' if len(pairs) > 3 else ''}"
