"""Find the images in a folder, and read class and split from the names of the folders."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from tlkit.errors import DataError, TlkitWarning

ENDINGS = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".avif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
)
SPLIT_OF = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
UNDECIDED = ""  # the split of a file outside the folders train, validation and test


@dataclass(frozen=True, slots=True)
class Found:
    """An image file: its path, its path relative to the data set's folder, its class and its split.

    The split is "train", "validation" or "test", or `UNDECIDED`.
    """

    file: Path
    name: str
    class_name: str
    split: str


def find_images(root: Path) -> tuple[list[Found], list[str]]:
    """Return the image files in a folder and the class names, both in natural order.

    Hidden files and folders are ignored, and so are files without the ending of an image format.

    Raises:
        DataError: the folder is missing, has no images, has no sub-folder per class, or has fewer than two
            classes; or validation or test has a class that train lacks.
    """
    if not root.exists():
        raise DataError(
            f"There is no folder at {root}. Check the spelling; the working folder is {Path.cwd()}."
        )
    if not root.is_dir():
        raise DataError(
            f"{root} is a file; expected a folder with one sub-folder per class. Give the folder's path."
        )
    folders = _split_folders(root)
    found = [
        Found(file, file.relative_to(root).as_posix(), class_folder.name, split)
        for split, folder in folders.items()
        for class_folder in _class_folders(folder)
        for file in images_below(class_folder)
    ]
    if not found:
        raise DataError(
            f"There are no images below {root}. Expected one sub-folder per class with files that end in "
            f"{', '.join(ENDINGS)}."
        )
    class_names = [folder.name for folder in _class_folders(next(iter(folders.values())))]
    unknown = sorted(
        {f"{each.split}/{each.class_name}" for each in found if each.class_name not in class_names}
    )
    if unknown:
        raise DataError(
            f"{', '.join(unknown)}: not among the classes of train ({', '.join(class_names)}), so a model "
            "cannot learn them. Rename or move these folders, or add the classes to train."
        )
    if len(class_names) < 2:
        raise DataError(
            f"There is only one class below {root}: {class_names[0]!r}. Classification needs at least two: "
            "add a sub-folder for each class."
        )
    return found, class_names


def natural_order(name: str) -> tuple:
    """Return a sort key that compares numbers by value: class2 comes before class10.

    >>> sorted(["class10", "class2", "Class1"], key=natural_order)
    ['Class1', 'class2', 'class10']
    """
    parts = re.split("([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _split_folders(root: Path) -> dict[str, Path]:
    named: dict[str, Path] = {}
    others = []
    for folder in _folders(root):
        split = SPLIT_OF.get(folder.name.lower())
        if split and split not in named:
            named[split] = folder
        else:
            others.append(folder.name)
    # "train" can also be a class, next to "bus" and "car"; a class folder has no folders in it.
    if "train" not in named or (others and not _folders(named["train"])):
        return {UNDECIDED: root}
    if others:
        warnings.warn(
            f"{root} has a train folder, so only one other folder for validation (or val, valid) and one for "
            f"test are read. Left out: {', '.join(others)}.",
            TlkitWarning,
            stacklevel=2,
        )
    return {split: named[split] for split in ("train", "validation", "test") if split in named}


def _class_folders(folder: Path) -> list[Path]:
    folders = _folders(folder)
    if not folders and any(_is_image(each) for each in folder.iterdir()):
        raise DataError(
            f"The images lie directly in {folder}, so their classes are unknown. Sort them into one "
            f"sub-folder per class, such as {folder / 'cat'} and {folder / 'dog'}."
        )
    return folders


def _folders(folder: Path) -> list[Path]:
    inside = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    return sorted(inside, key=lambda each: natural_order(each.name))


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and its sub-folders, in natural order, without hidden files."""
    images = [each for each in folder.iterdir() if _is_image(each)]
    images.sort(key=lambda each: natural_order(each.name))
    return images + [file for inner in _folders(folder) for file in images_below(inner)]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
