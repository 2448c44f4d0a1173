"""The formats that a model can be exported to: one row each.

Nothing here imports Keras, so that a list of formats costs nothing.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkit._internal.registry import Registry


@dataclass(frozen=True)
class Format:
    """A format that models are exported to.

    Attributes:
        name: as Keras knows it.
        file: its name; a format may write more files beside it.
        summary: who reads it, in a line.
        run: runs a file on float32 `(n, size, size, 3)` and returns probabilities `(n, classes)`; for a file
            with several outputs, a dictionary of them by their names in the file.
    """

    name: str
    file: str
    summary: str
    run: Callable[[Path, np.ndarray], np.ndarray | dict[str, np.ndarray]]


def _run_litert(path: Path, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    interpreter = _interpreter()(str(path))
    entry, answers = interpreter.get_input_details()[0], interpreter.get_output_details()
    interpreter.resize_tensor_input(entry["index"], images.shape)
    with _silence():
        interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], images)
    interpreter.invoke()
    found = {each["name"]: interpreter.get_tensor(each["index"]) for each in answers}
    return found if len(answers) > 1 else next(iter(found.values()))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what C++ writes to standard error, such as which delegate it took, from the screen."""
    sys.stderr.flush()
    screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nowhere)


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:  # TensorFlow brings the same one, under its older name
        import tensorflow as tf

        def Interpreter(path: str) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that it will move to ai_edge_litert
                return tf.lite.Interpreter(path)

    return Interpreter


def _run_openvino(path: Path, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    from tlkit.backbones.engines import openvino_module  # imports Keras

    network = openvino_module().Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = network(images)
    if len(network.outputs) == 1:
        return np.asarray(found[0])
    return {
        (min(output.get_names()) if output.get_names() else f"output {place}"): np.asarray(found[place])
        for place, output in enumerate(network.outputs)
    }


FORMATS = Registry(
    "export format",
    (
        Format("litert", "model.tflite", "phones and small boards, by LiteRT (TensorFlow Lite)", _run_litert),
        Format("openvino", "model.xml", "Intel and ARM processors, by OpenVINO", _run_openvino),
    ),
)
