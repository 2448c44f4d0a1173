"""The folder that results go to."""

import shutil
import tempfile
from pathlib import Path

from tlkit.errors import OutputError

UNFINISHED = "unfinished"  # folder within the results: the state of a training that may be stopped
SETTINGS = "settings.json"  # within that folder


def prepare(out: Path, overwrite: bool = False, resume: bool = False) -> None:
    """Make the folder of the results, or refuse; call it before training, so that no work is lost.

    Nothing is deleted: with `overwrite` the files of an earlier run are replaced by `write`, one by one.

    Args:
        out: the folder.
        overwrite: it may have content.
        resume: it may have the state of a training that was stopped.

    Raises:
        OutputError: `out` is a file, has content that would be overwritten, or cannot be written to.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file, expected a folder for the results. Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
        with tempfile.TemporaryFile(dir=out):  # permissions alone do not tell a read-only file system
            pass
    except OSError as error:
        raise OutputError(
            f"Results cannot be written to {out}: {error.strerror}. Choose another --out."
        ) from error
    unfinished = (out / UNFINISHED / SETTINGS).is_file()
    if unfinished and not overwrite and not resume:
        raise OutputError(
            f"{out} holds a training that was stopped. Pass --resume to go on with it, --overwrite to start "
            "anew, or another --out."
        )
    if occupied and not overwrite and not unfinished:
        raise OutputError(f"{out} is not empty. Pass --overwrite to replace its results, or another --out.")


def discard(out: Path) -> None:
    """Remove the state of a stopped training from a folder of results, if there is one."""
    unfinished = Path(out) / UNFINISHED
    if (unfinished / SETTINGS).is_file():  # else it is not ours
        shutil.rmtree(unfinished)
