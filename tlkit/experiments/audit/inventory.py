"""What there is: one row an image, read once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from tlkit.data import Dataset, ImageFiles
from tlkit.data.decode import decode, ordered_map
from tlkit.data.images import digest
from tlkit.data.layout import UNDECIDED, find_images
from tlkit.data.splits import stratified
from tlkit.errors import DataError

SIDE = 64  # pixels that pictures are compared at
CELLS = 8  # the picture's colours are the means of this many squares in each direction
GREY = 8  # levels of 255 by which the channels of a grey picture differ, at most
BLANK = 2.0  # standard deviation of a channel, below which a picture shows nothing
NO_SPLIT = "none"  # of a class that is too small to be split


@dataclass
class Inventory:
    """What there is.

    Attributes:
        title: the name of the folder or data set.
        images: a row an image: `name`, `class`, `split`, and what `described` returns; of files also `width`,
            `height`, `mode`, `transparent`.
        pixels: the images in this order; files are read when they are looked at.
        class_names: empty classes too.
        unreadable: "name: reason" of each file that is no image.
        drawn: the splits are those that `tlkit.load` draws, and not the folder's own.
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
    """Look at every file of a folder, which is laid out as `tlkit.load` expects it; none is refused.

    Raises:
        DataError: no folder, no images, fewer than two classes, a layout that says no class; or not one
            file can be read.
    """
    root = Path(path).expanduser()
    found, class_names = find_images(root)

    def look(file: Path) -> dict[str, Any] | DataError:
        try:
            pixels = decode(file, SIDE)
            with Image.open(file) as image:
                size = {"width": image.width, "height": image.height, "mode": image.mode}
                return described(pixels) | size | {"transparent": _transparent(image)}
        except DataError as error:
            return error

    files = [each.file for each in found]
    looks = tqdm(ordered_map(look, files), "looking at images", len(files), disable=not progress)
    rows, kept, unreadable = [], [], []
    for each, seen in zip(found, looks, strict=True):
        if isinstance(seen, DataError):
            unreadable.append(f"{each.name}: {str(seen).removeprefix(f'{each.file}: ')}")
        else:
            rows.append({"name": each.name, "class": each.class_name, "split": each.split} | seen)
            kept.append(each.file)
    if not rows:
        raise DataError(
            f"None of the {len(files)} image files below {root} can be read; the first: {unreadable[0]}. "
            "Copy the folder again from where it came."
        )
    table = pd.DataFrame(rows)
    table["split"] = _split(table, class_names, validation, test, seed)
    drawn = any(each.split == UNDECIDED for each in found)
    return Inventory(root.resolve().name, table, ImageFiles(kept, SIDE), class_names, unreadable, drawn)


def from_dataset(data: Dataset) -> Inventory:
    """Look at every image of a data set; see `from_folder`. Of its files nothing is known any more."""
    if not data.class_names:
        raise DataError("This data set has no classes. The audit is about images with a class each.")
    rows = []
    for name, split in data.splits.items():
        for row in range(len(split)):
            seen = described(np.asarray(Image.fromarray(split.images[row]).resize((SIDE, SIDE))))
            of_class = data.class_names[split.labels[row]]
            rows.append({"name": str(split.names[row]), "class": of_class, "split": name} | seen)
    parts = [split.images for split in data.splits.values()]
    paths = [path for each in parts if isinstance(each, ImageFiles) for path in each.paths]
    pixels = ImageFiles(paths, SIDE) if len(paths) == len(rows) else np.concatenate(parts)
    return Inventory(data.card.title, pd.DataFrame(rows), pixels, data.class_names, list(data.skipped))


def described(pixels: np.ndarray) -> dict[str, Any]:
    """Return what tells a picture from others, and what kind it is.

    `digest` of its pixels; `hash`, the 64 bits of its perceptual hash as an integer: which low frequencies
    of its brightness are above their median, so that size, compression and contrast hardly count; `colours`,
    uint8 means of squares, `CELLS` in each direction; `grey` and `blank`.

    Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions".

    Args:
        pixels: uint8 RGB `(SIDE, SIDE, 3)`.

    >>> seen = described(np.full((64, 64, 3), 7, "uint8"))
    >>> seen["grey"], seen["blank"], seen["colours"][:3].tolist()
    (True, True, [7, 7, 7])
    """
    picture = Image.fromarray(pixels)
    bits = np.packbits(imagehash.phash(picture).hash)
    low, high = pixels.min(axis=-1).astype(int), pixels.max(axis=-1)
    return {
        "digest": digest(pixels).hex(),
        "hash": int(bits.view(">u8")[0]),
        "colours": np.asarray(picture.resize((CELLS, CELLS), Image.Resampling.BOX)).ravel(),
        "grey": bool((high - low).max() <= GREY),
        "blank": bool(pixels.std(axis=(0, 1)).max() < BLANK),
    }


def _transparent(image: Image.Image) -> bool:
    """Tell whether any pixel lets the background through; an alpha channel alone does not."""
    if not image.has_transparency_data:
        return False
    return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


def _split(
    table: pd.DataFrame, class_names: list[str], validation: float, test: float, seed: int
) -> np.ndarray:
    """Return the split of each image that `tlkit.load` would draw; NO_SPLIT in a class that is too small."""
    part = table["split"].to_numpy(dtype="U10")
    undecided = part == UNDECIDED
    shares = {
        "validation": 0 if "validation" in part else validation,
        "test": test if undecided.any() else 0,
    }
    wanted = 1 + sum(share > 0 for share in shares.values())
    open_rows = np.isin(part, ["train", UNDECIDED])
    counts = table["class"][open_rows].value_counts()
    large = table["class"].isin(counts.index[counts >= wanted]).to_numpy()
    part[undecided & ~large] = NO_SPLIT
    open_rows &= large
    if open_rows.any():
        chosen = table[open_rows]
        classes = [name for name in class_names if name in set(chosen["class"])]
        part[open_rows] = stratified(
            [f"{seed}/{name}" for name in chosen["name"]],
            np.array([classes.index(name) for name in chosen["class"]]),
            classes,
            **shares,
        )
    return part
