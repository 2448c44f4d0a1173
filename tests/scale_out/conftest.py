"""Forty images of two classes, a small network, and the features of an undisturbed run."""

import keras
import numpy as np
import pytest
from PIL import Image

from tlkit import scale_out
from tlkit.backbones import load_backbone

pytest.importorskip("pyarrow")


@pytest.fixture
def photos(tmp_path):
    """A folder with twenty cats and twenty dogs; five shards of eight."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (30, 40, 3), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def network():
    keras.utils.set_random_seed(0)
    return load_backbone("LeNet", weights=None)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "features"


@pytest.fixture
def run(photos, out, network):
    """Extract with shards of eight; settings may be given."""

    def extract(**settings):
        given = {"folder": photos, "out": out, "backbone": network, "shard_size": 8, **settings}
        return scale_out.extract(**given)

    return extract


@pytest.fixture
def undisturbed(run, tmp_path):
    """The features of a run into another folder that nothing disturbs."""
    run(out=tmp_path / "undisturbed")
    return scale_out.read(tmp_path / "undisturbed")


@pytest.fixture
def same():
    """Assert that two folders' features are those of the same images, once each."""

    def compare(folder, expected):
        images, unreadable = scale_out.verify(folder)
        assert images == len(expected.names)
        found = scale_out.read(folder)
        assert found.names.tolist() == expected.names.tolist()
        assert found.labels.tolist() == expected.labels.tolist()
        np.testing.assert_allclose(
            found.features, expected.features, atol=1e-4 * np.abs(expected.features).max()
        )
        assert unreadable == 0

    return compare
