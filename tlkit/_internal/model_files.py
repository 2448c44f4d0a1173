"""Open model and weights files of unknown origin: no foreign code, and no more memory than a limit.

A file may come from another person, so its own claims are not trusted. A few megabytes can claim gigabytes:
zip members that are highly compressed, HDF5 data sets with huge shapes, layers with huge weights. Every
function here compares such claims with `most_bytes` before anything of that size is read or built.
"""

import io
import math
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tlkit._internal.keras_import import import_keras

MOST = 4 * 10**9  # bytes
FACTOR, ALLOWANCE = 20, 100 * 10**6  # of the size of the file; bytes
MOST_OBJECTS = 100_000  # zip members, or groups and data sets of an HDF5 file
CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # members of a .keras file
MOST_CONFIG = 20 * 10**6  # bytes; parsed JSON takes several times as much memory

_one_at_a_time = threading.RLock()


def load_model(path: Path) -> Any:
    """Open a Keras model from a file, uncompiled, in Keras's safe mode.

    Args:
        path: a `.keras` file, or an HDF5 file (`.h5`, `.hdf5`) of older versions.

    Returns:
        The `keras.Model`.

    Raises:
        ValueError: the file has another format, or claims more than `most_bytes`.
        Exception: whatever zipfile, h5py or Keras raises for a damaged file, or for code in it; `reason_of`
            puts any of them into one line.
    """
    if path.suffix == ".keras":
        check_keras_file(path)
    elif path.suffix in (".h5", ".hdf5"):
        check_hdf5_file(path)
    else:
        raise ValueError("expected a .keras file")
    with _limited_weights(most_bytes(path.stat().st_size)):
        return import_keras().saving.load_model(path, compile=False, safe_mode=True)


def most_bytes(size: int) -> int:
    """Return how much a file may claim when it is opened, in bytes.

    The limit is 20 times the file plus 100 MB, and at most 4 GB.

    Args:
        size: of the file, in bytes.

    >>> most_bytes(5_000_000), most_bytes(10**9)
    (200000000, 4000000000)
    """
    return min(MOST, FACTOR * size + ALLOWANCE)


def check_claim(claimed: int, size: int, what: str) -> None:
    """Raise ValueError if a file claims more than `most_bytes`.

    Args:
        claimed: bytes in memory.
        size: of the file, in bytes.
        what: of the file is so large, such as "its tensors".
    """
    if claimed > most_bytes(size):
        raise ValueError(
            f"{what} would take {_in_words(claimed)} of memory; the limit for a file of {_in_words(size)} is "
            f"{_in_words(most_bytes(size))} (20 times the file plus 100 MB, at most 4 GB)"
        )


def check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError if the members of a zip archive claim too much, overlap or are repeated.

    Args:
        archive: open for reading.
        size: of the archive, in bytes.
    """
    members = archive.infolist()
    if len(members) > MOST_OBJECTS:
        raise ValueError(f"it has {len(members):,} members; the limit is {MOST_OBJECTS:,}")
    check_claim(sum(each.file_size for each in members), size, "its members")
    if len({each.filename for each in members}) < len(members):
        raise ValueError("two of its members have the same name")
    if sum(each.compress_size for each in members) > size:
        raise ValueError("its members overlap")


def check_keras_file(path: Path) -> None:
    """Check a `.keras` archive: the sizes of its members, and the shapes of the weights.

    Raises:
        ValueError: it claims too much, or has no weights in the HDF5 format.
        Exception: the file is damaged.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, size)
        names = archive.namelist()
        if missing := [name for name in (CONFIG, WEIGHTS) if name not in names]:
            raise ValueError(f"it has no {missing[0]}")
        if (length := archive.getinfo(CONFIG).file_size) > MOST_CONFIG:
            raise ValueError(
                f"{CONFIG} has {_in_words(length)}; the limit is {_in_words(MOST_CONFIG)} for any file"
            )
        check_hdf5(io.BytesIO(archive.read(WEIGHTS)), size)


def check_hdf5_file(path: Path) -> None:
    """Check an HDF5 file of weights; see `check_hdf5`."""
    with path.open("rb") as file:
        check_hdf5(file, path.stat().st_size)


def check_hdf5(file: BinaryIO, size: int) -> None:
    """Check every data set and link of an HDF5 file; read no data.

    Args:
        file: open for reading.
        size: of the file on disk, in bytes: of the archive, if the HDF5 file is in one.

    Raises:
        ValueError: the data sets claim too much, are not of numbers, or lie in other files.
        Exception: the file is damaged.
    """
    import h5py

    links: dict[str, Any] = {}

    def collect(name: str, link: Any) -> bool | None:  # an error within a visit breaks h5py's lock
        links[name] = link
        return True if len(links) > MOST_OBJECTS else None

    with h5py.File(file, "r") as weights:
        if weights.visititems_links(collect):
            raise ValueError(f"it has more than {MOST_OBJECTS:,} groups and data sets")
        claimed = 0
        for name, link in links.items():
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name!r} is a link to another place or file")
            found = weights[name]
            if isinstance(found, h5py.Dataset):
                claimed += _bytes_of(name, found)
                check_claim(claimed, size, "its weights")


def _bytes_of(name: str, data: Any) -> int:
    """Return how much memory reading a data set of HDF5 takes: its values or its largest chunk."""
    if data.external or data.is_virtual:
        raise ValueError(f"the data set {name!r} lies in another file")
    if data.dtype.kind == "O":
        raise ValueError(f"the data set {name!r} is not of numbers")
    chunk = math.prod(data.chunks) if data.chunks else 0
    return int(data.dtype.itemsize) * max(math.prod(data.shape or ()), chunk)


def reason_of(error: BaseException) -> str:
    """Return the message of any error as one line without a full stop, at most 300 characters.

    >>> reason_of(ValueError("no such layer\\nMore on this."))
    'no such layer More on this'
    """
    return one_line(str(error)).rstrip(".:") or type(error).__name__


def one_line(text: str) -> str:
    """Return a text from a file as one line of at most 300 characters, without control characters."""
    text = textwrap.shorten(text, 300, placeholder=" …")
    return "".join(each if each.isprintable() else "?" for each in text)


@contextmanager
def _limited_weights(most: int) -> Iterator[None]:
    """Raise ValueError before a layer builds weights beyond `most` bytes in total.

    A layer builds its weights from its configuration, before Keras reads the weights of the file. Keras has
    no hook there, so the constructor of its variables is wrapped meanwhile.
    """
    variable = import_keras().Variable
    plain, total = variable.__init__, 0

    def counted(self: Any, initializer: Any, shape: Any = None, *arguments: Any, **options: Any) -> None:
        nonlocal total
        total += 4 * math.prod(int(each) for each in shape or ())
        if total > most:
            raise ValueError(
                f"its layers would take more than {_in_words(most)} of memory, the limit for a file of this "
                "size (20 times the file plus 100 MB, at most 4 GB)"
            )
        plain(self, initializer, shape, *arguments, **options)

    with _one_at_a_time:
        variable.__init__ = counted
        try:
            yield
        finally:
            variable.__init__ = plain


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 10**9 else f"{size / 1e6:,.1f} MB"
