"""The folder that results go to."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlkit.errors import OutputError, TlkitError

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


@contextmanager
def written_whole(out: Path) -> Iterator[None]:
    """Say what to do where files that are written atomically into `out` do not fit.

    Raises:
        OutputError: the disk is full, or another error of the system.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The results could not be written to {out}: {error.strerror or error}. Files of an earlier run "
            "there are whole. Make room, or choose another --out, and run again."
        ) from error


def remember(folder: Path, settings: dict[str, Any]) -> None:
    """Write down in the state of a training what must be the same to go on; where it stands, compare.

    Args:
        folder: of the state, made if missing.
        settings: plain values by name.

    Raises:
        TlkitError: the folder holds a training with other settings.
    """
    from tlkit._internal.cache import atomic  # imports numpy, which `tlkit --help` can do without

    folder.mkdir(parents=True, exist_ok=True)
    known = folder / SETTINGS
    if not known.is_file():
        with atomic(known) as path:
            path.write_text(json.dumps(settings, indent=2), "utf-8")
        return
    then = json.loads(known.read_text("utf-8"))
    if names := [name for name in {**then, **settings} if then.get(name) != settings.get(name)]:
        said = "; ".join(f"{name} {then.get(name)} then and {settings.get(name)} now" for name in names)
        raise TlkitError(
            f"{folder.parent} holds a stopped training with other settings: {said}. Give those of then to go "
            "on with it, or --overwrite to start anew."
        )


def discard(out: Path) -> None:
    """Remove the state of a stopped training from a folder of results, if there is one."""
    unfinished = Path(out) / UNFINISHED
    if (unfinished / SETTINGS).is_file():  # else it is not ours
        shutil.rmtree(unfinished)
