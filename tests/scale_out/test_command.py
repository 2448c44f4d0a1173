"""`tlkit features` as a user meets it."""

import sys

import pytest
from click.testing import CliRunner

from tlkit import scale_out
from tlkit.cli.features import features
from tlkit.scale_out.shards import parquet
from tlkit.scale_out.worker import Worker

LENET = ["--backbone", "LeNet", "--weights", "none", "--image-size", "28", "--shard-size", "8"]


def command(*words):
    return CliRunner().invoke(features, list(map(str, words)))


def test_it_says_what_is_there_and_how_to_read_it(photos, out):
    done = command(photos, "--out", out, *LENET)
    assert done.exit_code == 0, done.output
    assert "40 images, each once, 100 features of each; 5 shards, 5 of them made now" in done.output
    code = done.output.split("Read them in Python: ")[1]
    there = {}
    exec(code, there)
    assert there["features"].shape == (40, 100)
    assert "0 of them made now" in command(photos, "--out", out, *LENET).output


def test_after_ctrl_c_the_same_command_goes_on(photos, out, undisturbed, monkeypatch):
    make = Worker.make

    def stopped(self, job):
        if job.shard == 2:
            raise KeyboardInterrupt
        return make(self, job)

    monkeypatch.setattr(Worker, "make", stopped)
    done = command(photos, "--out", out, *LENET)
    assert done.exit_code == 130
    assert "Stopped by Ctrl-C: 2 shards are finished and stay. The same command goes on." in done.output
    monkeypatch.undo()
    assert "5 shards, 3 of them made now" in command(photos, "--out", out, *LENET).output
    assert scale_out.read(out).names.tolist() == undisturbed.names.tolist()


def test_options_of_ray_need_ray(photos, out):
    done = command(photos, "--out", out, "--workers", "2")
    assert done.exit_code == 2
    assert "give --engine ray too" in done.output
    assert not out.exists()


@pytest.mark.parametrize("missing", ["pyarrow", "ray"])
def test_what_is_not_installed_is_named_with_its_extra(photos, out, monkeypatch, missing):
    parquet.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    done = command(photos, "--out", out, *LENET, "--engine", "ray")
    parquet.cache_clear()
    assert 'pip install "tlkit[scale]"' in str(done.exception)
    assert not out.exists()
