"""Find the images in a folder, and read class and split from the names of the folders."""

import os
import re
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tlkit.errors import DataError, TlkitWarning

FORMATS = {  # the formats of images, by the names of Pillow, and the endings of their files
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm"),
}
ENDINGS = tuple(ending for endings in FORMATS.values() for ending in endings)
SPLITS = ("train", "validation", "test")
UNDECIDED = ""  # the split of a file outside the folders of splits

_FILLER = r"(?:[-_ ]*(?:data|set|split|folder|files|images?|imgs?|photos?|pictures?))*"
_NAMES = "(?P<train>train(?:ing)?)|(?P<validation>val(?:id(?:ation)?)?|dev)|(?P<test>test(?:ing)?)"
_SPLIT = re.compile(f"{_FILLER}[-_ ]*(?:{_NAMES}){_FILLER}", re.IGNORECASE)
_NO_CLASS = re.compile(f"{_FILLER}|unknown|unlabell?ed", re.IGNORECASE)  # test/unknown/1.jpg


@dataclass(frozen=True, slots=True)
class Found:
    """An image file: its path, its path relative to the data set's folder, its class and its split.

    The split is "train", "validation" or "test", or `UNDECIDED`.
    """

    file: Path
    name: str
    class_name: str
    split: str


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder with the images of one class in one split."""

    split: str
    class_name: str
    folder: Path


def find_images(root: Path) -> tuple[list[Found], list[str]]:
    """Return the image files in a folder and the class names, both in natural order.

    `tlkit.data.folder.load_folder` lists the layouts. Hidden files and folders are ignored, and so are files
    without the ending of an image format.

    Raises:
        DataError: the folder is missing, cannot be listed, has no images, has no sub-folder per class, or has
            fewer than two classes; validation or test has a class that train lacks; or only some classes are
            divided into splits.

    Warns:
        TlkitWarning: folders are left out, such as a test folder without classes, or a link to a folder that
            contains the link; or it is doubtful which folders are the classes.
    """
    root = folder_at(root)
    places = [replace(each, class_name=printable(each.class_name)) for each in _places(root)]
    found = [
        Found(file, printable(file.relative_to(root).as_posix()), place.class_name, place.split)
        for place in places
        for file in images_below(place.folder)
    ]
    if not found:
        raise DataError(
            f"There are no images below {root}. Expected one sub-folder per class with files that end in "
            f"{', '.join(ENDINGS)}."
        )
    class_names = [place.class_name for place in places if place.split in ("train", UNDECIDED)]
    unknown = sorted(
        {f"{each.split}/{each.class_name}" for each in found if each.class_name not in class_names}
    )
    if unknown:
        raise DataError(
            f"Train has no class for {', '.join(unknown)}, so a model cannot learn it; the classes of train "
            f"are {', '.join(class_names)}. Rename or move these folders, or add the classes to train."
        )
    if len(class_names) < 2:
        raise DataError(
            f"There is only one class below {root}: {class_names[0]!r}. Classification needs at least two: "
            f"add a sub-folder for each class.{_advice(root)}"
        )
    return found, class_names


def check_name(name: str | Path) -> None:
    """Raise DataError if the name of a data set or a folder is empty."""
    if not str(name).strip():
        raise DataError(
            "The name of the data is empty; expected a data set or a folder. The working folder is '.'."
        )


def folder_at(path: str | Path) -> Path:
    """Return the path of an existing folder, with the home folder in place of `~`.

    Raises:
        DataError: there is no folder at this path, or the path cannot be looked up, such as a name of more
            than 255 bytes.
    """
    check_name(path)
    reason = f"There is no folder at {printable(path)}"
    try:
        root = Path(path).expanduser()
        if root.is_dir():
            return root
        if root.exists():
            raise DataError(
                f"{printable(root)} is a file; expected a folder with one sub-folder per class. Give the "
                "folder's path."
            )
    except (OSError, RuntimeError, ValueError) as error:
        reason += f" ({getattr(error, 'strerror', None) or error})"
    raise DataError(f"{reason}. Check the spelling; the working folder is {Path.cwd()}.")


def natural_order(name: str) -> tuple:
    """Return a sort key that compares numbers by value: class2 comes before class10.

    >>> sorted(["class10", "class2", "Class1"], key=natural_order)
    ['Class1', 'class2', 'class10']
    """
    parts = re.split("([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def split_of(name: str) -> str | None:
    """Return the split that a name stands for, or None: "Training_Set" is train, "val" is validation.

    Capitals, spaces, `-` and `_` do not matter, nor do words such as data, set and images.

    >>> [split_of(name) for name in ("Training_Set", "val", "test images", "testset", "train station")]
    ['train', 'validation', 'test', 'test', None]
    """
    match = _SPLIT.fullmatch(name.strip())
    return match.lastgroup if match else None


def printable(name: object) -> str:
    r"""Return a path or a text in one line of valid Unicode: other bytes and line ends become escapes.

    >>> print(printable("two\nlines.png"), printable(os.fsdecode(b"caf\xe9.png")))
    two\x0alines.png caf\xe9.png
    """
    text = os.fsencode(str(name)).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda found: f"\\x{ord(found[0]):02x}", text)


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and its sub-folders, in natural order, without hidden files.

    Files are known by their endings. They include what cannot be read, such as named pipes and links to
    missing files: `tlkit.data.decode.decode` raises an error for these.

    Warns:
        TlkitWarning: a link to a folder whose images are already in the list is left out.

    Raises:
        DataError: a folder cannot be listed.
    """
    return [file for inside in _walk(folder, warn=True) for file in inside]


def _walk(folder: Path, *, warn: bool = False) -> Iterator[list[Path]]:
    """Yield the images of each folder below `folder`, of each real folder once, and of links last."""
    known, waiting, links = set[tuple[int, int]](), [folder], list[Path]()
    while waiting or links:
        current = waiting.pop() if waiting else links.pop(0)
        status = current.stat()
        if (status.st_dev, status.st_ino) in known or (current != folder and _is_loop(current)):
            if warn:
                _warn_loop(current)
            continue
        known.add((status.st_dev, status.st_ino))
        yield sorted(_images(current), key=lambda each: natural_order(each.name))
        for inner in reversed(_folders(current, loops=True)):
            (links if inner.is_symlink() else waiting).append(inner)


def _warn_loop(link: Path) -> None:
    warnings.warn(
        f"{printable(link)} is a link to a folder that is read under another name, so it is left out.",
        TlkitWarning,
        stacklevel=2,
    )


def _places(root: Path) -> list[_Place]:
    top = _unwrapped(root, _split_folders)
    named = _split_folders(top)
    if named:
        _warn_left_out(top, named)
        train = _unwrapped(named["train"])
        classes = _class_folders(train, root)
        _warn_doubtful(train, classes)
        found = {"train": classes}
        for split in SPLITS[1:]:
            if split in named:
                found[split] = _evaluated(named[split], split, {each.name for each in classes})
        return [_Place(split, each.name, each) for split, folders in found.items() for each in folders]
    classes = _class_folders(top, root)
    if divided := _divided(classes):
        return [
            _Place(split, folder.name, parts[split])
            for split in SPLITS
            for folder, parts in divided.items()
            if split in parts
        ]
    _warn_doubtful(top, classes)
    return [_Place(UNDECIDED, each.name, each) for each in classes]


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of each split; nothing if the folders in `folder` are not splits."""
    named: dict[str, Path] = {}
    folders = _folders(folder)
    for each, split in zip(folders, _splits_of([each.name for each in folders]), strict=True):
        if split:
            named.setdefault(split, each)
    others = [each for each in folders if each not in named.values()]
    if "train" not in named or (len(named) == 1 and others and _is_class(named["train"], others)):
        return {}
    return {split: named[split] for split in SPLITS if split in named}


def _splits_of(names: list[str]) -> list[str | None]:
    splits = [split_of(name) for name in names]
    if "train" not in splits:  # the folders may share the name of the data set: seg_train, seg_test
        prefix = re.sub("[^-_ ]*$", "", os.path.commonprefix(names))  # noqa: RUF071
        inner = [split_of(name.removeprefix(prefix)) for name in names]
        if len(set(inner) - {None}) > 1:  # one alone may be a class: steam_train next to steam_boat
            return inner
    return splits


def _is_class(train: Path, others: list[Path]) -> bool:
    """Return whether "train" is a class, next to "bus" and "car": it is built like the other classes."""
    inside = _names(train)
    return len(inside) < 2 and all(inside <= _names(other) for other in others)


def _divided(classes: list[Path]) -> dict[Path, dict[str, Path]]:
    """Return the folder of each split in each class folder; nothing if the classes are not divided.

    Raises:
        DataError: only some of the classes are.
    """
    parts = {
        each: {split: inner for inner in _folders(each) if (split := split_of(inner.name))}
        for each in classes
    }
    partly = [
        each.name
        for each, found in parts.items()
        if "train" not in found or len(found) < len(_folders(each)) or any(_images(each))
    ]
    if not partly:
        return parts
    whole = [each for each, found in parts.items() if "train" in found and len(found) > 1]
    if not whole:
        return {}
    inside = ", ".join(each.name for each in parts[whole[0]].values())
    raise DataError(
        f"{whole[0]} contains splits ({inside}), but other class folders have no train folder, or have "
        f"images or folders outside their splits: {_listed(partly)}. Put all images of each class into "
        "folders train, validation and test, or rename folders that are not splits."
    )


def _evaluated(folder: Path, split: str, class_names: set[str]) -> list[Path]:
    """Return the class folders of the validation or test split; none, with a warning, if it has none."""
    inner: Path | None = folder
    while inner and not class_names & _names(inner):
        inner = _wrapped(inner)
    folders = _folders(inner or folder)
    names = {each.name for each in folders}
    if names & class_names or not all(map(_says_nothing, names)) or not _holds_images(folder):
        return folders
    warnings.warn(
        f"The images in {folder} are not sorted into classes, so there is no {split} split: they are left "
        f"out. After training, `tlkit predict MODEL {shlex.quote(str(folder))}` classifies them.",
        TlkitWarning,
        stacklevel=2,
    )
    return []


def _unwrapped(folder: Path, has_splits: Callable[[Path], object] = lambda _: False) -> Path:
    """Return the folder with the splits or classes that `folder` only wraps: folder/archive/{cat,dog}."""
    chain = [folder]
    while not has_splits(chain[-1]) and (inner := _wrapped(chain[-1])):
        chain.append(inner)
    last = chain[-1]
    if has_splits(last):
        return last
    if len(_names(last)) < 2:
        return folder
    if last != folder and last.name != last.parent.name and not _NO_CLASS.fullmatch(last.name):
        warnings.warn(
            f"All images in {last.parent} are in its folder {last.name}, so the folders in {last.name} are "
            f"the classes: {_listed(_names(last))}.",
            TlkitWarning,
            stacklevel=2,
        )
    return last


def _wrapped(folder: Path) -> Path | None:
    """Return the only folder in `folder` with images, if all of these are in folders of it; else None.

    Other folders may have files, such as annotations. An empty folder is a class that lacks its images.
    """
    folders = _folders(folder)
    [*holding] = islice((each for each in folders if _holds_images(each)), 2)
    if len(holding) != 1 or any(_images(folder)) or any(_images(holding[0])):
        return None
    return None if any(not _entries(each, hidden=True) for each in folders) else holding[0]


def _says_nothing(name: str) -> bool:
    """Return whether a folder's name, such as images, data, test or unknown, is unlikely to be a class."""
    return bool(_NO_CLASS.fullmatch(name) or split_of(name))


def _class_folders(folder: Path, root: Path) -> list[Path]:
    folders = _folders(folder)
    for each in _folders(folder, loops=True):
        if each not in folders:
            _warn_loop(each)
    if not folders and any(_images(folder)):
        raise DataError(
            f"The images lie directly in {folder}, so their classes are unknown. Sort them into one "
            f"sub-folder per class, such as {folder / 'cat'} and {folder / 'dog'}.{_advice(root)}"
        )
    return folders


def _advice(root: Path) -> str:
    """Return what to do if a table next to the images may contain their labels."""
    tables = sorted(root.glob("*.csv"))
    tables.sort(key=lambda each: not re.search("train|label", each.name.lower()))  # the likeliest first
    if not tables:
        return ""
    table = tables[0]
    path, name = shlex.quote(str(root)), shlex.quote(table.name)
    return f" If {table.name} contains the labels, run `tlkit train-tasks {path} --labels {name}`."


def _warn_left_out(folder: Path, named: dict[str, Path]) -> None:
    others = [each for each in _folders(folder) if each not in named.values() and _holds_images(each)]
    if others:
        warnings.warn(
            f"{folder} has a train folder, so only one other folder for validation (or val, valid) and one "
            f"for test are read. Left out: {', '.join(each.name for each in others)}.",
            TlkitWarning,
            stacklevel=2,
        )


def _warn_doubtful(folder: Path, classes: list[Path]) -> None:
    """Warn if the class folders contain the same folders, which may be the classes."""
    inside = [_names(each) for each in classes]
    shared = set.intersection(*inside) if len(inside) > 1 else set()
    if len(shared) > 1:
        names, inner = _listed({each.name for each in classes}), _listed(shared)
        warnings.warn(
            f"The folders in {folder}, {names}, are read as the classes, but each of them contains the "
            f"folders {inner}. If {inner} are the classes, name the outer folders train, validation and "
            "test, or merge them.",
            TlkitWarning,
            stacklevel=2,
        )


def _listed(names: Iterable[str]) -> str:
    first = sorted(names, key=natural_order)
    return printable(f"{', '.join(first[:4])}{', ...' if len(first) > 4 else ''}")


def _names(folder: Path) -> set[str]:
    return {each.name for each in _folders(folder)}


def _folders(folder: Path, *, loops: bool = False) -> list[Path]:
    """Return the folders in a folder in natural order; with `loops` also links to folders that contain it."""
    names = sorted((each.name for each in _entries(folder) if _is_folder(each)), key=natural_order)
    found = [folder / name for name in names if name != "__MACOSX"]
    return found if loops else [each for each in found if not _is_loop(each)]


def _images(folder: Path) -> list[Path]:
    """Return the images directly in a folder, in no order."""
    return [
        folder / each.name
        for each in _entries(folder)
        if os.path.splitext(each.name)[1].lower() in ENDINGS and not _is_folder(each)  # noqa: PTH122
    ]


def _holds_images(folder: Path) -> bool:
    return any(_walk(folder))


def _entries(folder: Path, *, hidden: bool = False) -> list[os.DirEntry[str]]:
    """Return the files and folders in a folder; those that are hidden only if `hidden`."""
    try:
        with os.scandir(folder) as entries:
            return [each for each in entries if hidden or not each.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"The folder {printable(folder)} cannot be listed: {error.strerror}. Correct its permissions, or "
            "move it elsewhere."
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _is_loop(path: Path) -> bool:
    """Return whether a path is a link to a folder that contains the link."""
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())
