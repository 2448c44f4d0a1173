"""Folders of results: reserved by one process at a time, and changed as a whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tlkit.errors import OutputError

UNFINISHED = "unfinished"  # folder within the results: the state of an unfinished training
SETTINGS = "settings.json"  # file within that folder: the settings that must not change
LOCK = ".lock"  # file within the results while a process writes there
COMMITTED = ".committed"  # folder within the results: new files that are complete and only have to be moved
REPLACES = ".replaces"  # file within that folder: checksums of earlier files that are then removed
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
        _check_content(out, overwrite, resume)
        yield
    finally:
        _claimed.discard(place)
        _remove_empty_state(out)
        if os.name == "nt":  # there, an open file cannot be removed
            lock.release()
        with suppress(OSError):
            (out / LOCK).unlink()
        lock.release()
        _remove_empty(made)


def prepare(out: str | Path, overwrite: bool = False, resume: bool = False) -> None:
    """Create the folder of the results, or raise the errors of `claimed`, without reserving the folder."""
    out = Path(out)
    made = _make(out)
    try:
        _check_content(out, overwrite, resume)
    except OutputError:
        _remove_empty(made)
        raise


def _make(out: Path) -> list[Path]:
    """Create a folder, and return the folders that were missing, the innermost first."""
    try:
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out} is a file, expected a folder for the results. Choose another --out.")
        made = [each for each in (out, *out.parents) if not each.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:  # on a full disk, or a read-only file system
            file.write(bytes(PROBE))
    except (OSError, ValueError) as error:
        raise _unwritable(out, error) from error
    return made


def _unwritable(out: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"Results cannot be written to {str(out)[:200]!r}: {reason}. Choose another --out.")


def _remove_empty_state(out: Path) -> None:
    """Remove the state of a training if it has settings, but no result."""
    if unfinished(out):
        state = out / UNFINISHED
        if all(each.is_dir() or each.name == SETTINGS for each in state.rglob("*")):
            shutil.rmtree(state, ignore_errors=True)


def _remove_empty(made: list[Path]) -> None:
    """Remove the folders that were made, as far as they have no content."""
    for folder in made:
        try:
            folder.rmdir()
        except OSError:
            return


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
def together(out: str | Path, *, replaces: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Write files as one change: yield a folder; at the end of the block, all files in it move to `out`.

    If the process is killed before that, `out` has its old files. If it is killed while they move, `tidy`
    completes the change. `out` must be reserved; see `claimed`.

    Args:
        out: the folder.
        replaces: the SHA-256 of earlier files by name. Those that are not written again are removed, unless
            they have changed.

    Raises:
        OutputError: the disk is full, or the system reports another error. The message says whether `out` is
            unchanged, or where the new files are.
    """
    from tlkit._internal.cache import writing_folder  # imports NumPy, which `tlkit --help` does not need

    out = Path(out)
    with written_whole(out), writing_folder(out) as folder:
        inside = folder / COMMITTED
        inside.mkdir()
        yield inside
        if replaces:
            (inside / REPLACES).write_text(json.dumps(dict(replaces)), "utf-8")
        inside.replace(out / COMMITTED)  # from here on, the new files count
    _move(out)


def tidy(out: Path) -> None:
    """Complete or undo what a killed process left half done in a folder of results; it must be reserved."""
    from tlkit._internal.cache import sweep

    _move(out)
    sweep(out)
    if (out / UNFINISHED).is_dir() and not any((out / UNFINISHED).iterdir()):
        (out / UNFINISHED).rmdir()
    for folder in (each for each in (out / UNFINISHED).rglob("*") if each.is_dir()):
        sweep(folder)
    sweep(out / UNFINISHED)


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
    from tlkit._internal.cache import file_checksum

    inside = out / COMMITTED
    if not inside.is_dir():
        return
    try:
        replaced = inside / REPLACES
        if replaced.is_file():
            for name, checksum in json.loads(replaced.read_text("utf-8")).items():
                if not (inside / name).exists() and file_checksum(out / name) == checksum:
                    (out / name).unlink()
            replaced.unlink()
        for each in sorted(inside.iterdir()):
            each.replace(out / each.name)
        inside.rmdir()
    except OSError as error:
        raise OutputError(
            f"The new files are complete in {inside}, but could not all be moved to {out}: "
            f"{error.strerror or error}. Close programs that use the old ones, and run again."
        ) from error


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
