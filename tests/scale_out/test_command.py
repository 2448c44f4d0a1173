"""`tlkit features`: what it prints, and how it continues."""

import sys

import pytest
from click.testing import CliRunner

from tlkit import scale_out
from tlkit.cli import cli
from tlkit.scale_out.shards import parquet
from tlkit.scale_out.worker import Worker

LENET = ["--backbone", "LeNet", "--weights", "none", "--image-size", "28", "--shard-size", "8"]


def command(*words):
    return CliRunner().invoke(cli, ["features", *map(str, words)])


def test_it_says_what_is_there_and_how_to_read_it(photos, out):
    done = command(photos, "--out", out, *LENET)
    assert done.exit_code == 0, done.output
    assert "40 images in 5 shards (5 of them new), 100 features per image" in done.output
    code = done.output.split("Read the features in Python: ")[1]
    there = {}
    exec(code, there)
    assert there["features"].shape == (40, 100)
    assert "(0 of them new)" in command(photos, "--out", out, *LENET).output


def test_after_ctrl_c_the_same_command_continues(photos, out, undisturbed, monkeypatch):
    make = Worker.make

    def stopped(self, job):
        if job.shard == 2:
            raise KeyboardInterrupt
        return make(self, job)

    monkeypatch.setattr(Worker, "make", stopped)
    done = command(photos, "--out", out, *LENET)
    assert done.exit_code == 130
    assert "Interrupted by Ctrl-C: 2 shards are finished and kept. The same command continues." in done.output
    monkeypatch.undo()
    assert "5 shards (3 of them new)" in command(photos, "--out", out, *LENET).output
    assert scale_out.read(out).names.tolist() == undisturbed.names.tolist()


def test_options_of_ray_need_ray(photos, out):
    done = command(photos, "--out", out, "--workers", "2")
    assert done.exit_code == 2
    assert "--workers and --address need --engine ray" in done.output
    assert not out.exists()


@pytest.mark.parametrize("missing", ["pyarrow", "ray"])
def test_what_is_not_installed_is_named_with_its_extra(photos, out, monkeypatch, missing):
    parquet.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    done = command(photos, "--out", out, *LENET, "--engine", "ray")
    parquet.cache_clear()
    assert 'pip install "tlkit[scale]"' in str(done.exception)
    assert not out.exists()
