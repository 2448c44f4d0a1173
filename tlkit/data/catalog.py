"""One door to every data set: a name or a folder goes in, a Dataset comes out."""

from collections.abc import Callable
from pathlib import Path

from tlkit.data import digits, emoji
from tlkit.data.cards import Card, read
from tlkit.data.dataset import Dataset, Split
from tlkit.data.folder import load_folder, load_unsorted
from tlkit.data.online import load_tfds
from tlkit.errors import DataError, UnknownNameError

BUILT_IN: dict[str, Callable[[str, int | None], Dataset]] = {
    "emoji/twemoji": emoji.load,
    "emoji/openmoji": emoji.load,
    "emoji/line": emoji.load,
    "emoji/styles": emoji.load_styles,
    "digits/mnist": digits.load,
    "digits/optical": digits.load,
    "digits/mnist-m": digits.load,
    "digits/multi-mnist": digits.load_pairs,
}
ALIASES = {"emoji": "emoji/twemoji"}
DEFAULT_SIZE = 224


def list_datasets() -> list[Card]:
    """Return the cards of the data sets that work offline.

    >>> [card.name for card in list_datasets()][:2]
    ['emoji/twemoji', 'emoji/openmoji']
    """
    return [read(name) for name in BUILT_IN]


def load(
    name: str | Path,
    *,
    image_size: int | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    in_memory: bool | None = None,
    progress: bool = False,
) -> Dataset:
    """Return a data set by its name, or from a folder of images.

    Args:
        name: a built-in data set ("emoji/twemoji", "digits/mnist"; see `list_datasets`), "tfds:NAME" of
            tensorflow-datasets, or the path of a folder with one sub-folder a class. A built-in name wins;
            for a folder of that name write "./emoji".
        image_size: height and width in pixels; None means the card's size, and 224 for yours.
        validation, test: fractions of each class that are split off where the source has no such split;
            the splits of built-in data sets are fixed.
        seed: chooses the random split.
        in_memory: for folders: keep the decoded images (True), decode them at each access (False), or
            keep up to 0.5 GB (None). All other sources are in memory.
        progress: show a progress bar while a folder is read.

    Returns:
        Images of uint8 RGB, values 0 to 255, shape (n, image_size, image_size, 3), with int32 labels.

    Raises:
        UnknownNameError: no data set has this name.
        DataError: the folder, the network or a package is missing, or the images cannot be used.

    >>> load("digits/optical").class_names[:3]
    ['0', '1', '2']
    """
    if image_size is not None and image_size < 1:
        raise DataError(
            f"image_size={image_size} was given; expected a number of pixels, such as 128 or 224."
        )
    text = ALIASES.get(str(name), str(name))
    if isinstance(name, str) and text in BUILT_IN:
        return BUILT_IN[text](text, image_size)
    size = image_size or DEFAULT_SIZE
    if isinstance(name, str) and text.startswith("tfds:"):
        return load_tfds(
            text.removeprefix("tfds:"),
            image_size=size,
            validation=validation,
            test=test,
            seed=seed,
            offline=BUILT_IN,
        )
    path = Path(name).expanduser()
    if isinstance(name, str) and not path.exists() and not _looks_like_a_path(name):
        raise UnknownNameError("data set", name, [*BUILT_IN, *ALIASES])
    return load_folder(
        path,
        image_size=size,
        validation=validation,
        test=test,
        seed=seed,
        in_memory=in_memory,
        progress=progress,
    )


def load_unlabelled(name: str | Path, *, image_size: int | None = None, progress: bool = False) -> Split:
    """Return images alone, to adapt to or to learn from without labels.

    Args:
        name: a data set, of which the train images are taken; or a folder of images, sorted by class or not.
        image_size: height and width in pixels; as in `load`.
        progress: show a progress bar while a folder is read.

    Raises:
        UnknownNameError, DataError: as `load`.

    >>> load_unlabelled("digits/optical").labelled
    False
    """
    if is_folder(name):
        size = image_size or DEFAULT_SIZE
        return load_unsorted(name, image_size=size, progress=progress).train.unlabelled()
    return load(name, image_size=image_size).train.unlabelled()


def is_folder(name: str | Path) -> bool:
    """Tell whether a folder is meant by `name`, and not a data set.

    >>> is_folder("emoji"), is_folder(Path.cwd())
    (False, True)
    """
    text = ALIASES.get(str(name), str(name))
    return Path(name).expanduser().is_dir() and not (isinstance(name, str) and text in BUILT_IN)


def _looks_like_a_path(name: str) -> bool:
    families = tuple({known.split("/")[0] + "/" for known in BUILT_IN})
    return name.startswith((".", "~")) or (
        ("/" in name or "\\" in name) and not name.lower().startswith(families)
    )
