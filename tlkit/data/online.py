"""Data sets of tensorflow-datasets: the one source that needs a network."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from tlkit.data.cards import Card
from tlkit.data.dataset import Dataset, Split
from tlkit.data.decode import square
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
    """Return an image classification data set of tensorflow-datasets, held in memory.

    Its own train, validation and test splits are kept; one that it lacks is split off from train,
    stratified by class. `offline` are the names to offer where the network is missing.

    Raises:
        DataError: the package or the network is missing, or it has no images with one label each.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"'tfds:{name}' needs tensorflow-datasets, which is not installed: pip install 'tlkit[online]'. "
            f"Without it these work: {', '.join(offline)}, or the path of a folder."
        ) from error
    try:
        splits, info = tfds.load(name, as_supervised=True, with_info=True)
        class_names = list(info.features["label"].names)
        arrays = {split: _arrays(tfds.as_numpy(splits[split]), image_size) for split in splits}
    except Exception as error:  # of the network, the file system, TensorFlow or tfds
        folder = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        raise DataError(
            f"'tfds:{name}' could not be loaded as images with one label each: {error}. It would lie in "
            f"{folder}: load it once while online, or copy that folder from another machine. "
            f"Offline these work: {', '.join(offline)}, or the path of a folder."
        ) from error
    if "train" not in arrays:
        raise DataError(f"'tfds:{name}' has the splits {', '.join(arrays)}; expected one named train.")

    images, labels = arrays["train"]
    part = stratified(
        [f"{seed}/{i}" for i in range(len(images))],
        labels,
        class_names,
        validation=0 if "validation" in arrays else validation,
        test=0 if "test" in arrays else test,
    )
    made = {split: Split(images[part == split], labels[part == split]) for split in np.unique(part).tolist()}
    made |= {split: Split(*arrays[split]) for split in ("validation", "test") if split in arrays}
    card = Card(
        name=f"tfds:{name}",
        title=name,
        description=info.description,
        licence="see its source",
        source=info.homepage,
        citation=info.citation,
        classes=class_names,
        counts={split: len(each) for split, each in made.items()},
        image_size=image_size,
    )
    return Dataset(made["train"], made.get("validation"), made.get("test"), class_names, card)


def _arrays(examples: Iterable[Any], image_size: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for image, label in examples:
        images.append(square(Image.fromarray(np.squeeze(image)), image_size))
        labels.append(int(label))
    return np.stack(images), np.array(labels)
