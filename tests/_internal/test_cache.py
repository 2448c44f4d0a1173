import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tlkit._internal import cache
from tlkit.errors import TlkitWarning


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))


def ones():
    return {"values": np.ones(1000, "float32")}


def never():
    raise AssertionError("computed although it was kept")


def test_arrays_are_computed_once():
    cache.arrays("features", "key", ones)
    assert cache.arrays("features", "key", never)["values"].sum() == 1000


@pytest.mark.parametrize("damage", [b"", b"garbage", "half", "one byte"])
def test_a_damaged_file_is_made_again_and_said(tmp_path, damage):
    cache.arrays("features", "key", ones)
    path = tmp_path / "features" / "key.npz"
    content = bytearray(path.read_bytes())
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one byte":
        content[2000] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(damage)
    with pytest.warns(TlkitWarning, match="computed again"):
        assert cache.arrays("features", "key", ones)["values"].sum() == 1000
    assert cache.arrays("features", "key", never)["values"].sum() == 1000


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def write():
        with cache.atomic(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["result.txt"]


def test_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    code = (
        "import sys, time; from pathlib import Path; from tlkit._internal import cache\n"
        "with cache.atomic(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert path.read_text() == "old"


def slow(n):
    time.sleep(0.2)
    return {"values": np.full(1000, n)}


def kept_by(n):
    return cache.arrays("features", "shared", lambda: slow(n))["values"]


def test_two_processes_can_keep_the_same_key():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for values in pool.map(kept_by, [1, 2, 1, 2]):
            assert len(set(values)) == 1
    assert cache.arrays("features", "shared", never)["values"].shape == (1000,)


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "file"))
    with pytest.warns(TlkitWarning, match="cannot be cached .* Set TLKIT_CACHE"):
        assert cache.arrays("data", "ones", ones)["values"].sum() == 1000
    assert cache.arrays("data", "ones", never)["values"].sum() == 1000  # this process still has it
