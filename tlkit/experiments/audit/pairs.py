"""Find pairs of identical or similar images."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tlkit.experiments.audit.inventory import NO_SPLIT

BITS = 10  # the perceptual hashes of similar images differ in at most this many of 64 bits
COLOUR = 12.0  # the colours of similar images differ on average by at most this many of 255 levels
ROWS = 1024  # images that are compared with all others at a time
KEPT_FIRST = ("test", "validation", "train", NO_SPLIT)


def pairs(images: pd.DataFrame, *, bits: int = BITS, colour: float = COLOUR) -> pd.DataFrame:
    """Return the pairs of identical or similar images.

    Two images are similar if their perceptual hashes differ in at most `bits` bits, and their colours by at
    most `colour` levels on average. Mirrored, rotated or heavily cropped copies are not found. Among several
    identical images, each is paired with the first one only, and only the first one is compared with other
    images.

    Args:
        images: the table of an `Inventory`.
        bits: 0 to 64.
        colour: 0 to 255.

    Returns:
        A table with one row for each pair, the most similar pairs first: `one` and `other` (names),
        `identical`, `bits` and `colour` (how much the images differ), `classes` and `splits` (of both images,
        such as "cat" or "cat and dog"), `two_classes`, `two_splits`, `i` and `j` (row numbers in `images`).
    """
    first = images["digest"].map(dict(zip(images["digest"][::-1], images.index[::-1], strict=True)))
    copies = np.flatnonzero(first.to_numpy() != images.index)
    found = [np.stack([first.to_numpy()[copies], copies], axis=1)]
    firsts = np.setdiff1d(np.arange(len(images)), copies)
    hashes = images["hash"].to_numpy("uint64")[firsts]
    colours = np.stack(images["colours"].to_list())[firsts].astype("int16")
    for start in range(0, len(firsts), ROWS):
        different = np.bitwise_count(hashes[start : start + ROWS, None] ^ hashes[None, start:])
        i, j = np.nonzero(np.triu(different <= bits, 1))
        similar = np.abs(colours[start + i] - colours[start + j]).mean(axis=1) <= colour
        found.append(np.stack([firsts[start + i[similar]], firsts[start + j[similar]]], axis=1))
    i, j = np.concatenate(found).T.astype(int)
    table = compared(images, i, j)
    order = ["identical", "bits", "colour"]
    return table.sort_values(order, ascending=[False, True, True], kind="stable").reset_index(drop=True)


def compared(images: pd.DataFrame, i: np.ndarray, j: np.ndarray) -> pd.DataFrame:
    """Return the table of `pairs` for given pairs of images.

    Args:
        images: the table of an `Inventory`.
        i, j: int `(pairs,)`, the rows of both images.
    """
    one, other = images.iloc[i].reset_index(drop=True), images.iloc[j].reset_index(drop=True)
    levels = np.stack([*images["colours"], np.zeros(len(images["colours"].iloc[0]), "uint8")]).astype("int16")
    return pd.DataFrame(
        {
            "one": one["name"],
            "other": other["name"],
            "identical": one["digest"] == other["digest"],
            "bits": np.bitwise_count(one["hash"].to_numpy("uint64") ^ other["hash"].to_numpy("uint64")),
            "colour": np.abs(levels[i] - levels[j]).mean(axis=1),
            "classes": _both(one["class"], other["class"]),
            "splits": _both(one["split"], other["split"]),
            "two_classes": one["class"] != other["class"],
            "two_splits": (one["split"] != other["split"])
            & (one["split"] != NO_SPLIT)
            & (other["split"] != NO_SPLIT),
            "i": i,
            "j": j,
        }
    )


def superfluous(images: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """Return the names of images that can be removed because one copy of each is kept.

    The copy in the test split is kept if there is one, else the copy in the validation split, else the copy
    in the training split.

    Args:
        images: rows of the table of an `Inventory`, without the images that are removed anyway.
        found: rows of the table that `pairs` returns, one for each pair of copies.
    """
    if found.empty or images.empty:
        return []
    count = int(max(images.index.max(), found[["i", "j"]].max().max())) + 1
    links = coo_array((np.ones(len(found)), (found["i"], found["j"])), shape=(count, count))
    _, group = connected_components(links, directed=False)
    place = images["split"].map(KEPT_FIRST.index)
    ranked = images.assign(group=group[images.index], place=place).sort_values(
        ["group", "place"], kind="stable"
    )
    return ranked.loc[ranked.duplicated("group"), "name"].sort_index().tolist()


def _both(one: pd.Series, other: pd.Series) -> pd.Series:
    return one.where(one == other, one + " and " + other)
