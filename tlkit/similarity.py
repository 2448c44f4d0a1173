"""One comparison of data sets: some images of each, their features, and the distance of every pair."""

import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from tlkit import backbones
from tlkit.challenges.task_similarity import distances
from tlkit.challenges.task_similarity.measures import find
from tlkit.data import Split, is_folder, load
from tlkit.data.catalog import ALIASES
from tlkit.data.folder import read_files
from tlkit.data.layout import UNDECIDED, images_below
from tlkit.data.layout import find as find_layout
from tlkit.errors import DataError, TlkitError, TlkitWarning
from tlkit.techniques import few_shot
from tlkit.techniques.feature_extraction import extract

LEAST = 10  # images of a data set: five in each half, one for each fold of the domain classifier
FOLDS = 5
PROBE = "logistic regression"


@dataclass
class Sample:
    """Some images of a data set.

    Attributes:
        images: uint8 `(n, size, size, 3)`, chosen at random.
        labels: the name of each image's class `(n,)`; None where nobody knows them.
        class_names: of the whole data set.
        of: how many images it has.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: list[str]
    of: int


@dataclass
class Similarity:
    """How far apart some data sets are.

    Attributes:
        samples: what was looked at, by the name of the data set.
        tables: of `tlkit.challenges.task_similarity.distances`, by the name of the measure.
        carried: accuracy 0 to 1 of a probe with labels of the row's data set on images of the column's; on
            the diagonal cross-validated. NaN where the classes differ; None where no two have the same.
        backbone, weights: the network that looked.
        seed: of the samples, their halves, the folds, and of random weights.
        notes: what a measure says against its own numbers.
        seconds: how long it took.
    """

    samples: dict[str, Sample]
    tables: dict[str, pd.DataFrame]
    carried: pd.DataFrame | None
    backbone: str
    weights: str | None
    seed: int
    notes: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0


def compare(
    names: Sequence[str],
    *,
    measures: Sequence[str] = ("mmd",),
    backbone: str = "EfficientNetLite0",
    weights: str | None = "imagenet",
    image_size: int = 64,
    images: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> Similarity:
    """Measure the distance of every pair of data sets in the features of one network.

    Args:
        names: at least two data sets, or folders of images, sorted by class or not. Of a data set the train
            images are looked at.
        measures: names of `tlkit.challenges.task_similarity.MEASURES`.
        backbone: a name of `tlkit.backbones`.
        weights: `"imagenet"`, `None` or a weights file.
        image_size: height and width in pixels, the same for all, so that it tells nothing.
        images: of each data set, at most, chosen at random. Half the smallest number is on each side of a
            comparison.
        seed: chooses the images, their halves, the folds, and random weights.
        progress: show progress bars.

    Raises:
        DataError: fewer than two data sets, one of them twice, or one with fewer than ten images.
        UnknownNameError: there is no such data set, measure or backbone.
        TlkitError: fewer than ten images were asked for, or no measure.

    >>> options = {"backbone": "LeNet", "weights": None, "image_size": 28, "images": 40}
    >>> found = compare(["digits/optical", "emoji"], measures=["auc"], **options)
    >>> [round(float(each.loc["digits/optical", "emoji/twemoji"])) for each in found.tables.values()]
    [1]
    """
    start = time.perf_counter()
    asked = _titles(names)
    if images < LEAST:
        raise TlkitError(f"images={images} was given; expected at least {LEAST} of each data set.")
    if not measures:
        raise TlkitError("No measure was given; expected names such as 'mmd'. See tlkit similarity --list.")
    chosen = [find(name) for name in measures]
    backbones.find(backbone).check_size(image_size)
    samples = {
        title: sample(name, images, image_size=image_size, seed=seed, progress=progress)
        for title, name in asked.items()
    }
    for title, each in samples.items():
        if len(each.images) < LEAST:
            raise DataError(
                f"{title} has {len(each.images)} images; expected at least {LEAST}, and some hundreds for a "
                "distance that you can trust. Add images, or leave it out."
            )
    keras.utils.set_random_seed(seed)  # of random weights
    network = backbones.get(backbone, weights=weights, image_size=image_size)
    features = {
        title: extract(network, Split(each.images), progress=progress) for title, each in samples.items()
    }
    found = Similarity(samples, {}, carried_over(features, samples, seed=seed), network.name, weights, seed)
    for measure in chosen:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TlkitWarning)
            found.tables[measure.name] = distances(features, measure, seed=seed)
        found.notes[measure.name] = [
            str(each.message) for each in caught if issubclass(each.category, TlkitWarning)
        ]
    found.seconds = time.perf_counter() - start
    return found


def sample(name: str, most: int, *, image_size: int, seed: int = 0, progress: bool = False) -> Sample:
    """Return some images of a data set or folder, chosen at random; of a folder only these are read.

    Raises:
        UnknownNameError, DataError: there is no such data set, or its images cannot be read.

    >>> some = sample("digits/optical", 20, image_size=28)
    >>> tuple(some.images.shape), some.labels.shape, some.of
    ((20, 28, 28, 3), (20,), 1079)
    """
    if is_folder(name):
        return _of_folder(Path(name).expanduser(), most, image_size, seed, progress)
    data = load(name, image_size=image_size)
    rows = _some(len(data.train), most, seed)
    part = data.train.subset(rows)
    labels = np.array(data.class_names)[part.labels] if part.labelled and data.class_names else None
    return Sample(np.asarray(part.images), labels, data.class_names, len(data.train))


def carried_over(
    features: dict[str, np.ndarray], samples: dict[str, Sample], *, seed: int = 0
) -> pd.DataFrame | None:
    """Return what labels of one data set are worth on another of the same classes: `Similarity.carried`.

    A distance between domains knows no labels, and this does: it says whether the same classes lie in the
    same places.
    """
    known = {name: each.labels for name, each in samples.items() if each.labels is not None}
    table = pd.DataFrame(np.nan, index=list(samples), columns=list(samples))
    for one in known:
        same = [
            name for name in known if set(samples[name].class_names) == set(samples[one].class_names) != set()
        ]
        if len(same) < 2 or len(set(known[one])) < 2:
            continue
        with threadpool_limits(1):  # on so few examples threads only wait for each other
            probe = few_shot.head(PROBE).fit(features[one], known[one])
            for other in same:
                table.loc[one, other] = (
                    _cross_validated(features[one], known[one])
                    if other == one
                    else float(probe.score(features[other], known[other]))
                )
    return None if table.isna().all(axis=None) else table


def _cross_validated(features: np.ndarray, labels: np.ndarray) -> float:
    folds = min(FOLDS, min(Counter(labels).values()))
    if folds < 2:
        return float("nan")  # a class with one image: none to learn from where it is held out
    return float(cross_val_score(few_shot.head(PROBE), features, labels, cv=folds).mean())


def _of_folder(root: Path, most: int, image_size: int, seed: int, progress: bool) -> Sample:
    try:
        found, class_names = find_layout(root)
        found = [each for each in found if each.split in ("train", UNDECIDED)]
        files, labels = [each.file for each in found], [each.class_name for each in found]
    except DataError:  # not sorted by class, which is no fault here
        files, labels, class_names = images_below(root), [], []
    if not files:
        raise DataError(f"There are no images below {root}. Expected files such as .jpg or .png.")
    rows = _some(len(files), most, seed)
    pixels, _, kept, _ = read_files(root, [files[row] for row in rows], image_size, True, progress)
    named = np.array([labels[rows[row]] for row in kept]) if labels else None
    return Sample(np.asarray(pixels), named, class_names, len(files))


def _some(count: int, most: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _titles(names: Sequence[str]) -> dict[str, str]:
    """Return the data sets by what they are called on a figure: of a folder its own name, if that will do."""
    if len(names) < 2:
        raise DataError(
            f"{len(names) or 'No'} data set{'s' * (len(names) != 1)} given: expected at least two to "
            "compare, such as emoji/twemoji emoji/line."
        )
    meant = [
        str(Path(name).expanduser().resolve()) if is_folder(name) else ALIASES.get(name, name)
        for name in names
    ]
    twice = [name for name, each in zip(names, meant, strict=True) if meant.count(each) > 1]
    if twice:
        raise DataError(
            f"The same data set was given more than once: {', '.join(twice)}. Name each once; how far two "
            "halves of one are apart stands on the diagonal anyway."
        )
    short = [Path(each).name if is_folder(name) else each for name, each in zip(names, meant, strict=True)]
    return {
        last if short.count(last) == 1 else each: name
        for name, each, last in zip(names, meant, short, strict=True)
    }
