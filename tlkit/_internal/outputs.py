"""Folders of results: reserved by one process at a time, and changed as a whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlkit.errors import OutputError

UNFINISHED = "unfinished"  # folder within the results: the state of an unfinished training
SETTINGS = "settings.json"  # file within that folder: the settings that must not change
LOCK = ".lock"  # file within the results while a process writes there
COMMITTED = ".committed"  # folder within the results: new files that are complete and only have to be moved
PROBE = 2**20  # bytes that are written to find out whether there is any room

_claimed: set[Path] = set()  # folders that this process has reserved


@contextmanager
def claimed(out: str | Path, overwrite: bool = False, resume: bool = False) -> Iterator[None]:
    """Reserve the folder of the results for this process within the block; create it if it is missing.

    Everything that can be checked is checked before the block, so that no work is lost. If the block leaves
    no file, the folder is removed again. Nothing in the folder is deleted, except what an earlier process
    left half written.

    Args:
        out: the folder.
        overwrite: whether the folder may have content.
        resume: whether the folder may contain the state of a stopped training.

    Raises:
        OutputError: `out` is a file, has content that would be overwritten, cannot be written to, or is
            reserved by another process.
    """
    from filelock import FileLock, Timeout

    out = Path(out)
    place = out.absolute()
    if place in _claimed:
        _check_content(out, overwrite, resume)
        yield
        return
    made = _make(out)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"{out} is in use: another process of tlkit writes its results there. Wait until it ends, or "
            "choose another --out."
        ) from error
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        _claimed.add(place)
        tidy(out)
        _check_room(out)
        _check_content(out, overwrite, resume)
        yield
    finally:
        _claimed.discard(place)
        (out / LOCK).unlink(missing_ok=True)
        lock.release()
        _remove_empty(out, made)


def prepare(out: str | Path, overwrite: bool = False, resume: bool = False) -> None:
    """Create the folder of the results, or raise the errors of `claimed`, without reserving the folder."""
    out = Path(out)
    made = _make(out)
    try:
        _check_content(out, overwrite, resume)
    except OutputError:
        _remove_empty(out, made)
        raise


def _make(out: Path) -> list[Path]:
    """Create a folder, and return the folders that were missing, the innermost first."""
    try:
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out} is a file, expected a folder for the results. Choose another --out.")
        made = [each for each in (out, *out.parents) if not each.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):  # permissions alone do not reveal a read-only file system
            pass
    except (OSError, ValueError) as error:
        raise _unwritable(out, error) from error
    return made


def _unwritable(out: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"Results cannot be written to {str(out)[:200]!r}: {reason}. Choose another --out.")


def _remove_empty(out: Path, made: list[Path]) -> None:
    """Remove the folders that were made, unless they have content; and a state without any result."""
    if unfinished(out):
        state = out / UNFINISHED
        if all(each.is_dir() or each.name == SETTINGS for each in state.rglob("*")):
            shutil.rmtree(state, ignore_errors=True)
    for folder in made:
        try:
            folder.rmdir()
        except OSError:
            return


def _check_room(out: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(bytes(PROBE))
    except OSError as error:
        raise _unwritable(out, error) from error


def _check_content(out: Path, overwrite: bool, resume: bool) -> None:
    stopped = unfinished(out)
    if stopped and not overwrite and not resume:
        raise OutputError(
            f"{out} contains a stopped training. Pass --resume to continue it, --overwrite to start again, "
            "or another --out."
        )
    occupied = any(each.name != LOCK for each in out.iterdir())
    if occupied and not overwrite and not stopped:
        raise OutputError(f"{out} is not empty. Pass --overwrite to replace its results, or another --out.")


def check_space(out: str | Path, needed: int) -> None:
    """Raise an OutputError if fewer than `needed` bytes are free where the results will be written."""
    free = shutil.disk_usage(out).free
    if free < needed:
        raise OutputError(
            f"The results need about {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free at {out}. "
            "Make room, or choose another --out."
        )


@contextmanager
def together(out: str | Path) -> Iterator[Path]:
    """Write files as one change: yield a folder; at the end of the block, all files in it move to `out`.

    If the process is killed before that, `out` has its old files. If it is killed while they move, `tidy`
    completes the change. `out` must be reserved; see `claimed`.

    Raises:
        OutputError: the disk is full, or the system reports another error; `out` is then unchanged.
    """
    from tlkit._internal.cache import writing_folder  # imports NumPy, which `tlkit --help` does not need

    out = Path(out)
    with written_whole(out):
        with writing_folder(out) as folder:
            inside = folder / COMMITTED
            inside.mkdir()
            yield inside
            inside.replace(out / COMMITTED)  # from here on, the new files count
        _move(out)


def tidy(out: Path) -> None:
    """Complete or undo what a killed process left half done in a folder of results; it must be reserved."""
    from tlkit._internal.cache import sweep

    _move(out)
    sweep(out)


def settle(out: str | Path) -> None:
    """Complete the change of a folder of results that a killed process began; call it before reading.

    Raises:
        OutputError: another process is changing the folder now.
    """
    out = Path(out)
    if (out / COMMITTED).is_dir():
        with claimed(out, overwrite=True):
            pass


def _move(out: Path) -> None:
    """Move the files of a change to their places; a change that was half moved is completed."""
    if (out / COMMITTED).is_dir():
        for each in sorted((out / COMMITTED).iterdir()):
            each.replace(out / each.name)
        (out / COMMITTED).rmdir()


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


def unfinished(out: str | Path) -> bool:
    """Whether a folder of results contains the state of a stopped training."""
    return (Path(out) / UNFINISHED / SETTINGS).is_file()


def discard(out: str | Path) -> None:
    """Remove the state of a stopped training from a folder of results, if there is one."""
    if unfinished(out):  # otherwise tlkit did not write the folder
        shutil.rmtree(Path(out) / UNFINISHED)
