"""Run a frozen network on many images with the fastest engine of the machine."""

import hashlib
import inspect
import json
import os
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator
from functools import cache as once
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from tlkit._internal import cache
from tlkit.backbones.structure import calls, functional
from tlkit.data.images import ImageFiles, blocks
from tlkit.data.labelled import fits
from tlkit.data.values import check_images
from tlkit.errors import TlkitError, TlkitWarning, UnknownNameError

IGNORED_SETTINGS = ("name", "trainable")  # layer settings that do not affect the output
PROBE_SIZE = 64  # height and width in pixels of the test images for a network that takes any size
TOLERANCE = 1e-3  # relative to the largest output; the engines agree to 1e-4
AGREEMENT = 0.98  # least correlation of outputs in bfloat16 with those in float32
CHECKED = 16  # images for which the two are compared
BATCH_SIZE = 8  # measured: larger batches do not fit the caches of a CPU
_export_errors: dict[str, Exception] = {}  # failed exports of this process, by the key of the network


def infer(
    model: keras.Model,
    images: Any,
    *,
    engine: str = "auto",
    precision: str = "float32",
    progress: bool = False,
    out: np.ndarray | None = None,
    key: str | None = None,
) -> np.ndarray:
    """Return the outputs of a network for all images, computed in inference mode.

    Args:
        model: a network from raw images `(n, height, width, 3)` to one output.
        images: an array, or an array-like object that decodes slices on access; RGB values 0 to 255.
        engine: `"openvino"` (on the CPU; the exported network is cached), `"predict"` (Keras), or `"auto"`.
            `"auto"` is OpenVINO on a CPU and Keras on an accelerator. If the export fails, `"auto"` warns
            and uses Keras.
        precision: `"float32"`, or `"bfloat16"` for OpenVINO on a processor with bfloat16 units; see
            `choose_precision`.
        progress: show a progress bar.
        out: the array to write the outputs to, such as a memory-mapped float16 file.
        key: the `fingerprint` of the model, if it is already known.

    Returns:
        `out`, or a new float32 array `(n, ...)`. In float32 the engines agree to 1e-4 of the largest value.

    Raises:
        TlkitError: there are no images, they are no array of numbers, they have NaN or infinite values or
            another size than the model takes, or OpenVINO was requested and cannot run the model.
        UnknownNameError: there is no such engine.
    """
    expected = tuple(model.input_shape[1:])
    if not getattr(images, "shape", ()):
        raise TlkitError(
            f"Images of type {type(images).__name__} were given; expected an array (n, "
            f"{', '.join(map(str, expected))}) or a split. Stack images of one size: np.stack(images)."
        )
    if len(images) == 0:
        raise TlkitError("There are no images to run the network on; the split or array is empty.")
    if not fits(tuple(images.shape[1:]), expected):
        raise TlkitError(
            f"Model {model.name!r} takes images of shape {expected}, got {tuple(images.shape[1:])}. "
            f"Load the data with image_size={expected[0]}, or build the model for images of this shape."
        )
    check_images(images, "images")
    if engine not in ("auto", "openvino", "predict"):
        raise UnknownNameError("engine", engine, ["auto", "openvino", "predict"])
    if engine == "openvino" or (engine == "auto" and not has_accelerator()):
        try:
            compiled = _compiled(model, images.dtype == np.uint8, key, precision)
        except Exception as error:  # an export can fail in many ways, but `predict` always works
            if engine == "openvino":
                raise TlkitError(
                    f"OpenVINO cannot run {model.name!r}: {error}. Use engine='predict'."
                ) from error
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(
                f"{model.name!r} runs with Keras predict, not OpenVINO: {reason}", TlkitWarning, stacklevel=2
            )
        else:
            return _collect(_openvino(compiled, images, progress), len(images), out)
    return _collect(_predict(model, images, progress), len(images), out)


def choose_precision(
    model: keras.Model, images: Any, *, precision: str = "auto", engine: str = "auto", key: str | None = None
) -> str:
    """Return the precision in which to run a network: `"bfloat16"` or `"float32"`.

    bfloat16 has the range of float32 and 8 bits of precision instead of 24. `"auto"` chooses it if OpenVINO
    runs the network, the processor has bfloat16 units, and the outputs for the first images agree with those
    in float32: their deviations from the mean have a correlation of at least 0.98. The decision is made once
    per network, on the first 16 images that it processes, and cached; later images are not checked. The
    environment variable `TLKIT_PRECISION` replaces `"auto"`.

    Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training".

    Args:
        model: a network from raw images `(n, height, width, 3)` to one output.
        images: as for `infer`.
        precision: `"auto"`, `"bfloat16"` or `"float32"`.
        engine: as for `infer`.
        key: the `fingerprint` of the model, if it is already known.

    Raises:
        UnknownNameError: there is no such precision.
        TlkitError: bfloat16 was requested, and cannot be used here.

    >>> choose_precision(None, None, precision="float32")
    'float32'
    """
    if precision == "auto":
        precision = os.environ.get("TLKIT_PRECISION", "auto")
    if precision not in ("auto", "bfloat16", "float32"):
        raise UnknownNameError("precision", precision, ["auto", "bfloat16", "float32"])
    by_openvino = engine == "openvino" or (engine == "auto" and not has_accelerator())
    usable = by_openvino and has_bfloat16()
    if precision == "bfloat16" and not usable:
        raise TlkitError(
            "bfloat16 was requested by precision= or TLKIT_PRECISION; it needs OpenVINO and a processor with "
            "bfloat16 units. Use float32, or unset TLKIT_PRECISION."
        )
    if precision != "auto":
        return precision
    if not usable or len(images) == 0:
        return "float32"

    def compare() -> dict[str, np.ndarray]:
        return {"agree": _agree(model, images, key)}

    try:
        found = cache.arrays("engines", f"{key}-bfloat16", compare) if key else compare()
    except Exception:  # of the export; `infer` gives the reason
        return "float32"
    return "bfloat16" if found["agree"] else "float32"


def _agree(model: keras.Model, images: Any, key: str | None) -> np.ndarray:
    """Return whether the outputs for the first images are nearly the same in bfloat16 as in float32."""
    few = images[:CHECKED]
    deviations = []
    for precision in ("float32", "bfloat16"):
        outputs = infer(model, few, engine="openvino", precision=precision, key=key)
        flat = outputs.reshape(len(outputs), -1)
        deviations.append(flat - flat.mean(axis=0) if len(flat) > 1 else flat)
    one, other = deviations
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return np.asarray(bool(norms > 0 and (one * other).sum() / norms >= AGREEMENT))


@once
def has_bfloat16() -> bool:
    """Return whether OpenVINO finds bfloat16 units in the processor."""
    return "BF16" in openvino_module().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_accelerator() -> bool:
    """Return whether Keras computes on a GPU or TPU."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.is_available() or torch.backends.mps.is_available()
    return not keras.distribution.list_devices()[0].startswith("cpu")


def fingerprint(model: keras.Model) -> str:
    """Return a digest of what the model computes in inference: graph, layer settings and weights.

    Layer names and frozen layers do not affect the digest. The source code of custom layers does.

    Raises:
        NotImplementedError: a custom layer has no `get_config`, so its settings are unknown.
    """
    digest = hashlib.blake2b(digest_size=16)
    for line in _described(model):
        digest.update(line.encode())
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _described(model: keras.Model) -> Iterator[str]:
    """Yield, for each call of an operation, its type, its input tensors and its settings."""
    network = functional(model)
    numbers = {id(each): number for number, each in enumerate(network.inputs)}
    yield str([(tuple(each.shape), each.dtype) for each in network.inputs])
    for call in calls(network):
        operation = call.operation
        inputs = [numbers[id(each)] for each in call.input_tensors]
        numbers |= {id(each): len(numbers) + i for i, each in enumerate(call.output_tensors)}
        options = keras.tree.map_structure(_plain, (call.arguments.args, call.arguments.kwargs))
        yield f"{type(operation).__module__}.{type(operation).__qualname__} {inputs} {options}"
        if isinstance(operation, keras.Model) and (operation.built and hasattr(operation, "inputs")):
            yield from _described(operation)
            continue
        settings = operation.get_config().items()
        config = {name: each for name, each in settings if name not in IGNORED_SETTINGS}
        yield json.dumps(config, default=str)
        if not type(operation).__module__.startswith("keras."):
            yield inspect.getsource(type(operation))
    yield str([numbers[id(each)] for each in network.outputs])


def _plain(value: Any) -> Any:
    """Return an argument of a call as a value whose text is complete; NumPy abbreviates large arrays."""
    if isinstance(value, keras.KerasTensor):
        return "tensor"
    return keras.ops.convert_to_numpy(value).tolist() if hasattr(value, "shape") else value


def _collect(outputs: Iterator[np.ndarray], n: int, out: np.ndarray | None) -> np.ndarray:
    start = 0
    for block in outputs:
        if out is None:
            out = np.empty((n, *block.shape[1:]), block.dtype)
        out[start : start + len(block)] = block
        start += len(block)
    assert out is not None  # there are images
    return out


def _predict(model: keras.Model, images: Any, progress: bool) -> Iterator[np.ndarray]:
    size = 4 * BATCH_SIZE if not has_accelerator() else 32 * BATCH_SIZE
    # One window of images at a time: a folder may not fit into memory, and the next window is decoded ahead.
    window = 8 * size if isinstance(images, ImageFiles) else 32 * size
    with tqdm(total=len(images), desc="features (predict)", unit="image", disable=not progress) as bar:
        for block in blocks(images, window):
            yield model.predict(block, batch_size=size, verbose=0).astype("float32", copy=False)
            bar.update(len(block))


def _compiled(model: keras.Model, uint8: bool, key: str | None, precision: str) -> Any:
    openvino, key = openvino_module(), f"{model.name}-{key or fingerprint(model)}"
    if key in _export_errors:
        raise _export_errors[key]
    try:
        exported = cache.arrays("engines", key, lambda: _exported(model))
    except Exception as error:  # do not try again, since exporting a large network takes a while
        _export_errors[key] = error.with_traceback(None)
        raise
    core = openvino.Core()
    network = core.read_model(exported["graph"].tobytes(), openvino.Tensor(exported["weights"]))
    preprocessing = openvino.preprocess.PrePostProcessor(network)
    preprocessing.input().tensor().set_element_type(openvino.Type.u8 if uint8 else openvino.Type.f32)
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]  # by default OpenVINO decides by the processor
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": hint}
    return core.compile_model(preprocessing.build(), "CPU", settings)


def _exported(model: keras.Model) -> dict[str, np.ndarray]:
    """Export a model, and compare it with Keras on random images, since some layers export wrongly."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.xml"
        model.export(str(graph), format="openvino", verbose=False)
        compiled = openvino_module().Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        shape = [PROBE_SIZE if size is None else size for size in model.inputs[0].shape[1:]]
        images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
        expected = keras.ops.convert_to_numpy(model(images, training=False)).astype("float32")
        outputs = list(compiled(images).values())
        if len(outputs) != 1 or np.abs(outputs[0] - expected).max() > TOLERANCE * np.abs(expected).max():
            raise TlkitError("the output of OpenVINO differs from that of Keras, which is slower but right")
        return {
            "graph": np.fromfile(graph, "uint8"),
            "weights": np.fromfile(graph.with_suffix(".bin"), "uint8"),
        }


@once
def openvino_module() -> Any:
    """Import OpenVINO without its telemetry, and so that it can export on Python 3.13; return the module."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    if sys.version_info >= (3, 13) and "tensorflow" in sys.modules:
        # Its check of TensorFlow's version runs exec("del tensorflow") inside a function. Since Python 3.13
        # (PEP 667) this fails, and so would the export. TensorFlow is already imported, so skip the exec.
        from openvino.frontend.tensorflow import utils

        utils.exec = lambda statement: None
    return openvino


def _openvino(compiled: Any, images: Any, progress: bool) -> Iterator[np.ndarray]:
    # A ring of requests, two per stream so that no stream waits for Python, keeps every core busy.
    # AsyncInferQueue can deadlock: its Python callbacks wait for the interpreter's lock while the network's
    # destructor holds it.
    streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    free = [compiled.create_infer_request() for _ in range(2 * streams)]
    running: deque[Any] = deque()

    def collect() -> np.ndarray:
        request = running.popleft()
        request.wait()
        free.append(request)
        return request.get_output_tensor().data.copy()

    dtype = "uint8" if images.dtype == np.uint8 else "float32"
    with tqdm(total=len(images), desc="features (openvino)", unit="image", disable=not progress) as bar:
        for block in blocks(images, BATCH_SIZE):
            batch = np.ascontiguousarray(block, dtype)
            if not free:
                yield collect()
            running.append(free.pop())
            running[-1].start_async([batch])
            bar.update(len(batch))
        while running:
            yield collect()
