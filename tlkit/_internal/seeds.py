"""Check and set the random seed of an experiment."""

from numbers import Integral

from tlkit._internal.keras_import import import_keras
from tlkit.errors import TlkitError

LARGEST = 2**32 - 1  # the largest seed that NumPy takes


def check_seed(seed: int) -> int:
    """Return the seed if it is valid.

    Args:
        seed: a whole number from 0 to 2**32 - 1.

    Raises:
        TlkitError: the seed is not such a number.

    >>> check_seed(7)
    7
    """
    if not isinstance(seed, Integral) or not 0 <= seed <= LARGEST:
        raise TlkitError(f"seed={seed!r} was given; expected a whole number from 0 to {LARGEST}. Try seed=0.")
    return int(seed)


def set_seed(seed: int) -> None:
    """Seed Python, NumPy, Keras and its backend, so that a run can be reproduced.

    Args:
        seed: a whole number from 0 to 2**32 - 1.

    Raises:
        TlkitError: the seed is not such a number.

    >>> import keras
    >>> set_seed(0)
    >>> first = float(keras.random.uniform(()))
    >>> set_seed(0)
    >>> float(keras.random.uniform(())) == first
    True
    """
    import_keras().utils.set_random_seed(check_seed(seed))
