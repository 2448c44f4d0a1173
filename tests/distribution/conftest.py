"""The same trainings in one process, on eight devices and by two workers, each in processes of their own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

JOBS = Path(__file__).with_name("jobs.py")


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(words, **environment):
    """Start a script of this folder, or another, with these variables of the environment."""
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    more = {"TF_CPP_MIN_LOG_LEVEL": "3", **threads, **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *map(str, words)], env=os.environ | more, **pipes)


def finish(processes):
    """Wait for all, and return what each printed; none is left behind."""
    try:
        said = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text[-5000:]
    return said


@pytest.fixture(scope="session")
def cluster():
    """Return for each of `n` workers on this machine the setting that says who the others are."""

    def settings(n):
        workers = [f"127.0.0.1:{port}" for port in free_ports(n)]
        tasks = [{"type": "worker", "index": i} for i in range(n)]
        return [json.dumps({"cluster": {"worker": workers}, "task": task}) for task in tasks]

    return settings


@pytest.fixture(scope="session")
def run_together():
    """Start scripts at the same time, each with its words and its environment, and return what they print."""
    return lambda *scripts: finish([start(words, **environment) for words, environment in scripts])


@pytest.fixture(scope="session")
def trained(run_together, tmp_path_factory):
    """Run jobs, or all, once for each environment, at the same time, and return what each of them found."""

    def run(*settings, jobs=()):
        folder = tmp_path_factory.mktemp("trained")
        outs = [folder / f"{i}.npz" for i in range(len(settings))]
        starts = zip(outs, settings, strict=True)
        run_together(*(([JOBS, how, out, *jobs], environment) for out, (how, environment) in starts))
        return [dict(np.load(out)) for out in outs]

    return run
