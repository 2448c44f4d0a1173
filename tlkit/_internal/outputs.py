"""Folders of results, and the saved state of a training that was stopped."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlkit.errors import OutputError, TlkitError

UNFINISHED = "unfinished"  # folder within the results: the state of an unfinished training
SETTINGS = "settings.json"  # file within that folder: the settings that must not change


def prepare(out: Path, overwrite: bool = False, resume: bool = False) -> None:
    """Create the folder of the results, or raise an error; call it before training, so that no work is lost.

    Nothing is deleted. With `overwrite`, writing the results later replaces the old files one by one.

    Args:
        out: the folder.
        overwrite: whether the folder may have content.
        resume: whether the folder may contain the state of a stopped training.

    Raises:
        OutputError: `out` is a file, has content that would be overwritten, or cannot be written to.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file, expected a folder for the results. Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
        with tempfile.TemporaryFile(dir=out):  # permissions alone do not reveal a read-only file system
            pass
    except OSError as error:
        raise OutputError(
            f"Results cannot be written to {out}: {error.strerror}. Choose another --out."
        ) from error
    unfinished = (out / UNFINISHED / SETTINGS).is_file()
    if unfinished and not overwrite and not resume:
        raise OutputError(
            f"{out} contains a stopped training. Pass --resume to continue it, --overwrite to start again, "
            "or another --out."
        )
    if occupied and not overwrite and not unfinished:
        raise OutputError(f"{out} is not empty. Pass --overwrite to replace its results, or another --out.")


@contextmanager
def written_whole(out: Path) -> Iterator[None]:
    """Raise an OutputError that names the next step if files cannot be written into `out`.

    The files must be written atomically.

    Raises:
        OutputError: the disk is full, or another system error occurred.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The results could not be written to {out}: {error.strerror or error}. Existing files there are "
            "complete. Make room, or choose another --out, and run again."
        ) from error


def remember(folder: Path, settings: dict[str, Any]) -> None:
    """Save the settings of a training with its state; if they are saved already, check that they are equal.

    Args:
        folder: the folder of the state, created if missing.
        settings: plain values by name.

    Raises:
        TlkitError: the folder contains a training with other settings.
    """
    from tlkit._internal.cache import atomic  # imports NumPy, which `tlkit --help` does not need

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / SETTINGS
    if not file.is_file():
        with atomic(file) as path:
            path.write_text(json.dumps(settings, indent=2), "utf-8")
        return
    saved = json.loads(file.read_text("utf-8"))
    if names := [name for name in {**saved, **settings} if saved.get(name) != settings.get(name)]:
        changes = "; ".join(f"{name} {saved.get(name)} then and {settings.get(name)} now" for name in names)
        raise TlkitError(
            f"{folder.parent} contains a stopped training with other settings: {changes}. Pass the earlier "
            "settings to continue it, or --overwrite to start again."
        )


def discard(out: Path) -> None:
    """Remove the state of a stopped training from a folder of results, if there is one."""
    unfinished = Path(out) / UNFINISHED
    if (unfinished / SETTINGS).is_file():  # otherwise tlkit did not write the folder
        shutil.rmtree(unfinished)
