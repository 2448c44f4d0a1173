import numpy as np
import pytest
from PIL import Image


def patches(number):
    """Return an image of coloured patches, another one for each number."""
    colours = np.random.default_rng(number).integers(0, 256, (6, 6, 3), "uint8")
    return Image.fromarray(colours).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """25 different images of cats and 25 of dogs; the only problem is that they are few."""
    for number in range(50):
        path = tmp_path / "pets" / ("cat" if number < 25 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        patches(number).save(path)
    return tmp_path / "pets"


@pytest.fixture
def found():
    """The problems of an audit by name."""
    return lambda audit: {each.name: each for each in audit.problems}
