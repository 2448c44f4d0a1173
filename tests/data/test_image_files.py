"""Image files that act as an array."""

import numpy as np
import pytest

from tlkit.data import ImageFiles, Split
from tlkit.data.decode import decode
from tlkit.errors import DataError


@pytest.fixture
def files(write_image):
    return ImageFiles([write_image(f"{i}.png") for i in range(7)], 8)


def test_they_have_the_shape_and_dtype_of_the_decoded_array(files):
    assert (len(files), files.shape, files.dtype) == (7, (7, 8, 8, 3), np.uint8)
    assert np.asarray(files).shape == files.shape


def test_every_index_returns_the_decoded_pixels(files):
    expected = np.stack([decode(path, 8) for path in files.paths])
    np.testing.assert_array_equal(files[2], expected[2])
    np.testing.assert_array_equal(files[-1], expected[-1])
    np.testing.assert_array_equal(files[1:6:2], expected[1:6:2])
    indices = np.array([4, 0, 4])
    np.testing.assert_array_equal(files[indices], expected[indices])
    np.testing.assert_array_equal(files[np.arange(7) > 4], expected[5:])
    assert files[:0].shape == (0, 8, 8, 3)


def test_an_index_out_of_range_ends_iteration(files):
    with pytest.raises(IndexError):
        files[7]
    assert len(list(files)) == 7


def test_taking_files_reads_nothing(files):
    for path in files.paths:
        path.unlink()
    assert len(files.take(np.array([3, 1]))) == 2
    with pytest.raises(DataError, match=r"3\.png"):
        files[3]


def test_their_fingerprint_equals_that_of_the_array(files):
    assert Split(files).fingerprint() == Split(files[:]).fingerprint()


def test_known_digests_make_decoding_unnecessary(files):
    known = ImageFiles(files.paths, 8, files.digests)
    expected = Split(files).subset([1, 2]).fingerprint()
    for path in files.paths:
        path.unlink()
    assert Split(known).subset([1, 2]).fingerprint() == expected
