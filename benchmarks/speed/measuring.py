"""Peers take turns at the same work; what they took is a table of ratios, and the same as JSON.

A benchmark is a script with a function `measure(full: bool) -> Report` that ends with `main(measure)`. The
sides take turns, so a slow minute of the machine slows all of them, and the ratio is taken round by round.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from tqdm import tqdm

RESULTS = Path(__file__).parent / "results"
PEERS = Path(__file__).parents[2] / ".peers"  # made by `make peers`
ROUNDS = 5
PACKAGES = ("keras", "tensorflow", "jax", "torch", "openvino", "numpy")

Job = Callable[[], float | None]


@dataclass
class Comparison:
    """What one side and its peers took for the same work, round by round.

    Attributes:
        title: the work, with its size.
        unit: of the values, such as "s" or "images/s".
        ours: the side that the others are compared with.
        values: by side, one a round (or a seed); those of one round belong together.
        better: "less" or "more".
    """

    title: str
    unit: str
    ours: str
    values: dict[str, list[float]]
    better: str = "less"

    def ratios(self, side: str) -> tuple[float, float, float]:
        """How far ahead of a side ours is, median, least and most of the rounds; above 1, ours is better."""
        ours, theirs = np.array(self.values[self.ours]), np.array(self.values[side])
        ratios = theirs / ours if self.better == "less" else ours / theirs
        return float(np.median(ratios)), float(ratios.min()), float(ratios.max())

    def table(self) -> pd.DataFrame:
        """One row a side: median, least and most of its values, and how far ahead of it ours is."""
        rows = []
        for side, values in self.values.items():
            shown = (np.median(values), min(values), max(values))
            ahead = (f"{each:.2f}" for each in self.ratios(side))
            rows.append([side, *(f"{each:.4g}" for each in shown), *ahead])
        columns = ["", f"median {self.unit}", "min", "max", "ratio", "min", "max"]
        return pd.DataFrame(rows, columns=columns)


@dataclass
class Report:
    """All that one benchmark measured.

    Attributes:
        title: what was compared.
        comparisons: the tables.
        missing: peers that are not installed, each with the way to get it.
        notes: sentences on what the figures mean, and where we are behind and why.
    """

    title: str
    comparisons: list[Comparison] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [self.title]
        parts += [f"{each.title}\n{each.table().to_string(index=False)}" for each in self.comparisons]
        parts += [f"Missing: {peer}. To compare with it: {how}" for peer, how in self.missing.items()]
        return "\n\n".join([*parts, *self.notes])


def take_turns(jobs: Mapping[str, Job], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Run each job once to warm up, then all in turn, round after round.

    A job that returns a number measured itself; of any other the seconds are taken.
    """
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in tqdm(range(rounds + 1), desc=", ".join(jobs), unit="round", leave=False):
        for name, job in jobs.items():
            start = time.perf_counter()
            answer = job()
            seconds = time.perf_counter() - start
            if turn:
                taken[name].append(seconds if answer is None else float(answer))
    return taken


def rate(amount: float, seconds: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Turn seconds into amount a second."""
    return {name: [amount / each for each in values] for name, values in seconds.items()}


class Peer:
    """A job in a Python of its own, which stays loaded and does the job whenever it is called.

    Args:
        name: the environment, a folder of `.peers/`.
        script: the file to run there; it ends with `serve(job)`.
        arguments: of the script.
    """

    def __init__(self, name: str, script: str | Path, *arguments: str) -> None:
        command = [str(python_of(name)), str(script), *arguments]
        here = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=here, text=True, **pipes)

    def __call__(self) -> float:
        """Do the job there, and return what it measured."""
        return self.ask()["value"]

    def ask(self) -> dict[str, Any]:
        """Do the job there, and return all that it says of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith('{"value"'):
                return json.loads(line)
        raise click.ClickException(f"The peer {' '.join(self.process.args)} stopped; see its error above.")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()


def serve(job: Callable[[], float | Mapping[str, Any] | None]) -> None:
    """On the side of the peer: do the job for each line of standard input.

    The job returns nothing (its seconds are taken), a number, or a mapping that has one as its "value".
    """
    for _ in sys.stdin:
        start = time.perf_counter()
        answer = job()
        seconds = time.perf_counter() - start
        said = answer if isinstance(answer, Mapping) else {"value": seconds if answer is None else answer}
        print(json.dumps({"value": said["value"], **said}), flush=True)


def python_of(name: str) -> Path:
    """Where the Python of a peer's environment is, or would be."""
    return PEERS / name / "bin" / "python"


def absent(*names: str) -> dict[str, str]:
    """Of these peers' environments, those that are not there, and how to get them."""
    return {name: f"make peers PEERS={name}" for name in names if not python_of(name).exists()}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import psutil

    lines = Path("/proc/cpuinfo")
    models = (
        [line for line in lines.read_text().splitlines() if "model name" in line] if lines.exists() else []
    )
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": models[0].split(":")[1].strip() if models else platform.processor(),
        "cores": len(psutil.Process().cpu_affinity() or [])
        if hasattr(psutil.Process, "cpu_affinity")
        else psutil.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "python": platform.python_version(),
        "packages": found,
        "date": date.today().isoformat(),
    }


def main(measure: Callable[[bool], Report]) -> None:
    """Make a script of a benchmark."""
    name = Path(sys.argv[0]).stem

    @click.command(help=sys.modules["__main__"].__doc__)
    @click.option("--full", is_flag=True, help="More sizes, networks and seeds.")
    @click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the JSON.")
    def command(full: bool, out: Path) -> None:
        start = time.perf_counter()
        report = measure(full)
        click.echo(f"\n{report}\n")
        out.mkdir(parents=True, exist_ok=True)
        seconds = round(time.perf_counter() - start)
        written = {"name": name, "full": full, "seconds": seconds, "machine": machine(), **asdict(report)}
        (out / f"{name}.json").write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", "utf-8")

    command()
