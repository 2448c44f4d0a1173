"""WiSE-FT: interpolate between the weights before and after fine-tuning."""

from collections.abc import Sequence

import keras
import numpy as np

from tlkit.errors import TlkitError
from tlkit.techniques.continual_learning.new_classes import copied
from tlkit.techniques.interpolation import interpolated


def wise_ft(before: keras.Model | Sequence[np.ndarray], after: keras.Model, mix: float = 0.5) -> keras.Model:
    """Return a new model whose weights lie between those before and those after fine-tuning.

    Each weight is `(1 - mix) w_before + mix w_after`. On images like the training images the result is often
    as accurate as the fine-tuned model; on other images it is often more accurate, because it keeps more of
    the pretrained model.

    Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT).

    Args:
        before: the model before fine-tuning, with a trained head (`train_head`), or its `get_weights()`. Keep
            the weights before you fine-tune, because fine-tuning works in place.
        after: the same model after fine-tuning.
        mix: interpolation coefficient, 0 to 1; 0 returns exactly `before`, 1 exactly `after`.

    Returns:
        A model that shares no weights with either.

    Raises:
        TlkitError: `mix` is out of range, or the weights belong to different networks.

    >>> from tlkit.models import build_classifier
    >>> before, after = (build_classifier("LeNet", classes=10, weights=None) for _ in range(2))
    >>> half = wise_ft(before, after, 0.5).get_weights()[0]
    >>> bool(np.allclose(half, (before.get_weights()[0] + after.get_weights()[0]) / 2))
    True
    """
    if not 0 <= mix <= 1:
        raise TlkitError(f"mix={mix} was given; expected 0 (before) to 1 (after), such as 0.5.")
    start = before.get_weights() if isinstance(before, keras.Model) else [np.asarray(each) for each in before]
    end = after.get_weights()
    if [each.shape for each in start] != [each.shape for each in end]:
        raise TlkitError(
            f"There are {len(start)} weights before and {len(end)} after, or their shapes differ: these are "
            "two networks. Keep the weights of the model that you fine-tune: before = model.get_weights()."
        )
    between = copied(after)
    between.set_weights(interpolated(start, end, mix))
    return between
