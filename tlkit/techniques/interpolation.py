"""Interpolate linearly between the weights of two models of the same architecture."""

from collections.abc import Sequence

import numpy as np


def interpolated(start: Sequence[np.ndarray], end: Sequence[np.ndarray], mix: float) -> list[np.ndarray]:
    """Return the weights (1 - mix) start + mix end; exactly `start` for 0 and exactly `end` for 1.

    Args:
        start, end: the weights of two networks of one architecture, as of `get_weights`. Integers, such as
            the state of a random generator, are not mixed but taken from `end`, unless `mix` is 0.
        mix: 0 to 1.

    >>> interpolated([np.array([0.0, 4.0])], [np.array([1.0, 8.0])], 0.25)
    [array([0.25, 5.  ])]
    """
    return [_between(one, other, mix) for one, other in zip(start, end, strict=True)]


def _between(start: np.ndarray, end: np.ndarray, mix: float) -> np.ndarray:
    if mix in (0, 1) or "float" not in end.dtype.name:  # bfloat16 is no subtype of np.floating
        return end if mix else start
    return (start + mix * (end.astype("float64") - start)).astype(end.dtype)
