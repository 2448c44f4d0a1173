import numpy as np
import pytest
from PIL import Image


def picture(number):
    """A picture of coloured patches, another one for each number."""
    patches = np.random.default_rng(number).integers(0, 256, (6, 6, 3), "uint8")
    return Image.fromarray(patches).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """25 different pictures of cats and 25 of dogs; nothing is wrong but that they are few."""
    for number in range(50):
        path = tmp_path / "pets" / ("cat" if number < 25 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    return tmp_path / "pets"


@pytest.fixture
def found():
    """The problems of an audit by name."""
    return lambda audit: {each.name: each for each in audit.problems}
