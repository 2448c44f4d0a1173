"""Compare data sets: a sample of each, their features, and the distance of every pair."""

import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_predict
from threadpoolctl import threadpool_limits

from tlkit import backbones
from tlkit._internal.seeds import set_seed
from tlkit.challenges.task_similarity import MEASURES, distances
from tlkit.data import Split, is_folder, load
from tlkit.data.catalog import ALIASES
from tlkit.data.folder import read_files
from tlkit.data.layout import UNDECIDED, find_images, images_below
from tlkit.errors import DataError, TlkitError, TlkitWarning
from tlkit.reports.measures import MEASURE_NAMES, point_measures
from tlkit.reports.similarity import Sample, Similarity
from tlkit.techniques import few_shot
from tlkit.techniques.feature_extraction import extract, feature_precision

LEAST = 10  # images of a data set: five in each half, one for each fold of the domain classifier
FOLDS = 5
PROBE = "logistic regression"


def similarity(
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
        names: at least two data sets, or folders of images, sorted by class or not. Of a data set, the train
            images are compared.
        measures: names of `tlkit.challenges.task_similarity.MEASURES`; the report is about the first one.
        backbone: a name of `tlkit.list_backbones()`.
        weights: `"imagenet"`, `None` (random) or a weights file.
        image_size: height and width in pixels, the same for all, so that the size tells nothing.
        images: of each data set, at most, chosen at random. Half the smallest number is on each side of a
            comparison.
        seed: chooses the images, their halves, the folds, and random weights.
        progress: show progress bars.

    Returns:
        The distances and the samples.

    Raises:
        DataError: fewer than two data sets, one of them twice, or one with fewer than ten images.
        UnknownNameError: there is no such data set, measure or backbone.
        TlkitError: fewer than ten images were asked for, or no measure.

    >>> options = {"backbone": "LeNet", "weights": None, "image_size": 28, "images": 40}
    >>> found = similarity(["digits/optical", "emoji"], measures=["auc"], **options)
    >>> [round(float(each.loc["digits/optical", "emoji/twemoji"])) for each in found.tables.values()]
    [1]
    """
    start = time.perf_counter()
    asked = _titles(names)
    if images < LEAST:
        raise TlkitError(f"images={images} was given; expected at least {LEAST} of each data set.")
    if not measures:
        raise TlkitError("No measure was given; expected names such as 'mmd'. See tlkit similarity --list.")
    chosen = [MEASURES.find(name) for name in measures]
    backbones.BACKBONES.find(backbone).check_size(image_size)
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
    set_seed(seed)  # of random weights
    network = backbones.load_backbone(backbone, weights=weights, image_size=image_size)
    precision = feature_precision(network, next(iter(samples.values())).images)
    features = {
        title: extract(network, Split(each.images), precision=precision, progress=progress)
        for title, each in samples.items()
    }
    tables, notes = {}, {}
    for measure in chosen:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TlkitWarning)
            tables[measure.name] = distances(features, measure, seed=seed)
        notes[measure.name] = [
            str(each.message) for each in caught if issubclass(each.category, TlkitWarning)
        ]
    return Similarity(
        samples,
        tables,
        transfer_measures(features, samples),
        chosen[0].name,
        network.name,
        weights,
        seed,
        notes,
        precision,
        {"total": time.perf_counter() - start},
    )


def sample(name: str, most: int, *, image_size: int, seed: int = 0, progress: bool = False) -> Sample:
    """Return a random sample of the images of a data set or folder; of a folder, only these are read.

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


def transfer_measures(features: dict[str, np.ndarray], samples: dict[str, Sample]) -> dict[str, pd.DataFrame]:
    """Return the measures of a probe from each data set to each other one with the same classes.

    A distance between domains ignores labels; this uses them. It says whether the classes are in the same
    places of the feature space. See `Similarity.transfer`.
    """
    known = {name: each.labels for name, each in samples.items() if each.labels is not None}
    empty = pd.DataFrame(np.nan, index=list(samples), columns=list(samples))
    tables = {measure: empty.copy() for measure in MEASURE_NAMES}
    for one in known:
        same = [
            name for name in known if set(samples[name].class_names) == set(samples[one].class_names) != set()
        ]
        if len(same) < 2 or len(set(known[one])) < 2:
            continue
        with threadpool_limits(1):  # with so few examples, threads only wait for each other
            probe = few_shot.head(PROBE).fit(features[one], known[one])
            for other in same:
                predicted = (
                    _cross_validated(features[one], known[one])
                    if other == one
                    else probe.predict(features[other])
                )
                if predicted is not None:
                    for measure, value in point_measures(known[other], predicted).items():
                        tables[measure].loc[one, other] = value
    return {} if tables["accuracy"].isna().all(axis=None) else tables


def _cross_validated(features: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    folds = min(FOLDS, min(Counter(labels).values()))
    if folds < 2:
        return None  # a class with one image cannot be learned where that image is held out
    return cross_val_predict(few_shot.head(PROBE), features, labels, cv=folds)


def _of_folder(root: Path, most: int, image_size: int, seed: int, progress: bool) -> Sample:
    try:
        found, class_names = find_images(root)
        found = [each for each in found if each.split in ("train", UNDECIDED)]
        files, labels = [each.file for each in found], [each.class_name for each in found]
    except DataError:  # not sorted by class, which is fine here
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
    """Return the data sets by their names on a figure: of a folder its last part, if that is unique."""
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
            f"The same data set was given more than once: {', '.join(twice)}. Name each once; the diagonal "
            "shows the distance of two halves of each anyway."
        )
    short = [Path(each).name if is_folder(name) else each for name, each in zip(names, meant, strict=True)]
    return {
        last if short.count(last) == 1 else each: name
        for name, each, last in zip(names, meant, short, strict=True)
    }
