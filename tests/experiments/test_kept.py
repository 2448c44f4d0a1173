"""A study that is stopped: finished cells are not run again."""

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest

from tlkit.errors import OutputError, TlkitError
from tlkit.experiments import kept
from tlkit.experiments.statistics import compare


@pytest.mark.parametrize("name", ["table.csv", "new folder/table.parquet"])
def test_what_is_kept_is_not_run_again_and_reads_the_same(tmp_path, name):
    ran = []

    def arm(seed, share, where):
        ran.append((seed, share, where))
        return {"accuracy": 0.1 + seed / 3, "best": "yes"}

    settings = {"share": [0.1, 1], "where": [None, "01"]}
    first = compare({"arm": arm}, seeds=[0, 1], settings=settings, keep=tmp_path / name)
    assert len(ran) == 8
    again = compare({"arm": arm}, seeds=[0, 1], settings=settings, keep=tmp_path / name)
    assert len(ran) == 8
    pd.testing.assert_frame_equal(first, again)
    more = compare({"arm": arm}, seeds=[0, 1, 2], settings=settings, keep=tmp_path / name)
    assert ran[8:] == [(2, share, where) for share in (0.1, 1) for where in (None, "01")]
    assert len(more) == 12
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    assert len(read(tmp_path / name)) == 12


def test_after_a_kill_the_finished_cells_are_there_and_the_study_goes_on(tmp_path):
    script = f"""
import os, signal
from tlkit.experiments.statistics import compare
from tlkit.experiments import kept

def arm(seed):
    open(r"{tmp_path / "ran"}", "a").write(str(seed))
    if seed == 2 and not os.path.exists(r"{tmp_path / "killed"}"):
        open(r"{tmp_path / "killed"}", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return {{"accuracy": seed}}

print(compare({{"arm": arm}}, seeds=range(4), keep=r"{tmp_path / "table.csv"}")["accuracy"].tolist())
"""
    command = [sys.executable, "-c", script]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    assert pd.read_csv(tmp_path / "table.csv")["seed"].tolist() == [0, 1]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[0, 1, 2, 3]"
    assert (tmp_path / "ran").read_text() == "012" + "23"


def test_a_cell_that_fails_is_named_and_the_ones_before_it_stay(tmp_path):
    def arm(seed):
        if seed == 1:
            raise ValueError("boom")
        return {"accuracy": seed}

    with pytest.raises(ValueError, match="boom") as caught:
        compare({"arm": arm}, seeds=[0, 1], keep=tmp_path / "table.csv")
    assert "{'arm': 'arm', 'seed': 1}" in caught.value.__notes__[0]
    assert pd.read_csv(tmp_path / "table.csv")["seed"].tolist() == [0]


def test_other_cells_in_the_file_stay_there(tmp_path):
    keep = tmp_path / "table.csv"
    compare({"one": lambda seed: {"a": 1}, "two": lambda seed: {"b": 2}}, seeds=[0], keep=keep)
    table = compare({"two": lambda seed: {"b": 9}}, seeds=[0, 1], keep=keep)
    assert table["b"].tolist() == [2, 9]
    assert "one" not in table["arm"].tolist()
    assert pd.read_csv(keep)["arm"].tolist() == ["one", "two", "two"]


def test_parquet_without_pyarrow_is_refused_before_anything_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr(kept.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TlkitError, match="pip install pyarrow"):
        compare({"arm": lambda seed: pytest.fail("it ran")}, keep=tmp_path / "table.parquet")


def test_a_file_that_is_no_table_of_a_study_is_refused(tmp_path):
    arm = {"arm": lambda seed: {"accuracy": 1}}
    with pytest.raises(TlkitError, match=r"expected a name in \.csv or \.parquet"):
        compare(arm, keep=tmp_path / "table.xlsx")
    (tmp_path / "foreign.csv").write_text("name,age\nanna,3\n")
    with pytest.raises(TlkitError, match="is not the table of a study"):
        compare(arm, keep=tmp_path / "foreign.csv")
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    with pytest.raises(TlkitError, match="cannot be read as a table"):
        compare(arm, keep=tmp_path / "broken.parquet")
    assert (tmp_path / "foreign.csv").read_text() == "name,age\nanna,3\n"


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "fork"), reason="needs limits of a process")
def test_a_full_disk_is_said_and_the_table_stays_whole(tmp_path):
    import resource

    keep, code = tmp_path / "table.csv", []
    compare({"arm": lambda seed: {"text": "short"}}, seeds=[0], keep=keep)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match="Make room and run again"):
            compare({"arm": lambda seed: code.append(seed) or {"text": "x" * 9999}}, seeds=[0, 1], keep=keep)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == [1]
    assert pd.read_csv(keep)["text"].tolist() == ["short"]
