"""Download a file, or say at once that there is no network connection."""

import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from urllib.parse import urlsplit

from tlkit.errors import DataError

CONNECT_SECONDS = 5.0  # to reach a server
STALLED_SECONDS = 30.0  # without a byte, until a download counts as cut


def unreachable(url: str) -> str:
    """Return why a server cannot be reached, or "" if it answers; proxies of the environment are used.

    >>> "refused" in unreachable("http://localhost:9")
    True
    """
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError:  # an answer, if not the one that was hoped for
        return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return ""


def download(url: str, folder: Path, *, what: str, otherwise: str) -> Path:
    """Download a file into a folder, with a progress bar on standard error.

    Args:
        url: the address of the file.
        folder: an existing temporary folder, since a killed process leaves a partial file in it.
        what: the name of the data, for the error message.
        otherwise: what to do without a network connection, for the error message.

    Returns:
        The path of the file.

    Raises:
        DataError: the server cannot be reached, does not have the file, or the connection was cut; or the
            disk is full. No partial file remains.
    """
    if reason := unreachable(url):
        raise DataError(
            f"{what} is not on this machine, and {urlsplit(url).hostname} cannot be reached: {reason}. "
            f"{otherwise}"
        )
    from keras.utils import get_file  # imports Keras, which takes seconds

    try:
        with redirect_stdout(sys.stderr), _patience(STALLED_SECONDS):
            return Path(get_file("download", origin=url, cache_dir=folder, cache_subdir=""))
    except Exception as error:  # of the network or the disk; Keras raises a bare Exception, too
        raise failed(what, folder.parent, error) from error


def failed(what: str, folder: Path, error: Exception) -> DataError:
    """Return the error of a download into a folder that the network or the disk stopped."""
    reason = getattr(error, "strerror", None) or error
    return DataError(
        f"{what} could not be downloaded to {folder}: {reason}. Nothing was kept. Check the network "
        "connection and the free disk space, then try again. Set TLKIT_CACHE to download to another folder."
    )


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let every connection that is opened in this context fail after so many seconds without a byte."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
