"""The audit: an inventory, the pairs in it, the problems that follow, and the report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit.data import Dataset, ImageFiles
from tlkit.experiments.audit.inventory import NO_SPLIT, from_dataset, from_folder
from tlkit.experiments.audit.pairs import BITS, COLOUR, pairs, superfluous
from tlkit.experiments.audit.problems import ERROR, Problem, problems
from tlkit.reports import audit as sections
from tlkit.reports.document import Document, Figure
from tlkit.reports.result import Result
from tlkit.reports.words import counted

SHOWN = 9  # pairs of a kind


@dataclass(repr=False)
class Audit(Result):
    """The problems of a folder or a data set.

    Attributes:
        title: its name.
        problems: the worst first.
        images: one row for each image: `name`, `class`, `split`, `grey`, `blank`, its hashes; for files also
            `width`, `height`, `mode`, `transparent`.
        classes: one row for each class: `images`, and how many of them in each split.
        pairs: identical or similar images, see `tlkit.experiments.audit.pairs.pairs`.
        unreadable: "name: reason" of each.
        pixels: the images, in the order of the rows; files are read only when they are shown.
        drawn: the splits are those that `tlkit.load` draws, not the folder's own.
        seconds: how long it took: total.
    """

    title: str
    problems: list[Problem]
    images: pd.DataFrame
    classes: pd.DataFrame
    pairs: pd.DataFrame
    unreadable: list[str]
    pixels: np.ndarray | ImageFiles = field(default_factory=lambda: np.zeros((0, 1, 1, 3), "uint8"))
    drawn: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """The problems as a table: `level`, `problem`, `count`, `remedy`."""
        rows = [(each.level, each.name, each.count, each.remedy) for each in self.problems]
        return pd.DataFrame(rows, columns=["level", "problem", "count", "remedy"])

    @property
    def errors(self) -> list[Problem]:
        """The problems that make later measurements wrong."""
        return [each for each in self.problems if each.level == ERROR]

    def removable(self, *, near: bool = True) -> list[str]:
        """Return the files to remove, so that no image is there twice, under two labels, or unreadable.

        Of several copies with the same label one is kept, that of the test split if there is one. Of copies
        with two labels none is kept, because nothing here tells which label is right.

        Args:
            near: similar images as well. Check them first: they are not always copies.
        """
        chosen = self.pairs if near else self.pairs[self.pairs["identical"]]
        two = chosen[chosen["two_classes"]]
        out = {*two["one"], *two["other"], *superfluous(self.images, chosen[~chosen["two_classes"]])}
        out |= {line.split(": ", 1)[0] for line in self.unreadable}
        return sorted(out)

    def images_at(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return some images, uint8 `(n, height, width, 3)`, values 0 to 255."""
        return np.asarray(self.pixels[np.asarray(rows, int)])

    @property
    def answer(self) -> str:
        """The result in a sentence.

        >>> Audit("cats", [], pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), []).answer
        'No problem was found. That is no proof: wrong labels are not detected here.'
        """
        if not self.problems:
            return "No problem was found. That is no proof: wrong labels are not detected here."
        names = [each.name for each in self.errors]
        others = len(self.problems) - len(names)
        if not names:
            return f"No error, but {counted(others, 'thing')} to check."
        more = f" Then there {'is' if others == 1 else 'are'} {counted(others, 'thing')} to check."
        return f"Fix this first: {'; '.join(names)}.{more if others else ''}"

    def metrics(self) -> dict[str, Any]:
        """Return the problems, the classes, the pairs, and the files that could be removed."""
        return {
            "data": self.title,
            "images": len(self.images),
            "problems": [vars(each) for each in self.problems],
            "classes": self.classes.reset_index(),
            "pairs": self.pairs.drop(columns=["i", "j"]),
            "unreadable": self.unreadable,
            "removable": self.removable(),
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: every problem with its pairs, the classes, and what could be removed."""
        document = Document(
            f"{self.title}: what to fix before training",
            self.answer,
            f"{len(self.images)} images of {len(self.classes)} classes. Two images are similar if at most "
            f"{BITS} of 64 bits of their perceptual hashes differ, and their colours by {COLOUR:.0f} of 255 "
            "levels; mirrored, rotated or heavily cropped copies are not found.",
        )
        if self.drawn:
            document.detail += " The folder has no splits of its own: these are those that tlkit train draws."
        for each in self.problems:
            title = f"{each.level.capitalize()}: {each.name} ({each.count})"
            document.sections.append(
                sections.problem_section(
                    title, f"{each.why} {each.remedy}", each.examples, self._pair_figure(each)
                )
            )
        document.sections.append(sections.class_section(self.classes))
        if names := self.removable():
            document.sections.append(sections.removable_section(names))
        return document

    def _pair_figure(self, problem: Problem) -> Figure | None:
        """Draw the first pairs of a problem that is about pairs."""
        if self.pairs.empty:
            return None
        lines = self.pairs["one"] + " and " + self.pairs["other"]
        rows = self.pairs[lines.isin(problem.examples[:SHOWN])][:SHOWN]
        if rows.empty:
            return None
        name, split = self.images["class"], self.images["split"]
        titles = [
            (f"{name[i]}, {split[i]}", f"{name[j]}, {split[j]}")
            for i, j in zip(rows["i"], rows["j"], strict=True)
        ]
        first, second = self.images_at(rows["i"]), self.images_at(rows["j"])
        return sections.pair_figure(first, second, titles, problem.name, problem.count > SHOWN)

    def __repr__(self) -> str:
        counts = f"{len(self.images)} images of {len(self.classes)} classes"
        lines = [f"{each.level}: {each.name} ({each.count})" for each in self.problems]
        return "\n  ".join([f"{self.title}: {counts}", *(lines or ["no problem was found"])])


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
    """Find copies, leaks between splits, contradictory labels, small classes and odd files.

    Every file is read once, and kept at a small size. Nothing is changed.

    Args:
        data: a folder as for `tlkit.load`, or a data set that is loaded already.
        validation, test, seed: as for `tlkit.load`, to know which copies it will put into two splits.
        bits, colour: how much two images may differ that count as similar; see `pairs`.
        progress: show a progress bar.

    Raises:
        DataError: there is no such folder, or it is not laid out by class, or nothing in it can be read.

    >>> from tlkit import load
    >>> audit(load("digits/optical"), bits=0).errors
    []
    """
    start = time.perf_counter()
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
    return Audit(
        there.title,
        wrong,
        images,
        classes,
        found,
        there.unreadable,
        there.pixels,
        there.drawn,
        {"total": time.perf_counter() - start},
    )
