"""Images for several tests."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Return two raw images, uint8 `(2, 32, 32, 3)`."""
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
