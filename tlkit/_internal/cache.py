"""The cache for data that tlkit can recompute, and files that are written whole and verified when read."""

import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import psutil

from tlkit.errors import TlkitWarning

WRITING = ".writing-"  # start of the name of a temporary folder; machine and process follow
ABANDONED = 7 * 86_400  # seconds after which such a folder of another machine is abandoned
SEAL = 32  # bytes of the checksum at the end of a file of arrays
CHECKSUM = "checksum"  # key of the checksum of a JSON file in itself
METRICS, CHECKSUMS = "metrics.json", "checksums"  # file of a run, and its key for those of the other files

_unwritten: dict[Path, dict[str, np.ndarray]] = {}  # arrays that could not be written, for this process
_swept: set[Path] = set()  # folders whose leftovers this process has removed


def root() -> Path:
    """Return the folder that `TLKIT_CACHE` names, or else the user's cache folder for tlkit."""
    return Path(os.environ.get("TLKIT_CACHE") or platformdirs.user_cache_dir("tlkit"))


def directory(kind: str) -> Path:
    """Return the folder for one kind of cached file, and create it if it is missing.

    Its files may be deleted at any time.
    """
    path = root() / kind
    path.mkdir(parents=True, exist_ok=True)
    if path not in _swept:
        _swept.add(path)
        sweep(path)
    return path


@contextmanager
def writing_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent` to write files into; it is removed at the end of the block."""
    prefix = f"{WRITING}{socket.gethostname()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def sweep(parent: Path) -> None:
    """Remove the temporary folders that ended processes left in `parent`.

    Of a process on another machine, only the age of its folder is known.
    """
    for folder in parent.glob(f"{WRITING}*"):
        host, _, number = folder.name.removeprefix(WRITING).rpartition("-")[0].rpartition("-")
        if not host or not number.isdecimal():  # somebody else named it
            continue
        try:
            if host == socket.gethostname():
                ended = not psutil.pid_exists(int(number))
            else:
                ended = time.time() - folder.stat().st_mtime > ABANDONED
            if ended:
                shutil.rmtree(folder)
        except OSError:  # another process removed it, or it belongs to another user
            continue


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all: yield a temporary path, and move it to `path` on success.

    The temporary path has the same file name. A reader finds the old file or the new one, never a part, even
    if the writer is killed.
    """
    with writing_folder(path.parent) as folder:
        temporary = folder / path.name
        yield temporary
        temporary.replace(path)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, compress: bool = False) -> None:
    """Write arrays into an `.npz` file that ends with a checksum of all its bytes; see `load_arrays`."""
    with atomic(path) as temporary:
        (np.savez_compressed if compress else np.savez)(temporary, **arrays)  # type: ignore[arg-type]
        found = _checksum(temporary, temporary.stat().st_size)
        with temporary.open("ab") as file:
            file.write(found)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays that `save_arrays` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged: a single changed bit anywhere is found.
    """
    size = path.stat().st_size - SEAL
    with path.open("rb") as file:
        file.seek(max(size, 0))
        if size < 0 or file.read() != _checksum(path, size):
            raise ValueError(f"the checksum of {path.name} is wrong")
    with np.load(path) as saved:
        return dict(saved)


def _checksum(path: Path, size: int) -> bytes:
    """Return the BLAKE2b digest of the first `size` bytes of a file."""
    found = hashlib.blake2b(digest_size=SEAL)
    with path.open("rb") as file:
        while size > 0 and (part := file.read(min(size, 2**20))):
            found.update(part)
            size -= len(part)
    return found.digest()


def to_json(values: Mapping[str, Any]) -> str:
    """Return a dictionary as JSON, with a checksum of its content; see `from_json`.

    >>> from_json(to_json({"classes": ["cat", "dog"]}))
    {'classes': ['cat', 'dog']}
    """
    sealed = {**values, CHECKSUM: _digest(values)}
    return json.dumps(sealed, indent=2, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> Any:
    """Read what `to_json` wrote, without its checksum; a text without a checksum is not verified.

    Raises:
        ValueError: the text is no JSON, or its content differs from the checksum.
    """
    values = json.loads(text)
    expected = values.pop(CHECKSUM, None) if isinstance(values, dict) else None
    if expected is not None and _digest(values) != expected:
        raise ValueError("its checksum is wrong, so its content has changed since it was written")
    return values


def file_checksum(path: Path) -> str | None:
    """Return the SHA-256 of a file in hexadecimal digits; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def checksums_of(run: Path) -> dict[str, str]:
    """Return the checksums of the files of a run by their names; empty if there are none."""
    try:
        found = from_json((run / METRICS).read_text("utf-8"))[CHECKSUMS]
        return {name: str(found[name]) for name in found if Path(name).name == name}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digest(values: Mapping[str, Any]) -> str:
    content = json.dumps(values, sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=SEAL).hexdigest()


def arrays(
    kind: str, key: str, compute: Callable[[], dict[str, np.ndarray]], *, compress: bool = False
) -> dict[str, np.ndarray]:
    """Return the cached arrays of `key`; if there are none, compute and cache them.

    If the file is damaged (its checksums are verified), a warning follows and the arrays are computed again.
    If the arrays cannot be written, a warning follows, and the next process computes them again.

    Args:
        kind: the folder within the cache, such as `"features"`.
        key: everything that the arrays depend on, as a file name.
        compute: returns the arrays by name.
        compress: compress the file; this pays for images, not for features.
    """
    path = root() / kind / f"{key}.npz"
    if path in _unwritten:
        return _unwritten[path]
    try:
        return load_arrays(path)
    except FileNotFoundError:
        pass
    except Exception as error:  # zipfile, zlib and numpy raise errors of their own
        warnings.warn(
            f"The cached {kind} cannot be read and are computed again: {error}", TlkitWarning, stacklevel=3
        )
    computed = compute()
    try:
        directory(kind)
        save_arrays(path, computed, compress=compress)
    except OSError as error:
        warnings.warn(
            f"The {kind} cannot be cached for the next run: {error}. Set TLKIT_CACHE to a folder with room.",
            TlkitWarning,
            stacklevel=3,
        )
        _unwritten[path] = computed
    return computed
