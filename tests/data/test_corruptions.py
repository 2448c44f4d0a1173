import numpy as np
import pytest

from tlkit.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from tlkit.errors import DataError, UnknownNameError


@pytest.fixture(scope="module")
def images():
    """Smooth shapes with edges and colours, 128 pixels."""
    y, x = np.mgrid[:128, :128] / 128
    waves = [127 + 90 * np.sin(2 * np.pi * (9 * k * x + y)) * (x > y) for k in range(1, 7)]
    return np.stack([np.stack(waves[i : i + 3], axis=-1) for i in range(4)]).astype("uint8")


def change(before, after):
    return np.sqrt(np.mean((after.astype(float) - before) ** 2))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_change_grows_with_the_severity(name, images):
    before = images.copy()
    changed = [corrupt(images, name, severity) for severity in SEVERITIES]
    changes = [change(images, each) for each in changed]
    assert changes[0] > 0.01
    assert (np.diff(changes) > 0).all()
    assert {(each.dtype.name, each.shape) for each in changed} == {("uint8", images.shape)}
    np.testing.assert_array_equal(images, before)


def test_the_seed_chooses_the_noise_and_an_image_has_its_own(images):
    same = np.stack([images[0]] * 2)
    first = corrupt(same, "noise", 3, seed=1)
    np.testing.assert_array_equal(first, corrupt(same, "noise", 3, seed=1))
    assert (first != corrupt(same, "noise", 3, seed=2)).any()
    assert (first[0] != first[1]).any()
    np.testing.assert_array_equal(corrupt(images[:2], "noise", 3), corrupt(images, "noise", 3)[:2])


def test_what_each_corruption_does(images):
    grey = np.full((1, 64, 64, 3), 128, "uint8")
    noise = corrupt(grey, "noise", 2).astype(float) - 128
    assert noise.std() == pytest.approx(0.12 * 255, rel=0.05)
    for name in ("blur", "contrast", "jpeg"):  # nothing to remove
        assert change(grey, corrupt(grey, name, 5)) < 2
    spread = images.std(axis=(1, 2)).mean()
    assert corrupt(images, "contrast", 3).std(axis=(1, 2)).mean() == pytest.approx(0.2 * spread, rel=0.05)


def test_blur_removes_the_same_details_at_every_size():
    def stripes(size):  # eight of them across the image
        bright = np.arange(size) * 16 // size % 2 * 255
        return np.broadcast_to(bright[:, None, None], (1, size, size, 3)).astype("uint8")

    kept = [corrupt(stripes(size), "blur", 5)[0, :, size // 2].std() for size in (64, 256)]
    assert kept[0] == pytest.approx(kept[1], rel=0.1)


def test_wrong_names_severities_and_images_are_refused(images):
    with pytest.raises(UnknownNameError, match="noise"):
        corrupt(images, "nois", 1)
    for severity in (0, 6, 2.5):
        with pytest.raises(DataError, match="from 1 to 5"):
            corrupt(images, "noise", severity)
    with pytest.raises(DataError, match="expected uint8"):
        corrupt(images / 255, "noise", 1)
    assert corrupt(images[:0], "jpeg", 1).shape == (0, 128, 128, 3)
