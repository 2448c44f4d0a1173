"""The folder that results go to."""

import tempfile
from pathlib import Path

from tlkit.errors import OutputError


def prepare(out: Path, overwrite: bool = False) -> None:
    """Make the folder of the results, or refuse; call it before training, so that no work is lost.

    Nothing is deleted: with `overwrite` the files of an earlier run are replaced by `write`, one by one.

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
    if occupied and not overwrite:
        raise OutputError(f"{out} is not empty. Pass --overwrite to replace its results, or another --out.")
