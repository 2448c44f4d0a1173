"""Phases that several experiments share; features are passed on as values."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tlkit
from tlkit import backbones
from tlkit._internal.cache import file_checksum
from tlkit._internal.state import SavedState
from tlkit.backbones.engines import fingerprint
from tlkit.data import Dataset, Split
from tlkit.errors import DataError, TlkitError
from tlkit.models import augmentation, normalizations
from tlkit.techniques.feature_extraction import extract_splits, feature_precision
from tlkit.techniques.views import predicted

FRACTION, LEARNING_RATE, DEPTH_DECAY = 0.7, 1e-3, 0.7  # of fine-tuning
EPOCHS, HEAD_EPOCHS = 8, 50  # of fine-tuning or training from scratch, and of a head
BATCH_SIZE = 32
SCRATCH_EPOCHS, SCRATCH_LEAST, SCRATCH_MOST = 30, 400, 6_000  # of a training from random weights; steps


class Clock:
    """Measures how long the parts of an experiment take, in seconds by name."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the part of this name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def stop(self) -> dict[str, float]:
        """Return the parts, and the time since the start as `total`."""
        return self.seconds | {"total": time.perf_counter() - self.start}


def shows_progress(verbose: int | str) -> bool:
    """Whether an experiment shows progress bars; with 2, Keras prints one line for each epoch instead."""
    return verbose in (1, "auto")


def mirrors(data: Dataset) -> bool:
    """Whether mirrored images keep their class: those of digits do not."""
    return not data.card.name.startswith("digits/")


def augmentation_for(data: Dataset, *, strength: float = 1.0) -> keras.Layer:
    """Return the augmentation of a training; see `tlkit.augmentation`."""
    return augmentation(strength=strength, flip=mirrors(data))


def loaded(backbone: str | keras.Model, weights: str | None, image_size: int) -> tuple[keras.Model, bool]:
    """Return a backbone, and whether it is pretrained; a model that was passed counts as pretrained.

    Args:
        backbone: a name of `tlkit.list_backbones()`, or a model.
        weights: `"imagenet"`, None or a weights file, for a name.
        image_size: height and width in pixels, for a name.

    Raises:
        DataError: the model takes images of another size.
    """
    if isinstance(backbone, str):
        return backbones.load_backbone(backbone, weights=weights, image_size=image_size), weights is not None
    size = backbone.inputs[0].shape[1]
    if size not in (None, image_size):
        raise DataError(
            f"{backbone.name} takes images of {size} pixels, and the data has {image_size}. Load the data "
            f"with image_size={size}."
        )
    return backbone, True


def prepare_from_scratch(network: keras.Model) -> None:
    """Let batch normalisation follow a short training from random weights.

    With Keras's momentum of 0.99 the moving statistics need hundreds of steps to forget their start; a small
    data set has tens.
    """
    for layer in normalizations(network):
        layer.momentum = 0.9


def split_features(
    network: keras.Model, splits: dict[str, Split], *, progress: bool = False
) -> tuple[dict[str, np.ndarray], str]:
    """Return the features of each split, and the precision of those that a head learns from.

    The test split is always computed in float32, so that the measured accuracy is that of the saved model.
    """
    precision = feature_precision(network, splits["train"])
    precisions = {name: "float32" if name == "test" else precision for name in splits}
    return extract_splits(network, splits, precision=precisions, progress=progress), precision


def predict_splits(
    model: keras.Model, splits: dict[str, Split], *, mirrored: bool = False, progress: bool = False
) -> dict[str, Any]:
    """Return the predictions of a model for the images of each split, by its name."""
    return {
        name: predicted(
            model,
            split.images if isinstance(split.images, np.ndarray) else split,
            mirrored=mirrored,
            verbose=int(progress),
        )
        for name, split in splits.items()
    }


def saved_state(
    backup: str | Path | None, settings: dict[str, Any], **data: Dataset | None
) -> SavedState | None:
    """Return the state of an experiment in a folder; None without a folder.

    Args:
        backup: the folder.
        settings: what must be the same to continue. Of a network its weights are compared, of a file its
            content, and of other objects of Keras their configuration.
        data: their images and labels must be the same to continue.

    Raises:
        TlkitError: the folder contains an experiment with other settings.
    """
    if backup is None:
        return None
    if not str(backup) or "\0" in str(backup):  # an empty path would be the working folder
        raise TlkitError(f"backup={backup!r} was given; expected a folder, such as 'runs/state'.")
    versions = {"tlkit": tlkit.__version__, "keras": keras.__version__, "backend": keras.backend.backend()}
    contents = {
        f"{prefix} {name} {what}": value
        for prefix, each in data.items()
        for name, split in ({} if each is None else each.splits).items()
        for what, value in (("images", split.fingerprint()), ("labels", _digest(split)))
    }
    plain = {name: _plain(value) for name, value in settings.items()}
    return SavedState(backup, plain | versions | contents)


def _digest(split: Split) -> str | None:
    """Return a digest of the labels, of one task or of several; None without labels."""
    if split.labelled:
        return hashlib.blake2b(np.asarray(split.labels, "int64").tobytes(), digest_size=8).hexdigest()
    columns = json.dumps({name: list(map(str, each)) for name, each in split.attributes.items()})
    return hashlib.blake2b(columns.encode(), digest_size=8).hexdigest() if split.attributes else None


def _plain(value: Any) -> Any:
    """Return a setting as JSON can hold it."""
    if isinstance(value, keras.Model):
        with suppress(NotImplementedError, OSError, TypeError, TlkitError):  # a layer without a configuration
            return fingerprint(value)
        return [hashlib.blake2b(np.asarray(each).tobytes()).hexdigest() for each in value.get_weights()]
    if isinstance(value, str | Path) and Path(value).is_file():
        return file_checksum(Path(value))
    with suppress(TypeError, ValueError):
        return json.loads(json.dumps(value))
    with suppress(NotImplementedError, TypeError, ValueError):
        return json.loads(json.dumps(keras.saving.serialize_keras_object(value), default=str))
    return repr(value)
