"""Train a classifier on a data set by one technique of transfer learning."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from tlkit._internal.sizes import check_length
from tlkit.data import Dataset
from tlkit.errors import TlkitError, UnknownNameError
from tlkit.experiments.fitting import AUTO, FROZEN, MINUTES, Fitted, fit_classifier
from tlkit.experiments.phases import saved_state
from tlkit.reports.training import Training
from tlkit.techniques import TECHNIQUES


def train(
    data: Dataset,
    *,
    technique: str = AUTO,
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    epochs: int | None = None,
    minutes: float | None = MINUTES,
    augment: bool = True,
    mirrored_views: bool = False,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    backup: str | Path | None = None,
    **options: Any,
) -> Training:
    """Train a classifier and predict all splits. By default, held-out labels choose the technique.

    `technique="auto"` first solves a head on the features of the frozen backbone. If there is time, it then
    fine-tunes the backbone and interpolates between the frozen and the fine-tuned weights. The result is the
    interpolation with the lowest log loss on held-out labels. It may be the frozen network itself (see
    `tlkit.robust_fine_tune`). If the backbone was fine-tuned, the report compares the two.

    All labels of the training and of the validation split are used for training. The predictions for the
    validation split come from models that did not learn from these images (cross-validation). If there was no
    time to hold out all of them, the validation split has no predictions. Training from scratch is the
    exception: there the validation split chooses the best epoch. If the largest class has at least 3 times as
    many labels as the smallest, all classes get the same total weight.

    Args:
        data: a labelled data set.
        technique: `"auto"`, as above; `"feature-extraction"`, which freezes the backbone and solves a head;
            `"fine-tuning"`, which is `"auto"` with a minimum number of steps even if time is short; or
            `"scratch"`, the control, which trains the same network from random weights. `"fine-tuning"`, too,
            may return the frozen network; then `tuning.mix` of the result is 0.
        backbone: a name of `tlkit.list_backbones()`; or a model from raw images to features, such as
            `tlkit.load_backbone` returns, of KerasHub, or your own. From scratch, a copy with new random
            weights is trained.
        weights: `"imagenet"`, a weights file, or None for random weights; used only if `backbone` is a name,
            and not from scratch.
        epochs: epochs of fine-tuning or training from scratch. By default, the number of steps depends on the
            number of images and on `minutes`. From scratch, `epochs` overrides `minutes`; with `"auto"`, the
            network stays frozen if so many epochs take longer than `minutes`.
        minutes: time limit for fine-tuning or for training from scratch; None for no limit. Extracting the
            features and solving the head take extra time (`robust_fine_tune` includes them in its limit).
            `"fine-tuning"` and `"scratch"` make a minimum number of steps even if they take longer.
        augment: random flips, shifts, rotations and zooms in training; digits are not mirrored. In
            fine-tuning they are half as strong as from scratch.
        mirrored_views: predict each image and its mirror image, and take the mean; twice as slow, and often a
            little more accurate. `tlkit.predict` and `tlkit.evaluate` then do the same. Held-out predictions
            for the validation split are not mirrored.
        seed: of the weights, the folds, the order of the images and the augmentation.
        callbacks: Keras callbacks for every training of the network; those of a fine-tuning cannot change the
            learning rate, and have no validation loss to monitor.
        verbose: 0 is silent, 1 shows progress bars. 2 prints a line for each epoch from scratch, and for each
            fold of a fine-tuning, with the minutes left.
        backup: a folder for the state after each epoch. Called again with the same arguments, training
            continues where it stopped, and without a time limit it ends with the same weights. From scratch,
            the images then have another order than without a backup.
        options: of the fine-tuning, `folds` (see `tlkit.robust_fine_tune`) and what
            `tlkit.techniques.repeated_training.Recipe` lists, such as `learning_rate=3e-4`; from scratch,
            those of `tlkit.fine_tune`.

    Returns:
        The trained model with its predictions and metrics. `tlkit.write_report(training, "runs/mine")` writes
        them.

    Raises:
        UnknownNameError: there is no such technique or backbone.
        DataError: images or labels do not fit the backbone.
        NoLabelsError: the training split has no labels.
        TlkitError: `backup` contains a training with other arguments.
        TlkitError: an option that the technique does not have, an option or a seed out of range, mirrored
            views of digits, or `"fine-tuning"` with a single label per class.

    >>> import tlkit
    >>> data = tlkit.load("digits/optical")
    >>> training = train(data, technique="scratch", backbone="LeNet", epochs=1)
    >>> training.probabilities["test"].shape
    (359, 10)
    """
    asked, known = technique.lower(), [AUTO, *(name.lower() for name in TECHNIQUES.names)]
    if asked not in known:
        raise UnknownNameError("technique", technique, known)
    check_length(epochs, minutes)
    unused = [*options, *([] if epochs is None else ["epochs"])] if asked == FROZEN else []
    if unused:
        raise TlkitError(
            f"technique='feature-extraction' solves a head and has no option {', '.join(unused)}. Leave it "
            "out, or choose technique='fine-tuning'."
        )
    settings: dict[str, Any] = {"backbone": backbone, "weights": weights, "epochs": epochs}
    settings |= {"minutes": minutes, "augment": augment, "mirrored_views": mirrored_views, "seed": seed}
    settings |= options
    fitted = fit_classifier(
        data,
        asked,
        **settings,
        callbacks=callbacks,
        verbose=verbose,
        state=saved_state(backup, {"technique": asked} | settings, data=data),
    )
    return _result(data, seed, asked, fitted)


def _result(data: Dataset, seed: int, asked: str, fitted: Fitted) -> Training:
    """Return the result; the frozen network is one of its `others` if the network was fine-tuned too."""
    values = vars(fitted).copy()
    frozen = values.pop("frozen_probabilities")
    result = Training(data=data, seed=seed, asked=asked, **values)
    if frozen and fitted.technique != FROZEN:
        seconds = {name: fitted.seconds[name] for name in ("features", "head")}
        seconds["total"] = sum(seconds.values())
        result.others = [
            replace(result, technique=FROZEN, probabilities=frozen, history={}, tuning=None, seconds=seconds)
        ]
    return result
