"""Install this class pack: `python install.py`, without network. Nothing outside this folder changes.

It travels inside the pack, so it needs no package, and every Python since 3.8 can read it. Checked first:
that the pack was made for this system and this version of Python, that the disk has room, and that every file
is as it was packed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


class NotInstalled(Exception):
    """What is wrong, and what to do next."""


def this_machine() -> dict[str, str]:
    """Return what the wheels of a pack depend on.

    >>> sorted(this_machine())
    ['machine', 'python', 'system', 'system_version']
    """
    versions = {"Linux": platform.libc_ver()[1], "Darwin": platform.mac_ver()[0]}
    return {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "system": platform.system(),
        "machine": f"{platform.machine()} {platform.architecture()[0]}",
        "system_version": versions.get(platform.system(), ""),
    }


def number(version: str) -> tuple[int, ...]:
    """Return a version as numbers that compare.

    >>> number("2.31") < number("2.4"), number("")
    (False, (0,))
    """
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def refuse_another_machine(pack: dict[str, Any], here: dict[str, str]) -> None:
    """Raise where the wheels of the pack cannot run.

    >>> here = {"python": "3.11", "system": "Linux", "machine": "x86_64 64bit", "system_version": "2.31"}
    >>> refuse_another_machine(here | {"python": "3.12"}, here)
    Traceback (most recent call last):
    tlkit.course.install.NotInstalled: This pack is for Linux x86_64 64bit, Python 3.12; this is Linux ...
    """
    made, this = ("{system} {machine}, Python {python}".format(**each) for each in (pack, here))
    if made != this:
        advice = "Ask for a pack that was made on a machine such as this"
        if all(pack[what] == here[what] for what in ("system", "machine")):
            version = pack["python"]
            advice = f"Start it so: python{version} install.py; on Windows: py -{version} install.py"
        raise NotInstalled(f"This pack is for {made}; this is {this}. {advice}.")
    needed, given = (each["system_version"] for each in (pack, here))
    if number(needed) > number(given) > (0,):
        kind = "macOS" if pack["system"] == "Darwin" else "glibc"
        raise NotInstalled(
            f"This pack needs {kind} {needed} or newer, this machine has {given}. Ask for a pack that was "
            "made on an older system."
        )


def refuse_full_disk(pack: dict[str, Any], folder: Path) -> None:
    """Raise where what will be installed does not fit."""
    free, needed = shutil.disk_usage(str(folder)).free / 1e6, pack["installed_megabytes"]
    if free < needed:
        raise NotInstalled(
            f"{needed:,.0f} MB are needed, {free:,.0f} MB are free on this disk. Make room, or unpack the "
            "zip file on another one."
        )


def refuse_changed_files(folder: Path) -> int:
    """Compare every file with SHA256SUMS, and return their number.

    A notebook may have changed: somebody has begun to work in it.
    """
    again = "Unpack the zip file anew; if that does not help, copy it anew."
    lines = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
    expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    for name, digest in expected.items():
        found = hashlib.sha256()
        try:
            with (folder / name).open("rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    found.update(block)
        except FileNotFoundError:
            raise NotInstalled(f"{name} is missing. {again}") from None
        if found.hexdigest() != digest and not name.startswith("notebooks/"):
            raise NotInstalled(f"{name} is not as it was packed, its checksum differs. {again}")
    for path in (folder / "wheels").glob("*"):
        if f"wheels/{path.name}" not in expected:
            raise NotInstalled(f"wheels/{path.name} does not belong to this pack. Delete it.")
    return len(expected)


def install(pack: dict[str, Any], folder: Path) -> Path:
    """Make the folder `environment`, and return that of its programs."""
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    options = ["--quiet", "--disable-pip-version-check", "--find-links", "wheels", "-r", "requirements.txt"]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if pack["wheels"]:  # nothing that pip is told on this machine may change what the pack says
        options += ["--no-index", "--no-deps"]
        variables = {name: value for name, value in variables.items() if not name.startswith("PIP_")}
        variables["PIP_CONFIG_FILE"] = os.devnull
    for program, *arguments in (
        [sys.executable, "-m", "venv", "--clear", "environment"],
        [str(programs / "python"), "-m", "pip", "install", *options],
        [str(programs / "python"), "-c", "import tlkit"],
    ):
        done = subprocess.run([program, *arguments], cwd=str(folder), env=variables)
        if done.returncode:
            what = " ".join(arguments[:3])
            raise NotInstalled(
                f"{what!r} failed; the reason stands above. Mend it and start again: nothing is lost."
            )
    return programs


def main() -> None:
    """Check, install, and say how to begin."""
    parser = argparse.ArgumentParser(description="Install this class pack into the folder environment.")
    parser.add_argument("--check", action="store_true", help="check machine, disk and files; install nothing")
    only_check = parser.parse_args().check
    folder = Path(__file__).resolve().parent
    try:
        pack = json.loads((folder / "pack.json").read_text("utf-8"))
        if pack["wheels"]:
            refuse_another_machine(pack, this_machine())
        refuse_full_disk(pack, folder)
        print(f"{refuse_changed_files(folder)} files are as they were packed.", flush=True)
        if only_check:
            return
        print(f"Installing {pack['packages']} packages: this takes some minutes.", flush=True)
        programs = install(pack, folder)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"Error: this pack cannot be read: {error!r}. Unpack the zip file anew.")
    except NotInstalled as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"Done. Begin with: {programs / 'jupyter'} lab {folder / 'notebooks'}")


if __name__ == "__main__":
    main()
