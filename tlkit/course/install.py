"""Install this class pack without a network: `python install.py`. Nothing outside this folder changes.

This script is part of the pack. It needs no package, and every version of Python since 3.8 can read it.
Before it installs anything, it checks that the pack was made for this system and this version of Python, that
the disk has enough space, and that no file has changed since it was packed.
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
    """The pack cannot be installed; the message says why, and what to do next."""


def this_machine() -> dict[str, str]:
    """Return the properties of this machine that the wheels of a pack depend on.

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
    """Return a version as a tuple of numbers, so that versions can be compared.

    >>> number("2.31") < number("2.4"), number("")
    (False, (0,))
    """
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def refuse_another_machine(pack: dict[str, Any], here: dict[str, str]) -> None:
    """Check that the wheels of the pack run on this machine.

    Raises:
        NotInstalled: the pack is for another system, version of Python, glibc or macOS.

    >>> here = {"python": "3.11", "system": "Linux", "machine": "x86_64 64bit", "system_version": "2.31"}
    >>> refuse_another_machine(here | {"python": "3.12"}, here)
    Traceback (most recent call last):
    tlkit.course.install.NotInstalled: This pack is for Linux x86_64 64bit, Python 3.12; this is Linux ...
    """
    needed, this = ("{system} {machine}, Python {python}".format(**each) for each in (pack, here))
    if needed != this:
        advice = "Ask for a pack that was made on a machine of this kind"
        if all(pack[what] == here[what] for what in ("system", "machine")):
            version = pack["python"]
            advice = f"Run: python{version} install.py; on Windows: py -{version} install.py"
        raise NotInstalled(f"This pack is for {needed}; this is {this}. {advice}.")
    needed, installed = (each["system_version"] for each in (pack, here))
    if number(needed) > number(installed) > (0,):
        kind = "macOS" if pack["system"] == "Darwin" else "glibc"
        raise NotInstalled(
            f"This pack needs {kind} {needed} or newer; this machine has {installed}. Ask for a pack that "
            "was made on an older system."
        )


def refuse_full_disk(pack: dict[str, Any], folder: Path) -> None:
    """Check that the disk has enough free space for the installation.

    Raises:
        NotInstalled: it has not.
    """
    free, needed = shutil.disk_usage(str(folder)).free / 1e6, pack["installed_megabytes"]
    if free < needed:
        raise NotInstalled(
            f"The installation needs {needed:,.0f} MB; this disk has {free:,.0f} MB free. Free some space, "
            "or unpack the zip file on another disk."
        )


def refuse_changed_files(folder: Path) -> int:
    """Compare the checksum of every file with SHA256SUMS, and return the number of files.

    Notebooks may have changed, because learners work in them.

    Raises:
        NotInstalled: another file has changed or is missing, or there is a wheel that is not in the pack.
    """
    again = "Unpack the zip file again. If that does not help, copy the zip file again."
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
            raise NotInstalled(f"{name} has changed since it was packed: its checksum differs. {again}")
    for path in (folder / "wheels").glob("*"):
        if f"wheels/{path.name}" not in expected:
            raise NotInstalled(f"wheels/{path.name} does not belong to this pack. Delete it.")
    return len(expected)


def install(pack: dict[str, Any], folder: Path) -> Path:
    """Install packages and data into the folder `environment`, and return the folder of its programs.

    Raises:
        NotInstalled: a step of the installation failed.
    """
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    options = ["--quiet", "--disable-pip-version-check", "--find-links", "wheels", "-r", "requirements.txt"]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if pack["wheels"]:  # the pip settings of this machine must not change what the pack installs
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
                f"{what!r} failed; the reason is above. Fix it and run install.py again: nothing is lost."
            )
    for name in pack.get("data", ()):  # tlkit looks for data below the prefix of its environment
        target = folder / "environment" / "share" / "tlkit" / name
        shutil.copytree(str(folder / "data" / name), str(target))
    return programs


def main() -> None:
    """Check the pack, install it, and print how to start the lessons."""
    parser = argparse.ArgumentParser(description="Install this class pack into the folder environment.")
    parser.add_argument(
        "--check", action="store_true", help="check the machine, the disk and the files; install nothing"
    )
    only_check = parser.parse_args().check
    folder = Path(__file__).resolve().parent
    try:
        pack = json.loads((folder / "pack.json").read_text("utf-8"))
        if pack["wheels"]:
            refuse_another_machine(pack, this_machine())
        refuse_full_disk(pack, folder)
        print(f"Checked {refuse_changed_files(folder)} files: none has changed.", flush=True)
        if only_check:
            return
        print(f"Installing {pack['packages']} packages. This takes a few minutes.", flush=True)
        programs = install(pack, folder)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"Error: this pack cannot be read: {error!r}. Unpack the zip file again.")
    except NotInstalled as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"Done. Start the lessons with: {programs / 'jupyter'} lab {folder / 'notebooks'}")


if __name__ == "__main__":
    main()
