"""Where tlkit keeps what it can make again, and how a file is written whole or not at all."""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import platformdirs

from tlkit.errors import TlkitWarning

_unwritten: dict[Path, dict[str, np.ndarray]] = {}  # what the disk did not take, for this process alone


def root() -> Path:
    """Return the user's cache folder for tlkit, or the one that `TLKIT_CACHE` names."""
    return Path(os.environ.get("TLKIT_CACHE") or platformdirs.user_cache_dir("tlkit"))


def directory(kind: str) -> Path:
    """Return the folder for one kind of cached file, made if missing.

    Everything in it may be deleted at any time.
    """
    path = root() / kind
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same ending; move it onto `path` once the block has succeeded.

    A reader, a second process or a kill in the middle sees the old file or the new one, never a half.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


def arrays(
    kind: str, key: str, compute: Callable[[], dict[str, np.ndarray]], *, compress: bool = False
) -> dict[str, np.ndarray]:
    """Return the arrays kept under `key`, computing and keeping them when they are not there yet.

    A damaged file (its checksums are verified) is computed anew with a warning; a full disk costs
    only the next run's time, and says so.

    Args:
        kind: folder of the cache, such as `"features"`.
        key: what the arrays depend on, as a file name.
        compute: makes the arrays, by name.
        compress: worth it for pictures, not for features.
    """
    path = root() / kind / f"{key}.npz"
    if path in _unwritten:
        return _unwritten[path]
    try:
        with np.load(path) as kept:
            return dict(kept)
    except FileNotFoundError:
        pass
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        warnings.warn(f"Kept {kind} cannot be read and are made again: {error}", TlkitWarning, stacklevel=3)
    made = compute()
    try:
        directory(kind)
        with atomic(path) as temporary:
            (np.savez_compressed if compress else np.savez)(temporary, **made)  # type: ignore[arg-type]
    except OSError as error:
        message = f"The {kind} are not kept for the next run: {error}. Set TLKIT_CACHE to a folder with room."
        warnings.warn(message, TlkitWarning, stacklevel=3)
        _unwritten[path] = made
    return made
