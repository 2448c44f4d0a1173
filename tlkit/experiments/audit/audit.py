"""The audit: an inventory, the pairs in it, what a backbone finds, the problems that follow, the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit.data import Dataset, ImageFiles
from tlkit.experiments.audit.check import Check, check
from tlkit.experiments.audit.features import features_of, network_for, read_at
from tlkit.experiments.audit.inventory import NO_SPLIT, from_dataset, from_folder
from tlkit.experiments.audit.pairs import BITS, COLOUR, pairs, superfluous
from tlkit.experiments.audit.problems import ERROR, LABEL_ERRORS, OUTLIERS, WEAK_GROUPS, Problem, problems
from tlkit.experiments.audit.suspects import suspects
from tlkit.experiments.phases import Clock
from tlkit.reports import audit as sections
from tlkit.reports.document import Block, Document, Figure
from tlkit.reports.result import Result
from tlkit.reports.words import counted

SHOWN = 9  # pairs of a kind
SUSPECTS, MEMBERS, GROUPS = 18, 6, 8  # images of a kind, images of a group, and groups that the report shows


@dataclass(repr=False)
class Audit(Result):
    """The problems of a folder or a data set.

    Attributes:
        title: its name.
        problems: the worst first.
        images: one row for each image: `name`, `class`, `split`, `digest`, `hash`, `colours`, `grey` and
            `blank` (see `tlkit.experiments.audit.inventory.image_properties`); for files also `width`,
            `height`, `mode` and `transparent`.
        classes: one row for each class: `images`, and how many of them in each split.
        pairs: identical or similar images, see `tlkit.experiments.audit.pairs.pairs`.
        unreadable: "name: reason" of each.
        pixels: the images, in the order of the rows: an array, or files that are read when they are indexed.
        drawn: some splits are those that `tlkit.load` draws, because the folder does not have them.
        check: what a frozen backbone finds, such as likely label errors; None without a backbone.
        bits, colour: by how much two images could differ and count as similar; see `audit`.
        seconds: how long it took: total, and its parts.
    """

    title: str
    problems: list[Problem]
    images: pd.DataFrame
    classes: pd.DataFrame
    pairs: pd.DataFrame
    unreadable: list[str]
    pixels: np.ndarray | ImageFiles = field(default_factory=lambda: np.zeros((0, 1, 1, 3), "uint8"))
    drawn: bool = False
    check: Check | None = None
    bits: int = BITS
    colour: float = COLOUR
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """The problems as a table: `level`, `problem`, `count`, `remedy`."""
        rows = [(each.level, each.name, each.count, each.remedy) for each in self.problems]
        return pd.DataFrame(rows, columns=["level", "problem", "count", "remedy"])

    @property
    def errors(self) -> list[Problem]:
        """The problems to fix before training: they make measurements wrong, or lose files or classes."""
        return [each for each in self.problems if each.level == ERROR]

    @property
    def suspects(self) -> pd.DataFrame:
        """Every image to check, and why; see `tlkit.experiments.audit.suspects.suspects`."""
        return suspects(self.images, self.pairs, self.check)

    @property
    def cautions(self) -> list[str]:
        """What could not be checked, and why."""
        return [] if self.check is None else self.check.cautions

    def removable(self, *, near: bool = True) -> list[str]:
        """Return the names of copies, of contradictions and of unreadable files, which could be removed.

        Of a pair with two labels, both images are removed with all their identical copies, because nothing
        here tells which label is right. Of other copies, one is kept: that of the test split if there is one.
        Likely label errors, outliers and pairs that only the features find are not included.

        Args:
            near: include similar images. Check them first: they are not always copies.
        """
        chosen = self.pairs if near else self.pairs[self.pairs["identical"]]
        two = chosen[chosen["two_classes"]]
        names, same = self.images["name"], two[two["identical"]]
        digests = self.images["digest"][names.isin([*same["one"], *same["other"]])]
        out = {*two["one"], *two["other"], *names[self.images["digest"].isin(digests)]}
        out |= {*superfluous(self.images[~names.isin(out)], chosen[~chosen["two_classes"]])}
        out |= {line.split(": ", 1)[0] for line in self.unreadable}
        return sorted(out)

    def images_at(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return some images, uint8 `(n, height, width, 3)`, values 0 to 255."""
        return np.asarray(self.pixels[np.asarray(rows, int)])

    @property
    def answer(self) -> str:
        """The result in a sentence.

        >>> Audit("cats", [], pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), []).answer
        'No problems were found. Wrong labels are not checked without a backbone.'
        """
        if not self.problems:
            wrong = "are not checked without a backbone"
            if self.check is not None:
                wrong = "can go undetected" if self.check.informative else "could not be checked"
            return f"No problems were found. Wrong labels {wrong}."
        names = [each.name for each in self.errors]
        others = len(self.problems) - len(names)
        labels = 0 if self.check is None else len(self.check.label_errors)
        suspected = f" {labels} of {len(self.images):,} labels may be wrong." if labels else ""
        if not names:
            return f"No error, but {counted(others, 'thing')} to check.{suspected}"
        more = f" Then there {'is' if others == 1 else 'are'} {counted(others, 'thing')} to check."
        return f"Fix this first: {'; '.join(names)}.{more if others else ''}{suspected}"

    def metrics(self) -> dict[str, Any]:
        """Return the problems, classes, pairs, files that could be removed, and the number of suspects."""
        return {
            "data": self.title,
            "images": len(self.images),
            "problems": [vars(each) for each in self.problems],
            "classes": self.classes.reset_index(),
            "pairs": self.pairs.drop(columns=["i", "j"]),
            "unreadable": self.unreadable,
            "removable": self.removable(),
            "check": None if self.check is None else self.check.metrics(),
            "suspects": self.suspects["kind"].value_counts().to_dict(),
        }

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return `suspects.csv`, the suspects as a table."""
        return {"suspects.csv": partial(self.suspects.to_csv, index=False)}

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: every problem with its images, the classes, and what could be removed."""
        document = Document(
            f"{self.title}: what to fix before training", self.answer, self._detail(), self.cautions
        )
        for each in self.problems:
            title = f"{each.level.capitalize()}: {each.name} ({each.count})"
            shown, text = self._shown(each), f"{each.why} {each.remedy}"
            listed = [] if each.name in (LABEL_ERRORS, WEAK_GROUPS, OUTLIERS) else each.examples
            document.sections.append(sections.problem_section(title, text, shown, listed))
        document.sections.append(sections.class_section(self.classes))
        if names := self.removable():
            document.sections.append(sections.removable_section(names))
        return document

    def _detail(self) -> str:
        found = (
            f"{len(self.images)} images of {len(self.classes)} classes. Two images are similar if at most "
            f"{self.bits} of 64 bits of their perceptual hashes differ, and their colours differ by at most "
            f"{self.colour:.0f} of 255 levels on average. Mirrored, rotated or heavily cropped copies are "
            "not found in this way."
        )
        if self.drawn:
            found += " The folder lacks a split, so the audit draws it as tlkit train does."
        if self.check is None:
            return found
        found += (
            f" Near duplicates by features, often mirrored or slightly cropped copies, have nearly equal "
            f"features of {self.check.backbone} at {self.check.image_size} pixels."
        )
        if self.check.predictions is not None:
            low, high = self.check.predictions.interval
            found += (
                " Labels are checked by a logistic regression of these features, cross-validated on all "
                f"splits together: {self.check.predictions.accuracy:.0%} of its predictions agree with the "
                f"labels (95 % interval {low:.0%} to {high:.0%})."
            )
        return found

    def _shown(self, problem: Problem) -> list[Block]:
        """Return the images of a problem."""
        check = self.check
        if check is not None and problem.name == LABEL_ERRORS:
            table = self._named(check.label_errors)
            return sections.label_blocks(self.images_at(table["row"][:SUSPECTS]), table)
        if check is not None and problem.name == OUTLIERS:
            table = self._named(check.outliers)
            return sections.outlier_blocks(self.images_at(table["row"][:SUSPECTS]), table)
        if check is not None and check.predictions is not None and problem.name == WEAK_GROUPS:
            groups, suspected = check.weak_groups[:GROUPS], self.suspects
            blocks: list[Block] = [
                sections.group_accuracies(
                    [vars(each) for each in groups], check.predictions.accuracy, len(check.weak_groups)
                )
            ]
            for number, each in enumerate(groups, 1):
                members = suspected[suspected["group"] == str(number)]
                mistakes_first = np.argsort(members["suggested"] == "", kind="stable")
                shown = self.images_at(each.members[mistakes_first[:MEMBERS]])
                blocks += sections.group_blocks(number, shown, members.iloc[mistakes_first])
            return blocks
        pairs = self._pair_figure(problem)
        return [] if pairs is None else [pairs]

    def _named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add the files and labels of the images in the column `row`."""
        chosen = self.images.iloc[table["row"].to_numpy(int)]
        return table.assign(file=chosen["name"].to_numpy(), label=chosen["class"].to_numpy())

    def _pair_figure(self, problem: Problem) -> Figure | None:
        """Draw the first pairs of a problem that is about pairs."""
        pairs = self.pairs if self.check is None else pd.concat([self.pairs, self.check.near_duplicates])
        if pairs.empty:
            return None
        lines = pairs["one"] + " and " + pairs["other"]
        rows = pairs[lines.isin(problem.examples[:SHOWN])][:SHOWN]
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
    backbone: str | keras.Model | None = "EfficientNetLite0",
    weights: str | None = "imagenet",
    image_size: int | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    bits: int = BITS,
    colour: float = COLOUR,
    progress: bool = False,
) -> Audit:
    """Find copies, leaks, small classes, odd files, and likely label errors, outliers and weak groups.

    Likely label errors, outliers and weak groups need the features of a frozen backbone. Likely label errors
    are found by confident learning (Northcutt, Jiang & Chuang 2021) from cross-validated predictions on all
    splits together. Check each of them, because some of these labels are right: `benchmarks/audit.py`
    measures the precision with labels that were flipped on purpose. The audit changes no file.

    Args:
        data: a folder as for `tlkit.load`, or a data set that is loaded already.
        backbone: a name of `tlkit.list_backbones()`; or a model from raw images to features; or None for an
            audit without a network.
        weights: `"imagenet"`, None (random) or a weights file, for a name.
        image_size: height and width in pixels of the input of the network, for a name; by default the size of
            the backbone, such as 224. A smaller size is faster.
        validation, test: for a folder, as for `tlkit.load`; a loaded data set keeps its own splits.
        seed: chooses the splits of a folder, the folds of the cross-validation and the groups.
        bits: two images are similar only if at most this many of the 64 bits of their perceptual hashes
            differ; 10 by default.
        colour: two images are similar only if their colours differ by at most this many of 255 levels on
            average; 12 by default.
        progress: show progress bars.

    Returns:
        The problems. `tlkit.write_report(audit, "runs/audit")` writes them, and `suspects.csv`.

    Raises:
        DataError: there is no such folder, it is not laid out by class, it has fewer than two classes, it has
            a class that train lacks, or nothing in it can be read; `validation` or `test` is out of range; a
            loaded data set has no classes; or a file changes during the audit.
        UnknownNameError, WeightsError, TlkitError: there is no such backbone, or it cannot be loaded.

    >>> from tlkit import load
    >>> audit(load("digits/optical"), backbone=None, bits=0).errors
    []
    """
    clock = Clock()
    network = None
    if backbone is not None:  # first, since a misspelt name should not wait for the images
        network = network_for(backbone, weights=weights, image_size=image_size, seed=seed)
    with clock.part("inventory"):
        there = (
            from_dataset(data, progress=progress)
            if isinstance(data, Dataset)
            else from_folder(data, validation=validation, test=test, seed=seed, progress=progress)
        )
        images, found = there.images, pairs(there.images, bits=bits, colour=colour)
    checked, pixels = None, there.pixels
    if network is not None and len(images) > 1:  # one image has no other to compare it with
        with clock.part("features"):
            pixels = read_at(there, network.input_shape[1], progress=progress)
            features = features_of(network, pixels, images["split"].to_numpy(str), progress=progress)
        with clock.part("checks"):
            checked = check(
                features,
                images,
                found,
                there.class_names,
                backbone=network.name,
                image_size=network.input_shape[1],
                seed=seed,
                progress=progress,
            )
    classes = class_counts(images, there.class_names)
    wrong = problems(images, found, classes, there.unreadable, checked)
    return Audit(
        there.title,
        wrong,
        images,
        classes,
        found,
        there.unreadable,
        pixels,
        there.drawn,
        checked,
        bits,
        colour,
        clock.stop(),
    )


def class_counts(images: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Return the number of images of each class, together and in each split; see `Audit.classes`."""
    counts = pd.crosstab(images["class"], images["split"])
    order = [name for name in ("train", "validation", "test", NO_SPLIT) if name in counts]
    classes = counts.reindex(index=list(class_names), columns=order, fill_value=0)
    classes = classes.rename_axis(index="class", columns=None)
    classes.insert(0, "images", classes.sum(axis=1))
    return classes
