"""Load data sets of tensorflow-datasets, which needs a network connection the first time."""

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from tlkit.data.cards import Card
from tlkit.data.dataset import Dataset, Split
from tlkit.data.decode import square
from tlkit.data.download import unreachable
from tlkit.data.splits import stratified
from tlkit.errors import DataError


def load_tfds(
    name: str,
    *,
    image_size: int = 224,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    offline: Iterable[str] = (),
) -> Dataset:
    """Load an image classification data set of tensorflow-datasets into memory.

    Its train, validation and test splits are kept. A missing split is split off from train, stratified by
    class.

    Args:
        name: the name of the data set in tensorflow-datasets, such as "cats_vs_dogs".
        image_size: height and width in pixels.
        validation, test: fractions of each class to split off for a missing split.
        seed: chooses the random split.
        offline: names of data sets that the error suggests if the network connection is missing.

    Raises:
        DataError: the package or the network connection is missing; the data set has no train split, or no
            images with one label each.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"'tfds:{name}' needs tensorflow-datasets, which is not installed: pip install 'tlkit[online]'. "
            f"Without it, use {', '.join(offline)}, or the path of a folder."
        ) from error
    refuse_offline(tfds, name, offline)
    try:
        splits, info = tfds.load(name, as_supervised=True, with_info=True)
        class_names = list(info.features["label"].names)
        arrays = {split: _arrays(tfds.as_numpy(splits[split]), image_size) for split in splits}
    except Exception as error:  # of the network, the file system, TensorFlow or tfds
        raise DataError(
            f"'tfds:{name}' could not be loaded as images with one label each: {error}. It is expected in "
            f"{_home()}: load it once while online, or copy that folder from another machine. "
            f"Offline, use {', '.join(offline)}, or the path of a folder."
        ) from error
    if "train" not in arrays:
        raise DataError(
            f"'tfds:{name}' has the splits {', '.join(arrays)}; expected one named train. Choose another "
            "data set."
        )

    images, labels = arrays["train"]
    part = stratified(
        [f"{seed}/{i}" for i in range(len(images))],
        labels,
        class_names,
        validation=0 if "validation" in arrays else validation,
        test=0 if "test" in arrays else test,
    )
    parts = {name: Split(images[part == name], labels[part == name]) for name in np.unique(part).tolist()}
    parts |= {split: Split(*arrays[split]) for split in ("validation", "test") if split in arrays}
    card = Card(
        name=f"tfds:{name}",
        title=name,
        description=info.description,
        licence="see its source",
        source=info.homepage,
        citation=info.citation,
        classes=class_names,
        counts={split: len(each) for split, each in parts.items()},
        image_size=image_size,
    )
    return Dataset(parts["train"], parts.get("validation"), parts.get("test"), class_names, card)


def refuse_offline(tfds: Any, name: str, offline: Iterable[str]) -> None:
    """Check that the files of a data set are prepared here or can be downloaded; tfds retries for minutes.

    Raises:
        DataError: they are not here, and their server cannot be reached.
    """
    try:
        builder = tfds.builder(name)
        urls = [] if builder.is_prepared() else [url for url in builder.url_infos if url.startswith("http")]
    except Exception:  # tfds.load gives the reason
        return
    if urls and (reason := unreachable(urls[0])):
        raise DataError(
            f"'tfds:{name}' is not on this machine, and {urlsplit(urls[0]).hostname} cannot be reached: "
            f"{reason}. It is expected in {_home()}: load it once while online, or copy that folder from "
            f"another machine. Offline, use {', '.join(offline)}, or the path of a folder."
        )


def _home() -> str:
    return os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")


def _arrays(examples: Iterable[Any], image_size: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for image, label in examples:
        images.append(square(Image.fromarray(np.squeeze(image)), image_size))
        labels.append(int(label))
    return np.stack(images), np.array(labels)
