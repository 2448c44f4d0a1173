import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_image(tmp_path):
    """Write a random image, different in each call, and return its path."""
    rng = np.random.default_rng(0)

    def write(name, size=(20, 16)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype="uint8")).save(path)
        return path

    return write


@pytest.fixture
def animals(write_image, tmp_path):
    """A folder with ten images each of the classes cat and dog."""
    for i in range(10):
        write_image(f"animals/cat/{i}.png")
        write_image(f"animals/dog/{i}.png")
    return tmp_path / "animals"
