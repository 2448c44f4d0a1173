"""A comparison that is stopped: finished cells are not run again."""

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest

from tlkit.errors import OutputError, TlkitError
from tlkit.experiments.cells import run_cells


@pytest.mark.parametrize("name", ["table.csv", "new folder/table.parquet"])
def test_what_is_kept_is_not_run_again_and_reads_the_same(tmp_path, name):
    ran = []

    def arm(seed, fraction, where):
        ran.append((seed, fraction, where))
        return {"accuracy": 0.1 + seed / 3, "best": "yes"}

    settings = {"fraction": [0.1, 1], "where": [None, "01"]}
    first = run_cells({"arm": arm}, seeds=[0, 1], settings=settings, keep=tmp_path / name)
    assert len(ran) == 8
    again = run_cells({"arm": arm}, seeds=[0, 1], settings=settings, keep=tmp_path / name)
    assert len(ran) == 8
    pd.testing.assert_frame_equal(first, again)
    more = run_cells({"arm": arm}, seeds=[0, 1, 2], settings=settings, keep=tmp_path / name)
    assert ran[8:] == [(2, fraction, where) for fraction in (0.1, 1) for where in (None, "01")]
    assert len(more) == 12
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    assert len(read(tmp_path / name)) == 12


def test_after_a_kill_the_finished_cells_are_there_and_the_comparison_goes_on(tmp_path):
    keep, ran = tmp_path / "table.csv", []
    script = f"""
import os, signal
from tlkit.experiments.cells import run_cells

def arm(seed):
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {{"accuracy": seed}}

run_cells({{"arm": arm}}, seeds=range(4), keep=r"{keep}")
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert pd.read_csv(keep)["seed"].tolist() == [0, 1]
    table = run_cells({"arm": lambda seed: ran.append(seed) or {"accuracy": seed}}, seeds=range(4), keep=keep)
    assert table["accuracy"].tolist() == [0, 1, 2, 3]
    assert ran == [2, 3]


def test_a_cell_that_fails_is_named_and_the_ones_before_it_stay(tmp_path):
    def arm(seed):
        if seed == 1:
            raise ValueError("boom")
        return {"accuracy": seed}

    with pytest.raises(ValueError, match="boom") as caught:
        run_cells({"arm": arm}, seeds=[0, 1], keep=tmp_path / "table.csv")
    assert "{'arm': 'arm', 'seed': 1}" in caught.value.__notes__[0]
    assert pd.read_csv(tmp_path / "table.csv")["seed"].tolist() == [0]


def test_other_cells_in_the_file_stay_there(tmp_path):
    keep = tmp_path / "table.csv"
    run_cells({"one": lambda seed: {"a": 1}, "two": lambda seed: {"b": 2}}, seeds=[0], keep=keep)
    table = run_cells({"two": lambda seed: {"b": 9}}, seeds=[0, 1], keep=keep)
    assert table["b"].tolist() == [2, 9]
    assert "one" not in table["arm"].tolist()
    assert pd.read_csv(keep)["arm"].tolist() == ["one", "two", "two"]


def test_parquet_without_pyarrow_is_refused_before_anything_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TlkitError, match="pip install pyarrow"):
        run_cells({"arm": lambda seed: pytest.fail("it ran")}, keep=tmp_path / "table.parquet")


def test_a_file_that_is_no_table_of_a_comparison_is_refused(tmp_path):
    arm = {"arm": lambda seed: {"accuracy": 1}}
    with pytest.raises(TlkitError, match=r"expected a name in \.csv or \.parquet"):
        run_cells(arm, keep=tmp_path / "table.xlsx")
    (tmp_path / "foreign.csv").write_text("name,age\nanna,3\n")
    with pytest.raises(TlkitError, match="is not the table of a comparison"):
        run_cells(arm, keep=tmp_path / "foreign.csv")
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    with pytest.raises(TlkitError, match="cannot be read as a table"):
        run_cells(arm, keep=tmp_path / "broken.parquet")
    assert (tmp_path / "foreign.csv").read_text() == "name,age\nanna,3\n"


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "fork"), reason="needs limits of a process")
def test_a_full_disk_is_said_and_the_table_stays_whole(tmp_path):
    import resource

    keep, ran = tmp_path / "table.csv", []
    run_cells({"arm": lambda seed: {"text": "short"}}, seeds=[0], keep=keep)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match="Make room and run again"):
            run_cells({"arm": lambda seed: ran.append(seed) or {"text": "x" * 9999}}, seeds=[0, 1], keep=keep)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran == [1]
    assert pd.read_csv(keep)["text"].tolist() == ["short"]


@pytest.mark.parametrize("damage", ["a digit", "a byte that is no text", "a comma"])
def test_rows_that_have_changed_are_run_again(tmp_path, damage):
    keep, ran = tmp_path / "table.csv", []

    def arm(seed):
        ran.append(seed)
        return {"accuracy": 0.25 + seed / 4, "name": "yes"}

    whole = run_cells({"arm": arm}, seeds=[0, 1], keep=keep)
    lines = keep.read_bytes().splitlines()
    old, new = {"a digit": (b"0.5", b"0.7"), "a byte that is no text": (b"arm", b"\xffrm")}.get(
        damage, (b"0.5", b"0.5,1")
    )
    lines[2] = lines[2].replace(old, new)
    keep.write_bytes(b"\n".join(lines))
    with pytest.warns(Warning, match=r"1 of 2 rows .* have changed|Skipping line"):
        again = run_cells({"arm": arm}, seeds=[0, 1], keep=keep)
    assert ran == [0, 1, 1]
    left = {"columns": "seconds"}
    pd.testing.assert_frame_equal(again.drop(**left), whole.drop(**left), check_dtype=False)
