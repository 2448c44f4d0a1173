"""Where tlkit keeps what it can make again, and how a file is written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def directory(kind: str) -> Path:
    """Return the folder for one kind of cached file, made if missing.

    It lies in the user's cache folder, or below the environment variable `TLKIT_CACHE`. Everything
    in it may be deleted at any time.
    """
    root = os.environ.get("TLKIT_CACHE") or platformdirs.user_cache_dir("tlkit")
    path = Path(root) / kind
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
        os.replace(temporary, path)
