"""Installing without make: the wheel, and the lines of the README."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = (ROOT / "README.md").read_text("utf-8")
LINES = re.findall(r"^    ([^#\n].*)$", README.split("\n## Install\n")[1].split("\n## ")[0], flags=re.M)
CARDS, NOTEBOOKS = len(list((ROOT / "data").glob("*.toml"))), len(list((ROOT / "notebooks").glob("*.ipynb")))
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the project, built as anybody would build it."""
    pytest.importorskip("uv", reason='building needs pip install "tlkit[dev]"')
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "uv", "build", "--wheel", "--python", sys.executable]
    if find_spec("hatchling"):
        build.append("--no-build-isolation")
    done = subprocess.run([*build, "--out-dir", str(folder), str(ROOT)], capture_output=True, text=True)
    if "Failed to resolve requirements from `build-system.requires`" in done.stderr:
        pytest.skip("building needs hatchling, which is neither installed nor in reach")
    assert not done.returncode, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_the_cards_and_the_notebooks_and_nothing_else(wheel, tmp_path):
    for source, target in (("tlkit", ""), ("data", "data/cards"), ("notebooks", "notebooks")):
        shutil.copytree(ROOT / source, tmp_path / "tlkit" / target, ignore=LEFT_OUT, dirs_exist_ok=True)
    expected = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    suffixes = {Path(name).suffix for name in held}
    assert {".py", ".toml", ".ipynb", ".jinja", ".json", ".txt"} <= suffixes


def test_the_package_of_the_wheel_finds_its_cards_notebooks_and_templates(wheel, tmp_path):
    """Away from the clone, whose files it could otherwise find."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import tlkit; from tlkit.course.lessons import lessons; from tlkit.reports.html import templates; "
        "templates().get_template('page.html.jinja'); "
        "print(tlkit.__file__, len(tlkit.list_datasets()), len(lessons()))"
    )
    path = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | path, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    assert done.stdout.split() == [str(tmp_path / "tlkit" / "__init__.py"), str(CARDS), str(NOTEBOOKS)]


def test_the_wheel_says_which_python_and_which_command_and_links_to_nothing_that_is_not_there(wheel):
    archive = zipfile.ZipFile(wheel)
    info = f"tlkit-{PROJECT['version']}.dist-info"
    about = archive.read(f"{info}/METADATA").decode().split("\n\n")[0]
    assert set(re.search("^Requires-Python: (.+)$", about, flags=re.M)[1].split(",")) == {"<3.14", ">=3.11"}
    assert re.findall("^Project-URL: .+, (.+)$", about, flags=re.M) == list(PROJECT.get("urls", {}).values())
    assert "tlkit = tlkit.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_the_lines_of_the_readme_name_what_exists():
    """One line each for pip, Windows, conda, a GPU, make and a wheel."""
    assert len(LINES) == 6
    for line in LINES:
        for extras in re.findall(r"\[([a-z,]+)\]", line):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
        for wheel in re.findall(r"tlkit-[^-]+", line):
            assert wheel == f"tlkit-{PROJECT['version']}"
        for file in re.findall(r"[\w-]+\.yml", line):
            assert (ROOT / file).is_file()


@pytest.mark.skipif("TLKIT_INSTALL" not in os.environ, reason="gigabytes, minutes; TLKIT_INSTALL=1 runs it")
@pytest.mark.parametrize(("line", "place"), [(LINES[0], "a clone"), (LINES[-1], "a wheel")])
def test_a_line_of_the_readme_installs_what_the_demo_and_the_lessons_need(line, place, wheel, tmp_path):
    if place == "a wheel":
        shutil.copy(wheel, tmp_path)
    else:
        for name in ("tlkit", "data", "notebooks"):
            shutil.copytree(ROOT / name, tmp_path / name, ignore=LEFT_OUT)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, tmp_path)
    own = ("PYTHONPATH", "VIRTUAL_ENV", "TLKIT_DATA", "TLKIT_PROGRESS")
    clean = {name: value for name, value in os.environ.items() if name not in own}
    clean["TLKIT_CACHE"] = str(tmp_path / "cache")
    for command in (
        line,
        *(f".venv/bin/tlkit {each}" for each in ("doctor", "demo", "course build --out copies")),
    ):
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert not done.returncode, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()
    assert len(list((tmp_path / "copies" / "student").glob("*.ipynb"))) == NOTEBOOKS
    shutil.rmtree(tmp_path)
