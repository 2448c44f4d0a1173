"""The audit itself: an inventory, the pairs in it, and what follows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tlkit.auditing.inventory import NO_SPLIT, from_dataset, from_folder
from tlkit.auditing.pairs import BITS, COLOUR, pairs, superfluous
from tlkit.auditing.problems import ERROR, Problem, problems
from tlkit.data import Dataset, ImageFiles


@dataclass(repr=False)
class Audit:
    """What was found in a folder or a data set.

    Attributes:
        title: its name.
        problems: the worst first.
        images: a row an image: `name`, `class`, `split`, `grey`, `blank`, its hashes; of files also `width`,
            `height`, `mode`, `transparent`.
        classes: a row a class: `images`, and how many of them in each split.
        pairs: the same or nearly the same pictures, see `tlkit.auditing.pairs.pairs`.
        unreadable: "name: reason" of each.
        pixels: the images, in the order of the rows; files are read when they are looked at.
        drawn: the splits are those that `tlkit.load` draws, and not the folder's own.
    """

    title: str
    problems: list[Problem]
    images: pd.DataFrame
    classes: pd.DataFrame
    pairs: pd.DataFrame
    unreadable: list[str]
    pixels: np.ndarray | ImageFiles = field(default_factory=lambda: np.zeros((0, 1, 1, 3), "uint8"))
    drawn: bool = False

    @property
    def table(self) -> pd.DataFrame:
        """The problems as a table: `level`, `problem`, `count`, `remedy`."""
        rows = [(each.level, each.name, each.count, each.remedy) for each in self.problems]
        return pd.DataFrame(rows, columns=["level", "problem", "count", "remedy"])

    @property
    def errors(self) -> list[Problem]:
        """What makes the numbers wrong that will be measured."""
        return [each for each in self.problems if each.level == ERROR]

    def removable(self, *, near: bool = True) -> list[str]:
        """Return the files to take out, so that no picture is left twice, under two labels, or unreadable.

        Of pictures with one label one stays, that of the test split where there is one; of those with two
        labels none, since nothing here tells which is right.

        Args:
            near: nearly the same ones too. Look at them first: they are not always copies.
        """
        chosen = self.pairs if near else self.pairs[self.pairs["identical"]]
        two = chosen[chosen["two_classes"]]
        out = {*two["one"], *two["other"], *superfluous(self.images, chosen[~chosen["two_classes"]])}
        out |= {line.split(": ", 1)[0] for line in self.unreadable}
        return sorted(out)

    def look(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return some images, uint8 `(n, height, width, 3)`, values 0 to 255."""
        return np.asarray(self.pixels[np.asarray(rows, int)])

    def __repr__(self) -> str:
        counts = f"{len(self.images)} images of {len(self.classes)} classes"
        lines = [f"{each.level}: {each.name} ({each.count})" for each in self.problems]
        return "\n  ".join([f"{self.title}: {counts}", *(lines or ["nothing wrong was found"])])


def audit(
    data: str | Path | Dataset,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    bits: int = BITS,
    colour: float = COLOUR,
    progress: bool = False,
) -> Audit:
    """Look for what spoils a training or its test: copies, leaks, contradictions, small classes, odd files.

    Every file is read once, and kept small. Nothing is changed.

    Args:
        data: a folder as for `tlkit.load`, or a data set that is loaded already.
        validation, test, seed: of `tlkit.load`, to know which pictures it will put into two splits.
        bits, colour: how different pictures may be that count as nearly the same; see `pairs`.
        progress: show a progress bar.

    Raises:
        DataError: there is no such folder, or it is not laid out by class, or nothing in it can be read.

    >>> from tlkit import load
    >>> audit(load("digits/optical"), bits=0).errors
    []
    """
    there = (
        from_dataset(data)
        if isinstance(data, Dataset)
        else from_folder(data, validation=validation, test=test, seed=seed, progress=progress)
    )
    images, found = there.images, pairs(there.images, bits=bits, colour=colour)
    counts = pd.crosstab(images["class"], images["split"])
    order = [name for name in ("train", "validation", "test", NO_SPLIT) if name in counts]
    classes = counts.reindex(index=there.class_names, columns=order, fill_value=0)
    classes = classes.rename_axis(index="class", columns=None)
    classes.insert(0, "images", classes.sum(axis=1))
    wrong = problems(images, found, classes, there.unreadable)
    return Audit(there.title, wrong, images, classes, found, there.unreadable, there.pixels, there.drawn)
