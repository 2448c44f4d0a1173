"""Find the problems of a data set, and say why each matters and how to solve it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from tlkit._internal.intervals import wilson
from tlkit.experiments.audit.check import Check
from tlkit.experiments.audit.inventory import NO_SPLIT

TINY = 20  # images of a class; with 4 of 4 test images right, the 95 % interval begins at 51 %
IMBALANCE = 3.0  # ratio of the largest to the smallest class from which training uses class weights
WIDE = 0.05  # half width of the 95 % interval above which a test split is too small
SPREAD = 0.5  # difference between classes, in the fraction with a property, that makes it a shortcut
ELONGATED = 2.0  # ratio of the sides from which a square crop removes half of the image
SMALL = 64  # pixels of the shorter side below which an image is small
ERROR, WARNING, NOTE = "error", "warning", "note"
CONTRADICTION = (
    "A network predicts the same class for identical images, so at least one prediction counts as wrong."
)
LEAK = "A leak: copies of an image are in two splits, so the measured accuracy can be too high."
LIKELY_CONTRADICTION = "If the two images show the same object, one of the labels is wrong."
LIKELY_LEAK = (
    "If these are copies, the network may be evaluated on images that it was trained on, and its accuracy is "
    "overestimated."
)
LABEL_ERRORS, WEAK_GROUPS, OUTLIERS = "likely label errors", "groups with a low accuracy", "outliers"


@dataclass(frozen=True)
class Problem:
    """A problem of a data set.

    Attributes:
        level: "error" (fix before training: it can make measured accuracies wrong, or loses files or
            classes), "warning" (it may make them wrong), or "note" (check whether it matters).
        name: of the problem.
        count: number of images, pairs or classes that are affected.
        why: how the problem affects training or testing.
        remedy: what to do.
        examples: the images, pairs or classes that are affected.
    """

    level: str
    name: str
    count: int
    why: str
    remedy: str
    examples: list[str] = field(default_factory=list)


def problems(
    images: pd.DataFrame,
    pairs: pd.DataFrame,
    classes: pd.DataFrame,
    unreadable: Sequence[str],
    check: Check | None = None,
) -> list[Problem]:
    """Return the problems of a data set, the most serious first.

    Args:
        images: the table of an `Inventory`.
        pairs: the table of identical and similar images, from `pairs`.
        classes: one row for each class, with the column `images` and the number of images in each split.
        unreadable: "name: reason" of each file that cannot be read.
        check: what a frozen backbone finds; None without one.
    """
    found = [
        *_copies(pairs, pairs[:0] if check is None else check.near_duplicates),
        _unreadable(unreadable),
        *([] if check is None else _suspects(images, check)),
        *_small_classes(classes),
        _imbalance(classes),
        _few_test_images(images),
        *_properties(images),
    ]
    levels = (ERROR, WARNING, NOTE)
    return sorted((each for each in found if each is not None), key=lambda each: levels.index(each.level))


def _copies(pairs: pd.DataFrame, near: pd.DataFrame) -> list[Problem | None]:
    identical, similar = pairs[pairs["identical"]], pairs[~pairs["identical"]]
    found = [
        _of_pairs(
            ERROR,
            "identical images with different labels",
            identical[identical["two_classes"]],
            CONTRADICTION,
            "Decide which label is right and delete the other copy, or delete both copies.",
        ),
        _of_pairs(
            ERROR,
            "identical images in two splits",
            identical[identical["two_splits"]],
            LEAK,
            "Delete all copies but one, then train again.",
        ),
        _of_pairs(
            NOTE,
            "identical images in one split",
            _within(identical),
            "A repeated image counts more than once.",
            "Delete all copies but one.",
        ),
    ]
    for name, those in {"similar images": similar, "near duplicates by features": near}.items():
        found += [
            _of_pairs(
                WARNING,
                f"{name} with different labels",
                those[those["two_classes"]],
                LIKELY_CONTRADICTION,
                "Check the pairs, and decide which label is right.",
            ),
            _of_pairs(
                WARNING,
                f"{name} in two splits",
                those[those["two_splits"]],
                LIKELY_LEAK,
                "Check the pairs. Delete all copies but one, or put all images of a scene into one split.",
            ),
            _of_pairs(
                NOTE,
                f"{name} in one split",
                _within(those),
                "Several images of one scene are worth less than the same number of different images.",
                "Check the pairs. Keep the images that differ.",
            ),
        ]
    return found


def _within(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[~pairs["two_classes"] & ~pairs["two_splits"]]


def _of_pairs(level: str, name: str, pairs: pd.DataFrame, why: str, remedy: str) -> Problem | None:
    if pairs.empty:
        return None
    examples = [f"{one} and {other}" for one, other in zip(pairs["one"], pairs["other"], strict=True)]
    return Problem(level, name, len(pairs), why, remedy, examples)


def _unreadable(files: Sequence[str]) -> Problem | None:
    if not files:
        return None
    why = "These files are left out of training and testing."
    remedy = "Copy the files again from their source, or delete them."
    return Problem(ERROR, "unreadable files", len(files), why, remedy, list(files))


def _suspects(images: pd.DataFrame, check: Check) -> list[Problem]:
    errors, far, groups = check.label_errors, check.outliers, check.weak_groups
    accuracy = "" if check.predictions is None else f"{check.predictions.accuracy:.0%}"
    names = images["name"].to_numpy()
    labels = zip(names[errors["row"].astype(int)], errors["label"], errors["suggested"], strict=True)
    found = [
        Problem(
            WARNING,
            LABEL_ERRORS,
            len(errors),
            "According to the features of each image, another class is more probable than its label. "
            f"Predictions can be wrong, too: {accuracy} of them agree with the labels that were checked.",
            "Inspect each image, the least probable label first, and correct the labels that are wrong.",
            [f"{name}: {given}, suggested {suggested}" for name, given, suggested in labels],
        ),
        Problem(
            NOTE,
            WEAK_GROUPS,
            len(groups),
            "In these groups of similar images, fewer predictions agree with the label than in all images "
            f"({accuracy}).",
            "Inspect the images of each group. If their labels are right, collect more images like them.",
            [
                f"group {number}: {len(each.members)} images, accuracy {each.accuracy:.0%}"
                for number, each in enumerate(groups, 1)
            ],
        ),
        Problem(
            NOTE,
            OUTLIERS,
            len(far),
            "The features of these images are unusually far from those of their ten nearest images.",
            "Inspect each image. Delete it if it does not belong to the data. If it is right but rare, "
            "collect more images like it.",
            names[far["row"].astype(int)].tolist(),
        ),
    ]
    return [each for each in found if each.count]


def _small_classes(classes: pd.DataFrame) -> list[Problem | None]:
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
            f"Of {TINY} images, about {TINY // 5} are test images. Even if all of these are classified "
            f"correctly, the 95 % interval of the accuracy begins at {low:.0%}. A class with fewer than 3 "
            "images cannot be divided into splits.",
            "Collect more images, merge the class with a related one, or leave the class out.",
            [f"{name}: {n}" for name, n in few.items()],
        )
        if few
        else None,
        Problem(
            WARNING,
            "classes missing from a split",
            len(gaps),
            "Without training images, a class cannot be learned. Without test images, its accuracy is "
            "unknown.",
            "Move some images, or let tlkit draw the splits from one folder for each class.",
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
    fraction = counts.max() / counts.sum()
    return Problem(
        WARNING,
        "class imbalance",
        len(counts),
        f"The largest class has {ratio:.0f} times as many images as the smallest. Always predicting "
        f"{largest!r} reaches an accuracy of {fraction:.0%}.",
        "tlkit train uses class weights, so that every class counts equally. Compare the recall of each "
        "class, not only the accuracy.",
        [f"{largest}: {counts.max()}", f"{smallest}: {counts.min()}"],
    )


def _few_test_images(images: pd.DataFrame) -> Problem | None:
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
        f"If 80 % of {n} test images are classified correctly, the 95 % interval of the accuracy is "
        f"{low:.0%} to {high:.0%}. Two models whose accuracies lie in it may differ by chance.",
        "Collect more images, or repeat the training with other splits (--seed) and compare the results.",
    )


def _properties(images: pd.DataFrame) -> list[Problem | None]:
    kinds: list[tuple[str, pd.Series, str, str]] = [
        (
            "blank images",
            images["blank"],
            "A blank image shows nothing of its class.",
            "Delete these images.",
        ),
        (
            "greyscale images among colour images",
            images["grey"],
            "A greyscale image has no colours that could help to recognise its class.",
            "If the images to classify later are all in colour, replace or remove these images. Otherwise do "
            "nothing.",
        ),
    ]
    if "width" in images:
        short = images[["width", "height"]].min(axis=1)
        long = images[["width", "height"]].max(axis=1)
        kinds += [
            (
                "transparent images",
                images["transparent"],
                "tlkit replaces transparency with a white background.",
                "If the images to classify later have other backgrounds, put these images on such a "
                "background. Otherwise do nothing.",
            ),
            (
                f"images smaller than {SMALL} pixels",
                short < SMALL,
                "Small images are enlarged, and therefore blurred.",
                "Use larger images, or a smaller --image-size.",
            ),
            (
                "elongated images",
                long >= ELONGATED * short,
                "tlkit crops a square from the centre, and the rest is lost.",
                "Crop these images around the object that they show.",
            ),
        ]
    found = [each for kind in kinds for each in _property(images, *kind)]
    return list(found)


def _property(images: pd.DataFrame, name: str, rows: pd.Series, why: str, remedy: str) -> list[Problem]:
    """Return a note if some images have a property, and a warning if the property reveals the class.

    A property of all images is no problem, except that blank images always are.
    """
    if not rows.any() or (rows.all() and not name.startswith("blank")):
        return []
    found = [Problem(NOTE, name, int(rows.sum()), why, remedy, images["name"][rows].tolist())]
    fractions = rows.groupby(images["class"]).mean().sort_values()
    if fractions.iloc[-1] - fractions.iloc[0] >= SPREAD:
        extremes = [f"{fractions.index[at]}: {fractions.iloc[at]:.0%}" for at in (-1, 0)]
        found.append(
            Problem(
                WARNING,
                f"{name}, mostly in some classes",
                int((fractions >= SPREAD).sum()),
                "The network can recognise a class by this property instead of by its content: a shortcut.",
                "Convert the images of all classes to the same form, or collect all classes from one source.",
                extremes,
            )
        )
    return found
