"""Train a classifier on a data set by one technique of transfer learning."""

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.data import Dataset
from tlkit.errors import TlkitError
from tlkit.experiments import phases
from tlkit.experiments.fitting import fit_classifier
from tlkit.reports.training import Training
from tlkit.techniques import TECHNIQUES


def train(
    data: Dataset,
    *,
    technique: str = "feature-extraction",
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    epochs: int | None = None,
    head_epochs: int = phases.HEAD_EPOCHS,
    augment: bool = True,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    **options: Any,
) -> Training:
    """Train a classifier, keep its best epoch on the validation split, and predict all splits.

    Args:
        data: a labelled data set.
        technique: `"feature-extraction"` (freeze the backbone and train a head), `"fine-tuning"` (then train
            its upper layers as well) or `"scratch"` (train the same network from random weights: the
            control).
        backbone: a name of `tlkit.list_backbones()`; or a model from raw images to features, such as
            `tlkit.load_backbone` returns, of KerasHub, or your own. From scratch, a copy with new random
            weights is trained.
        weights: `"imagenet"` or a weights file, for a name; ignored from scratch.
        epochs: at most; of the head for feature extraction (50 by default), else of the network (8).
        head_epochs: epochs of the head before fine-tuning.
        augment: random flips, shifts, rotations and zooms in training; digits are not mirrored.
        seed: of the weights, the order of the images and the augmentation.
        callbacks: Keras callbacks for every phase.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.
        options: of `tlkit.fine_tune`, for fine-tuning and training from scratch. By default `fraction=0.7`,
            `learning_rate=1e-3` and `depth_decay=0.7`.

    Returns:
        The trained model with its figures. `tlkit.write_report(training, "runs/mine")` writes them.

    Raises:
        UnknownNameError: there is no such technique or backbone.
        DataError: images or labels do not fit.
        TlkitError: options for feature extraction, or a seed out of range.

    >>> import tlkit
    >>> data = tlkit.load("digits/optical")
    >>> training = train(data, technique="scratch", backbone="LeNet", epochs=1)
    >>> training.probabilities["test"].shape
    (359, 10)
    """
    technique = TECHNIQUES.find(technique).name
    if options and technique == "feature-extraction":
        raise TlkitError(
            f"technique='feature-extraction' trains a head alone and has no option {', '.join(options)}. "
            "Leave it out, or choose technique='fine-tuning'."
        )
    fitted = fit_classifier(
        data,
        technique,
        backbone=backbone,
        weights=weights,
        epochs=epochs,
        head_epochs=head_epochs,
        augment=augment,
        seed=seed,
        callbacks=callbacks,
        verbose=verbose,
        **options,
    )
    return Training(data=data, technique=technique, seed=seed, **vars(fitted))
