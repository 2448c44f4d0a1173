import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path):
    """Write a picture that no other call writes; return its path."""
    rng = np.random.default_rng(0)

    def write(name, size=(20, 16)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype="uint8")).save(path)
        return path

    return write


@pytest.fixture
def animals(picture, tmp_path):
    """A folder with ten cats and ten dogs."""
    for i in range(10):
        picture(f"animals/cat/{i}.png")
        picture(f"animals/dog/{i}.png")
    return tmp_path / "animals"
