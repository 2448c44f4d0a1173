"""The cache for data that tlkit can recompute, and atomic writing of files."""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import platformdirs

from tlkit.errors import TlkitWarning

_unwritten: dict[Path, dict[str, np.ndarray]] = {}  # arrays that could not be written, for this process


def root() -> Path:
    """Return the folder that `TLKIT_CACHE` names, or else the user's cache folder for tlkit."""
    return Path(os.environ.get("TLKIT_CACHE") or platformdirs.user_cache_dir("tlkit"))


def directory(kind: str) -> Path:
    """Return the folder for one kind of cached file, and create it if it is missing.

    Its files may be deleted at any time.
    """
    path = root() / kind
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all: yield a temporary path, and move it to `path` on success.

    The temporary path has the same file name. Readers, other processes, and a process that is killed while it
    writes, find the old file or the new one, never a part of it.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


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
        with np.load(path) as cached:
            return dict(cached)
    except FileNotFoundError:
        pass
    except Exception as error:  # zipfile, zlib and numpy raise errors of their own
        warnings.warn(
            f"The cached {kind} cannot be read and are computed again: {error}", TlkitWarning, stacklevel=3
        )
    computed = compute()
    try:
        directory(kind)
        with atomic(path) as temporary:
            (np.savez_compressed if compress else np.savez)(temporary, **computed)  # type: ignore[arg-type]
    except OSError as error:
        warnings.warn(
            f"The {kind} cannot be cached for the next run: {error}. Set TLKIT_CACHE to a folder with room.",
            TlkitWarning,
            stacklevel=3,
        )
        _unwritten[path] = computed
    return computed
