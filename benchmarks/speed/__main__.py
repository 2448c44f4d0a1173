"""Run the benchmarks of speed, each in a process of its own: all of them, or those that are named."""

import subprocess
import sys
from pathlib import Path

import click

HERE = Path(__file__).parent
NAMES = (
    "frozen_features",
    "frozen_trunk",
    "domain_adaptation",
    "scores",
    "input_pipeline",
    "start_up",
    "training_loop",
)


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--full", is_flag=True, help="More sizes, networks and seeds.")
def main(names: tuple[str, ...], full: bool) -> None:
    for name in names or NAMES:
        command = [sys.executable, str(HERE / f"{name}.py"), *(["--full"] if full else [])]
        subprocess.run(command, check=True)
    subprocess.run([sys.executable, str(HERE / "figure.py")], check=True)


if __name__ == "__main__":
    main()
