"""Commands that are killed or interrupted at random moments, and resumed, end like undisturbed ones."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from pushes import full

TORTURE = bool(os.environ.get("TLKIT_TORTURE"))
LENET = ["--backbone", "LeNet", "--weights", "none", "--image-size", 28]
COMMANDS = {
    "pretrain": (["pretrain", "FOLDER", *LENET, "--epochs", 6, "--batch-size", 16], "metrics.json"),
    "train from scratch": (
        ["train", "FOLDER", *LENET[:2], *LENET[4:], "--technique", "scratch", "--epochs", 20],
        "predictions.csv",
    ),
    "fine-tuning": (
        ["train", "FOLDER", *LENET, "--technique", "fine-tuning", "--minutes", "inf"],
        "predictions.csv",
    ),
    "adapt": (["adapt", "FOLDER", "FOLDER", *LENET, "--method", "mcc", "--epochs", 6], "metrics.json"),
    "label-counts": (
        ["label-counts", "FOLDER", *LENET, "--sizes", "4,8", "--seeds", 1, "--steps", 20, "--workers", 1],
        "results.csv",
    ),
}
IN_THE_SAMPLE = ["train from scratch"]
KILLS = 12 if TORTURE else 1  # of each command
TIMES = {"seconds", "files", "command"}  # what may differ between two runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 40 noisy images of two classes."""
    root, rng = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(40 * label, 200 + 40 * label, (28, 28, 3))
            Image.fromarray(pixels.astype("uint8")).save(root / name / f"{i}.png")
    return root


def start(words, folder, out):
    """Start a command in a process group of its own."""
    words = [str(folder) if word == "FOLDER" else str(word) for word in words]
    # A process that a script starts in the background ignores Ctrl-C unless it asks for it.
    code = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from tlkit.cli import main; main()"
    command = [sys.executable, "-c", code, *words, "--out", str(out)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process):
    """Wait for a command to succeed."""
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """Run each command once without a disturbance; return its folder and how many seconds it took."""
    known = {}

    def run(name):
        if name not in known:
            out, begin = tmp_path_factory.mktemp("runs") / "whole", time.monotonic()
            finish(start(COMMANDS[name][0], folder, out))
            known[name] = out, time.monotonic() - begin
        return known[name]

    return run


def content(path):
    """Return a file of results without what differs between two runs."""
    if path.suffix == ".csv":
        return pd.read_csv(path).drop(columns=["seconds"], errors="ignore")
    numbers = json.loads(path.read_text("utf-8"))
    left = {"checksum", "checksums", *TIMES}
    return pd.json_normalize({name: each for name, each in numbers.items() if name not in left})


def same(one, other):
    """Check that two tables have equal texts and almost equal numbers, apart from seconds."""
    names = [name for name in one if "seconds" not in name]
    pd.testing.assert_frame_equal(one[names], other[names], rtol=1e-3, atol=1e-4)


def moments(name, seconds):
    """Return when to disturb a command: a signal, and seconds after the first saved state or the start."""
    drawn = random.Random(name if not TORTURE else None)
    for _ in range(KILLS):
        number = drawn.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        yield (number, drawn.uniform(0, seconds)) if TORTURE else (number, None)


def saved(out):
    return any(path.suffix in (".npz", ".csv") for path in Path(out).rglob("unfinished/**/*"))


@full
@pytest.mark.parametrize("name", COMMANDS if TORTURE else IN_THE_SAMPLE)
def test_what_was_killed_ends_like_what_was_not(name, folder, undisturbed, tmp_path):
    words, file = COMMANDS[name]
    whole, seconds = undisturbed(name)
    for i, (number, delay) in enumerate(moments(name, seconds)):
        out = tmp_path / str(i)
        process = start(words, folder, out)
        if delay is None:
            while process.poll() is None and not saved(out):
                time.sleep(0.05)
        else:
            time.sleep(delay)
        if process.poll() is None:
            process.send_signal(number)
            process.communicate(timeout=120)
            assert process.returncode in (-number, 130, 0), process.returncode
        complete = (out / file).exists() and not (out / "unfinished").exists()
        if not complete:
            finish(start([*words, "--resume"], folder, out))
        same(content(whole / file), content(out / file))
        assert not [path for path in out.iterdir() if path.name.startswith(".")], "leftovers"


def end_of_children(process, works):
    """Kill a command as soon as it works; return those of its processes that have not ended after a while."""
    children = []
    while process.poll() is None and not (len(children) >= 3 and works()):
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.1)
    assert process.poll() is None
    process.kill()
    process.wait()
    return psutil.wait_procs(children, timeout=120)[1]


@full
def test_workers_end_with_their_parent(folder, tmp_path):
    out = tmp_path / "run"
    process = start([*COMMANDS["label-counts"][0][:-1], 2], folder, out)
    assert end_of_children(process, lambda: saved(out)) == []


@pytest.mark.skipif(not TORTURE, reason="Ray takes minutes to start and to end on a small machine")
def test_the_processes_of_ray_end_with_their_parent(folder, tmp_path):
    out = tmp_path / "features"
    words = ["features", "FOLDER", *LENET, "--shard-size", 1, "--engine", "ray", "--workers", 2]
    assert end_of_children(start(words, folder, out), lambda: any(out.glob("features-*"))) == []
