"""Images that stay in their files until they are accessed."""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tlkit.data.decode import WINDOW, decode, ordered_map
from tlkit.errors import DataError


def digest(pixels: np.ndarray) -> bytes:
    """Return the BLAKE2b digest of the pixels of one image, 16 bytes; equal digests mean equal pixels.

    >>> digest(np.zeros((2, 2, 3), "uint8")) == digest(np.zeros((2, 2, 3), "uint8"))
    True
    """
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()


class ImageFiles:
    """Image files that act as a uint8 array `(n, image_size, image_size, 3)` and are decoded on access.

    An index (an integer, a slice, a boolean mask or an array of integers) decodes the selected files on all
    cores and returns a NumPy array. `take` selects files without reading them. `blocks` reads all files in
    order, and decodes each block before it is needed.

    Args:
        paths: the files.
        image_size: height and width in pixels.
        digests: the digest of each decoded image, if known; otherwise `digests` computes them.

    Raises:
        DataError: on access, if a file is missing or cannot be read; the message names the file.
    """

    dtype = np.dtype("uint8")
    ndim = 4

    def __init__(
        self, paths: Sequence[str | Path], image_size: int, digests: Sequence[bytes] | None = None
    ) -> None:
        self.paths = list(paths)
        self.image_size = image_size
        self._digests = None if digests is None else list(digests)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the decoded array."""
        return len(self), self.image_size, self.image_size, 3

    @property
    def digests(self) -> list[bytes]:
        """The digest of each decoded image."""
        if self._digests is None:
            self._digests = list(ordered_map(lambda path: digest(decode(path, self.image_size)), self.paths))
        return self._digests

    def take(self, indices: np.ndarray) -> "ImageFiles":
        """Return the files at `indices` as another `ImageFiles`, without reading them."""
        chosen = np.arange(len(self))[indices]
        digests = None if self._digests is None else [self._digests[i] for i in chosen]
        return ImageFiles([self.paths[i] for i in chosen], self.image_size, digests)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        chosen = np.arange(len(self))[index]
        if np.ndim(chosen) == 0:
            return decode(self.paths[chosen], self.image_size)
        images = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for row, pixels in enumerate(self._decoded([self.paths[i] for i in chosen], WINDOW)):
            images[row] = pixels
        return images

    def blocks(self, size: int) -> Generator[np.ndarray]:
        """Yield all images in order, `size` at a time; the next block is decoded while one is in use."""
        pixels = self._decoded(self.paths, max(size, WINDOW))
        while block := list(islice(pixels, size)):
            yield np.stack(block)

    def _decoded(self, paths: list[str | Path], ahead: int) -> Iterator[np.ndarray]:
        return ordered_map(partial(decode, image_size=self.image_size), paths, ahead)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        return f"ImageFiles({len(self)} files, {self.image_size} x {self.image_size} pixels)"


def blocks(images: np.ndarray | ImageFiles, size: int) -> Iterator[np.ndarray]:
    """Yield the images in order, `size` at a time; the next block of files is decoded ahead.

    >>> [len(block) for block in blocks(np.zeros((5, 2, 2, 3), "uint8"), 2)]
    [2, 2, 1]
    """
    if isinstance(images, ImageFiles):
        return images.blocks(size)
    return (images[start : start + size] for start in range(0, len(images), size))


def joined(parts: Sequence[np.ndarray | ImageFiles]) -> np.ndarray | ImageFiles:
    """Return the images of all parts as one; files are not read."""
    files = [each for each in parts if isinstance(each, ImageFiles)]
    if len(files) == len(parts):
        return ImageFiles([path for each in files for path in each.paths], files[0].image_size)
    return parts[0] if len(parts) == 1 else np.concatenate([np.asarray(each) for each in parts])


def taken(images: np.ndarray | ImageFiles, rows: np.ndarray) -> np.ndarray | ImageFiles:
    """Return the images of these rows; files are not read."""
    return images.take(rows) if isinstance(images, ImageFiles) else images[rows]


def scan(
    paths: Sequence[Path], image_size: int, keep: bool, progress: bool = False
) -> tuple[np.ndarray | None, list[bytes | DataError]]:
    """Decode every file once, to find the unreadable ones and the digests of the others.

    Args:
        paths: the files.
        image_size: height and width in pixels.
        keep: whether to return the pixels.
        progress: show a progress bar.

    Returns:
        The pixels, uint8 `(n, image_size, image_size, 3)`, or None without `keep`; and for each file its
        digest, or the error if it could not be read. The pixels of an unreadable file are undefined.
    """

    def decode_file(path: Path) -> tuple[np.ndarray | None, bytes | DataError]:
        try:
            pixels = decode(path, image_size)
        except DataError as error:
            return None, error
        return (pixels if keep else None), digest(pixels)

    images = np.empty((len(paths), image_size, image_size, 3), "uint8") if keep else None
    outcomes = []
    for row, (pixels, outcome) in enumerate(
        tqdm(ordered_map(decode_file, paths), "reading images", len(paths), disable=not progress)
    ):
        outcomes.append(outcome)
        if images is not None and pixels is not None:
            images[row] = pixels
    return images, outcomes
