"""Folders of results: reserved by one process, changed as a whole, and clean after a failure."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from tlkit._internal import outputs
from tlkit._internal.cache import WRITING
from tlkit.errors import OutputError

DEAD = 2**22 + 1  # no process has this number


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.txt").write_text("old model")
    (folder / "names.txt").write_text("old names")
    return folder


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def start(code, *words):
    """Start a Python process, and return it when it has printed a line."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE)
    assert process.stdout.readline()
    return process


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


CLAIMS = """
import sys, time
from tlkit._internal import outputs
with outputs.claimed(sys.argv[1], overwrite=True):
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_and_told_why(out):
    process = start(CLAIMS, out)
    try:
        with (
            pytest.raises(OutputError, match=r"is in use: another process.*choose another --out"),
            outputs.claimed(out, overwrite=True),
        ):
            pass
    finally:
        kill(process)
    with outputs.claimed(out, overwrite=True):  # the lock of a killed process does not count
        pass
    assert contents(out) == {"model.txt": "old model", "names.txt": "old names"}


def test_the_same_process_may_reserve_a_folder_again(tmp_path):
    with outputs.claimed(tmp_path / "run"), outputs.claimed(tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from tlkit._internal import outputs
out, moment = Path(sys.argv[1]), sys.argv[2]
if moment == "moving":
    moves = []
    def replace(self, target, real=Path.replace):
        if Path(target).parent == out and Path(target).name != outputs.COMMITTED:
            moves.append(target)
            if len(moves) == 2:
                print("now", flush=True); time.sleep(600)
        return real(self, target)
    Path.replace = replace
with outputs.claimed(out, overwrite=True), outputs.together(out) as folder:
    (folder / "model.txt").write_text("new model")
    if moment == "writing":
        print("now", flush=True); time.sleep(600)
    (folder / "names.txt").write_text("new names")
"""


@pytest.mark.parametrize(("moment", "expected"), [("writing", "old"), ("moving", "new")])
def test_after_a_kill_all_files_are_old_or_all_are_new(out, moment, expected):
    kill(start(KILLED, out, moment))
    assert len(list(out.iterdir())) > 2
    with outputs.claimed(out, overwrite=True):
        assert contents_without_lock(out) == {
            "model.txt": f"{expected} model",
            "names.txt": f"{expected} names",
        }
    assert len(list(out.iterdir())) == 2


def contents_without_lock(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != outputs.LOCK}


def test_a_reader_completes_the_change_of_a_killed_process(out):
    kill(start(KILLED, out, "moving"))
    assert contents_without_lock(out / outputs.COMMITTED) == {"names.txt": "new names"}
    outputs.settle(out)
    assert contents(out) == {"model.txt": "new model", "names.txt": "new names"}


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(out):
    here, elsewhere = f"{WRITING}{socket.gethostname()}", f"{WRITING}another-machine"
    dead, living = out / f"{here}-{DEAD}-x", out / f"{here}-{os.getpid()}-x"
    remote = out / f"{elsewhere}-{DEAD}-x"
    for each in (dead, living, remote):
        each.mkdir()
        (each / "half").write_text("half")
    with outputs.claimed(out, overwrite=True):
        assert not dead.exists()
        assert living.exists()
        assert remote.exists()


def test_an_error_while_writing_leaves_the_old_files(out):
    def write():
        with outputs.claimed(out, overwrite=True), outputs.together(out) as folder:
            (folder / "model.txt").write_text("new model")
            raise OSError("disk full")

    with pytest.raises(OutputError, match="Make room"):
        write()
    assert contents(out) == {"model.txt": "old model", "names.txt": "old names"}


def failing(out, state):
    """Reserve a folder, write these files of a state, and fail."""
    with outputs.claimed(out):
        for name in state:
            file = out / outputs.UNFINISHED / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")
        raise ValueError("failed")


def test_a_failed_run_leaves_no_folder_so_the_same_command_works(tmp_path):
    out = tmp_path / "runs" / "mine"
    for _ in range(2):
        with pytest.raises(ValueError, match="failed"):
            failing(out, [outputs.SETTINGS])  # and nothing was trained
        assert list(tmp_path.iterdir()) == []


def test_a_state_with_results_stays_after_a_failure(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ValueError, match="failed"):
        failing(out, [outputs.SETTINGS, "scratch/epoch-00001.npz"])
    with pytest.raises(OutputError, match="Pass --resume"), outputs.claimed(out):
        pass
    with outputs.claimed(out, resume=True):
        assert (out / outputs.UNFINISHED / "scratch" / "epoch-00001.npz").exists()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file/inside"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError) as caught, outputs.claimed(tmp_path / name):
        pass
    assert "\n" not in str(caught.value)
    assert "Choose another --out" in str(caught.value)


def test_no_room_is_found_before_anything_is_done(tmp_path):
    with pytest.raises(OutputError, match="Make room"):
        outputs.check_space(tmp_path, 10**18)
    outputs.check_space(tmp_path, 1)
