"""Make an inventory of a folder or data set: one row for each image, which is read once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from tlkit.data import Dataset, ImageFiles
from tlkit.data.decode import decode, is_transparent, opened, ordered_map
from tlkit.data.images import digest
from tlkit.data.layout import UNDECIDED, find_images, folder_at, printable
from tlkit.data.splits import stratified
from tlkit.errors import DataError

SIDE = 64  # height and width in pixels at which images are compared
CELLS = 8  # colours are averaged over a grid of this many cells in each direction
GREY = 8  # the channels of a greyscale image differ by at most this many of 255 levels
BLANK = 2.0  # an image is blank if the standard deviation of every channel is below this
NO_SPLIT = "none"  # the split of a class that is too small to be divided


@dataclass
class Inventory:
    """The images of a folder or data set, with their properties.

    Attributes:
        title: name of the folder or data set.
        images: one row for each image: `name`, `class`, `split`, and the values of `image_properties`; for
            files also `width`, `height`, `mode` and `transparent`.
        pixels: the images in the order of the rows; files are read when they are indexed.
        class_names: of all classes, including empty ones.
        unreadable: "name: reason" of each file that cannot be read.
        drawn: whether some splits are those that `tlkit.load` draws, because the folder does not have them.
    """

    title: str
    images: pd.DataFrame
    pixels: np.ndarray | ImageFiles
    class_names: list[str]
    unreadable: list[str] = field(default_factory=list)
    drawn: bool = False


def from_folder(
    path: str | Path, *, validation: float, test: float, seed: int, progress: bool = False
) -> Inventory:
    """Make an inventory of a folder with the layout that `tlkit.load` expects.

    Unreadable files are listed, and do not raise an error.

    Args:
        path: of the folder.
        validation: fraction of the images for validation, as for `tlkit.load`.
        test: fraction of the images for testing, as for `tlkit.load`.
        seed: of the splits, as for `tlkit.load`.
        progress: show a progress bar.

    Raises:
        DataError: there is no such folder, it has no images, it has fewer than two classes, its layout does
            not name the classes, validation or test has a class that train lacks, none of its files can be
            read, or the fractions are negative or leave no training data.
    """
    root = folder_at(path)
    found, class_names = find_images(root)

    def properties_of(file: Path) -> dict[str, Any] | DataError:
        try:
            pixels = decode(file, SIDE)
            with opened(file) as image:
                own = {"width": image.width, "height": image.height, "mode": image.mode}
                own["transparent"] = is_transparent(image)
        except DataError as error:
            return error
        return image_properties(pixels) | own

    files = [each.file for each in found]
    results = tqdm(ordered_map(properties_of, files), "reading images", len(files), disable=not progress)
    rows, readable, unreadable = [], [], []
    for each, result in zip(found, results, strict=True):
        if isinstance(result, DataError):
            unreadable.append(f"{each.name}: {str(result).removeprefix(f'{printable(each.file)}: ')}")
        else:
            rows.append({"name": each.name, "class": each.class_name, "split": each.split} | result)
            readable.append(each.file)
    if not rows:
        raise DataError(
            f"None of the {len(files)} image files below {root} can be read. The first error is: "
            f"{unreadable[0]}. Copy the folder again from its source."
        )
    table = pd.DataFrame(rows)
    own = table["split"]
    table["split"] = _split(table, class_names, validation, test, seed)
    drawn = bool((table["split"] != own).any())
    title, pixels = printable(root.resolve().name), ImageFiles(readable, SIDE)
    return Inventory(title, table, pixels, class_names, unreadable, drawn)


def from_dataset(data: Dataset, *, progress: bool = False) -> Inventory:
    """Make an inventory of a data set; the properties of its files, such as their sizes, are not known.

    Args:
        data: labelled.
        progress: show progress bars.

    Raises:
        DataError: the data set has no classes.
    """
    if not data.class_names:
        raise DataError("This data set has no classes. An audit needs images with one class each.")
    rows = []
    for name, split in data.splits.items():
        for row in tqdm(range(len(split)), f"reading {name} images", disable=not progress):
            resized = np.asarray(Image.fromarray(split.images[row]).resize((SIDE, SIDE)))
            place = {"class": data.class_names[split.labels[row]], "split": name}
            rows.append({"name": str(split.names[row])} | place | image_properties(resized))
    parts = [split.images for split in data.splits.values()]
    paths = [path for each in parts if isinstance(each, ImageFiles) for path in each.paths]
    pixels = ImageFiles(paths, SIDE) if len(paths) == len(rows) else np.concatenate(parts)
    return Inventory(data.card.title, pd.DataFrame(rows), pixels, data.class_names, list(data.skipped))


def image_properties(pixels: np.ndarray) -> dict[str, Any]:
    """Return the properties by which an image is compared with others, and whether it is grey or blank.

    The perceptual hash has one bit for each of 64 low spatial frequencies of the brightness: 1 if
    its DCT coefficient is above the median. Size, compression and contrast hardly change it.

    Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions".

    Args:
        pixels: uint8 RGB `(SIDE, SIDE, 3)`, values 0 to 255.

    Returns:
        `digest` (of the pixels), `hash` (the perceptual hash as an integer of 64 bits), `colours` (uint8
        means of a grid of `CELLS` by `CELLS` cells, in one dimension), `grey` and `blank` (booleans).

    >>> properties = image_properties(np.full((64, 64, 3), 7, "uint8"))
    >>> properties["grey"], properties["blank"], properties["colours"][:3].tolist()
    (True, True, [7, 7, 7])
    """
    image = Image.fromarray(pixels)
    bits = np.packbits(imagehash.phash(image).hash)
    low, high = pixels.min(axis=-1).astype(int), pixels.max(axis=-1)
    return {
        "digest": digest(pixels).hex(),
        "hash": int(bits.view(">u8")[0]),
        "colours": np.asarray(image.resize((CELLS, CELLS), Image.Resampling.BOX)).ravel(),
        "grey": bool((high - low).max() <= GREY),
        "blank": bool(pixels.std(axis=(0, 1)).max() < BLANK),
    }


def _split(
    table: pd.DataFrame, class_names: list[str], validation: float, test: float, seed: int
) -> np.ndarray:
    """Return the split that `tlkit.load` draws for each image; NO_SPLIT for classes that are too small."""
    part = table["split"].to_numpy(dtype="U10")
    undecided = part == UNDECIDED
    fractions = {
        "validation": 0 if "validation" in part else validation,
        "test": test if undecided.any() else 0,
    }
    needed = 1 + sum(fraction > 0 for fraction in fractions.values())  # images of a class: one per split
    divided = np.isin(part, ["train", UNDECIDED])
    counts = table["class"][divided].value_counts()
    large = table["class"].isin(counts.index[counts >= needed]).to_numpy()
    part[undecided & ~large] = NO_SPLIT
    divided &= large
    if divided.any():
        chosen = table[divided]
        classes = [name for name in class_names if name in set(chosen["class"])]
        part[divided] = stratified(
            [f"{seed}/{name}" for name in chosen["name"]],
            np.array([classes.index(name) for name in chosen["class"]]),
            classes,
            **fractions,
        )
    return part
