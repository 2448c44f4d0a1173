"""Load a data set with a card, a data set of tensorflow-datasets, or a folder, by name or path."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tlkit._internal.registry import Registry
from tlkit._internal.seeds import check_seed
from tlkit._internal.sizes import check_image_size
from tlkit.data import clothing, digits, emoji, solar
from tlkit.data.cards import Card, read_card
from tlkit.data.dataset import Dataset, Split
from tlkit.data.folder import load_folder, load_unsorted
from tlkit.data.layout import check_name
from tlkit.data.online import load_tfds
from tlkit.errors import UnknownNameError


class BuiltIn(NamedTuple):
    """A data set with a card.

    Attributes:
        name: the name that `load` takes.
        loader: the function that loads the data set from its name and the image size.
        seeded: the loader also takes `seed`, which chooses the splits.
        is_here: returns whether the images are on this machine.
    """

    name: str
    loader: Callable[..., Dataset]
    seeded: bool = False
    is_here: Callable[[], bool] = lambda: True


DATASETS = Registry(
    "data set",
    (
        BuiltIn("solar", solar.load, True, solar.is_here),
        BuiltIn("solar/mono", solar.load, True, solar.is_here),
        BuiltIn("solar/poly", solar.load, True, solar.is_here),
        BuiltIn("solar/grades", solar.load, True, solar.is_here),
        BuiltIn("clothing", clothing.load, True, clothing.is_here),
        BuiltIn("clothing/few", clothing.load, True, clothing.is_here),
        BuiltIn("emoji/twemoji", emoji.load),
        BuiltIn("emoji/openmoji", emoji.load),
        BuiltIn("emoji/line", emoji.load),
        BuiltIn("emoji/styles", emoji.load_styles),
        BuiltIn("digits/mnist", digits.load),
        BuiltIn("digits/optical", digits.load),
        BuiltIn("digits/mnist-m", digits.load),
        BuiltIn("digits/multi-mnist", digits.load_pairs),
    ),
)
ALIASES = {"emoji": "emoji/twemoji"}
DEFAULT_SIZE = 224


def list_datasets() -> list[Card]:
    """Return the cards of the data sets that `load` knows by name.

    All of them work offline once they are on this machine, see `is_here`.

    >>> [card.name for card in list_datasets()][:3]
    ['solar', 'solar/mono', 'solar/poly']
    """
    return [read_card(name) for name in DATASETS.names]


def is_here(name: str) -> bool:
    """Return whether the images of a data set are on this machine.

    The photos of "solar" are in a package of their own, those of "clothing" are downloaded once, and all
    others come with tlkit.

    Raises:
        UnknownNameError: no data set has this name.

    >>> is_here("digits/optical")
    True
    """
    return DATASETS.find(ALIASES.get(name, name)).is_here()


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
    """Load a data set by name, or from a folder of images.

    Args:
        name: a data set with a card ("solar", "emoji/twemoji"; see `list_datasets`), "tfds:NAME" from
            tensorflow-datasets, or the path of a folder with one sub-folder per class. The name of a card
            takes precedence; for a folder of the same name write "./emoji".
        image_size: height and width in pixels; None takes the card's size, or 224 for your own images.
        validation, test: fractions of each class to split off where the source has no such split. A folder
            with a train folder gets no new test split. Data sets with a card have splits of fixed sizes.
        seed: chooses the random split. Those of emoji, digits and clothing are fixed.
        in_memory: for folders: keep the decoded images in memory (True), decode them at each access (False),
            or keep up to 0.5 GB (None). All other sources are kept in memory.
        progress: show a progress bar while a folder is read.

    Returns:
        A data set of uint8 RGB images `(n, image_size, image_size, 3)`, values 0 to 255, and int32 labels.

    Raises:
        UnknownNameError: no data set has this name.
        DataError: a folder, the network connection or a package is missing, or the images cannot be used.

    >>> load("digits/optical").class_names[:3]
    ['0', '1', '2']
    """
    check_seed(seed)
    check_name(name)
    if image_size is not None:
        check_image_size(image_size)
    if built_in := _built_in(name):
        return built_in.loader(built_in.name, image_size, **({"seed": seed} if built_in.seeded else {}))
    size = image_size or DEFAULT_SIZE
    if isinstance(name, str) and name.startswith("tfds:"):
        return load_tfds(
            name.removeprefix("tfds:"),
            image_size=size,
            validation=validation,
            test=test,
            seed=seed,
            offline=[row.name for row in DATASETS if row.is_here()],
        )
    if isinstance(name, str) and not _exists(Path(name)) and not _is_path(name):
        raise UnknownNameError(DATASETS.kind, name, [*DATASETS.names, *ALIASES])
    return load_folder(
        Path(name),
        image_size=size,
        validation=validation,
        test=test,
        seed=seed,
        in_memory=in_memory,
        progress=progress,
    )


def load_unlabelled(name: str | Path, *, image_size: int | None = None, progress: bool = False) -> Split:
    """Load images without labels, for domain adaptation or self-supervised learning.

    Args:
        name: a data set, whose train images are loaded; or a folder of images, sorted by class or not.
        image_size: height and width in pixels, as in `load`.
        progress: show a progress bar while a folder is read.

    Raises:
        UnknownNameError, DataError: as in `load`.

    >>> load_unlabelled("digits/optical").labelled
    False
    """
    if is_folder(name):
        size = image_size or DEFAULT_SIZE
        return load_unsorted(name, image_size=size, progress=progress).train.unlabelled()
    return load(name, image_size=image_size).train.unlabelled()


def is_folder(name: str | Path) -> bool:
    """Return whether `name` is the path of an existing folder, and not the name of a data set.

    >>> is_folder("emoji"), is_folder(Path.cwd())
    (False, True)
    """
    return _built_in(name) is None and _exists(Path(name)) and Path(name).expanduser().is_dir()


def _built_in(name: str | Path) -> BuiltIn | None:
    """Return the built-in data set of this name or alias, if there is one."""
    text = ALIASES.get(str(name), str(name))
    return DATASETS.find(text) if isinstance(name, str) and text in DATASETS else None


def _exists(path: Path) -> bool:
    try:
        return path.expanduser().exists()
    except (OSError, RuntimeError):  # such as a name of more than 255 bytes, or ~ of an unknown user
        return False


def _is_path(name: str) -> bool:
    families = tuple({known.split("/")[0] + "/" for known in DATASETS.names})
    return name.startswith((".", "~")) or (
        ("/" in name or "\\" in name) and not name.lower().startswith(families)
    )
