"""What is wrong, why it matters, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from tlkit._internal.intervals import wilson
from tlkit.experiments.audit.inventory import NO_SPLIT

TINY = 20  # images of a class; with 4 of 4 test images right, the 95 % interval begins at 51 %
IMBALANCE = 3.0  # largest class over smallest, from which training weighs the classes
WIDE = 0.05  # half of a 95 % interval, above which a test split is too small
SPREAD = 0.5  # between the classes, in the share of a kind of picture
ELONGATED = 2.0  # from which a square cuts away half of the picture
ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        level: "error" (what is measured will be wrong), "warning" (it may be), or "note" (look at it).
        name: what it is.
        count: how many images, pairs or classes.
        why: what it does to training or testing.
        remedy: what to do.
        examples: names, at most those that were found.
    """

    level: str
    name: str
    count: int
    why: str
    remedy: str
    examples: list[str] = field(default_factory=list)


def problems(
    images: pd.DataFrame, pairs: pd.DataFrame, classes: pd.DataFrame, unreadable: Sequence[str]
) -> list[Problem]:
    """Return everything that is wrong, the worst first.

    Args:
        images: of `tlkit.experiments.audit.inventory`.
        pairs: of `tlkit.experiments.audit.pairs`.
        classes: images of each class by split, one row a class, with a column `images`.
        unreadable: "name: reason".
    """
    found = [
        *_twice(pairs),
        _unreadable(unreadable),
        *_small(classes),
        _imbalance(classes),
        _few_to_test(images),
        *_kinds(images),
    ]
    levels = (ERROR, WARNING, NOTE)
    return sorted((each for each in found if each is not None), key=lambda each: levels.index(each.level))


def _twice(pairs: pd.DataFrame) -> list[Problem | None]:
    same, near = pairs[pairs["identical"]], pairs[~pairs["identical"]]
    label = "The network is told two things about one picture, and whatever it says is counted wrong once."
    leak = "The test asks for what was seen in training, so that accuracy looks better than it is: a leak."
    look = "Look at the pairs; "
    return [
        _of(
            ERROR,
            "the same picture under two labels",
            same[same["two_classes"]],
            label,
            "Decide which is right, and delete the other; or delete both.",
        ),
        _of(
            ERROR,
            "the same picture in two splits",
            same[same["two_splits"]],
            leak,
            "Delete all but one, and train anew.",
        ),
        _of(
            WARNING,
            "nearly the same picture under two labels",
            near[near["two_classes"]],
            label,
            look + "where they show the same, decide which label is right.",
        ),
        _of(
            WARNING,
            "nearly the same picture in two splits",
            near[near["two_splits"]],
            leak,
            look + "delete all but one, or put all pictures of one scene into one split.",
        ),
        _of(
            NOTE,
            "the same picture twice in one split",
            _within(same),
            "It counts twice.",
            "Delete all but one.",
        ),
        _of(
            NOTE,
            "nearly the same picture twice in one split",
            _within(near),
            "Pictures of one scene say less than as many different ones.",
            look + "keep what differs.",
        ),
    ]


def _within(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[~pairs["two_classes"] & ~pairs["two_splits"]]


def _of(level: str, name: str, pairs: pd.DataFrame, why: str, remedy: str) -> Problem | None:
    if pairs.empty:
        return None
    examples = [f"{one} and {other}" for one, other in zip(pairs["one"], pairs["other"], strict=True)]
    return Problem(level, name, len(pairs), why, remedy, examples)


def _unreadable(files: Sequence[str]) -> Problem | None:
    if not files:
        return None
    remedy = "Copy them again from where they came, or delete them."
    return Problem(ERROR, "unreadable files", len(files), "They take no part.", remedy, list(files))


def _small(classes: pd.DataFrame) -> list[Problem | None]:
    counts = classes["images"]
    few = {name: int(n) for name, n in counts.items() if n < TINY}
    splits = [name for name in classes.columns if name not in ("images", NO_SPLIT)]
    gaps = [f"{name}: none in {split}" for split in splits for name, n in classes[split].items() if not n]
    low, _ = wilson(TINY // 5, TINY // 5)
    return [
        Problem(
            ERROR if min(few.values()) < 3 else WARNING,
            f"classes with fewer than {TINY} images",
            len(few),
            f"With all {TINY // 5} of its test images right, a class may still be right in {low:.0%} only; "
            "with fewer than 3 it cannot be split.",
            "Collect more, merge them with a class that means the same to you, or leave them out.",
            [f"{name}: {n}" for name, n in few.items()],
        )
        if few
        else None,
        Problem(
            WARNING,
            "classes that are missing in a split",
            len(gaps),
            "Nothing will be known about them.",
            "Move some images, or let tlkit split: one folder a class, without train and test.",
            gaps,
        )
        if gaps and counts.min() >= 3
        else None,
    ]


def _imbalance(classes: pd.DataFrame) -> Problem | None:
    counts = classes["images"][classes["images"] > 0]
    ratio = counts.max() / counts.min()
    if ratio < IMBALANCE:
        return None
    largest, smallest = counts.idxmax(), counts.idxmin()
    share = counts.max() / counts.sum()
    return Problem(
        WARNING,
        "imbalance",
        len(counts),
        f"The largest class has {ratio:.0f} times the images of the smallest; who always says {largest!r} is "
        f"right in {share:.0%}.",
        "tlkit train weighs the classes so that each counts alike. Judge by the recall of each class, not by "
        "accuracy alone.",
        [f"{largest}: {counts.max()}", f"{smallest}: {counts.min()}"],
    )


def _few_to_test(images: pd.DataFrame) -> Problem | None:
    n = int((images["split"] == "test").sum())
    if not n:
        return None
    low, high = wilson(round(0.8 * n), n)
    if (high - low) / 2 <= WIDE:
        return None
    return Problem(
        WARNING,
        "few test images",
        n,
        f"If 80 % of {n} are right, the 95 % interval is {low:.0%} to {high:.0%}; smaller differences than "
        "that cannot be seen.",
        "Collect more images, or repeat with other splits (--seed) and look at the spread.",
    )


def _kinds(images: pd.DataFrame) -> list[Problem | None]:
    kinds: list[tuple[str, pd.Series, str, str]] = [
        ("blank pictures", images["blank"], "They show nothing.", "Delete them."),
        (
            "grey pictures among coloured ones",
            images["grey"],
            "Their colours cannot help.",
            "Nothing, if you will be asked about grey ones too.",
        ),
    ]
    if "width" in images:
        short = images[["width", "height"]].min(axis=1)
        long = images[["width", "height"]].max(axis=1)
        kinds += [
            (
                "transparent pictures",
                images["transparent"],
                "tlkit puts white behind them.",
                "Nothing, if what you will be asked about has a white background too.",
            ),
            (
                "pictures below 64 pixels",
                short < 64,
                "They are enlarged, and look blurred to the network.",
                "Take larger ones, or a smaller --image-size.",
            ),
            (
                "long pictures",
                long >= ELONGATED * short,
                "A square is cut out of the middle.",
                "Crop them yourself around what they show.",
            ),
        ]
    found = [each for kind in kinds for each in _kind(images, *kind)]
    return list(found)


def _kind(images: pd.DataFrame, name: str, rows: pd.Series, why: str, remedy: str) -> list[Problem]:
    """Tell of a kind of picture where some are and some are not, and where it gives the class away."""
    if not rows.any() or (rows.all() and not name.startswith("blank")):
        return []
    found = [Problem(NOTE, name, int(rows.sum()), why, remedy, images["name"][rows].tolist())]
    shares = rows.groupby(images["class"]).mean().sort_values()
    if shares.iloc[-1] - shares.iloc[0] >= SPREAD:
        ends = [f"{shares.index[at]}: {shares.iloc[at]:.0%}" for at in (-1, 0)]
        found.append(
            Problem(
                WARNING,
                f"{name}, and mostly of some classes",
                int((shares >= SPREAD).sum()),
                "The network can tell classes by the kind of file, and not by what is shown: a shortcut.",
                "Bring all classes into the same form, or take them from the same source.",
                ends,
            )
        )
    return found
