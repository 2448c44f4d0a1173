"""Import Keras without its start-up messages and without garbage collection during the import."""

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from tlkit.errors import TlkitError

BACKENDS = ("tensorflow", "jax", "torch")
_STARTUP = (
    "cudart_stub",
    "InitializeLog",
    "cpu_feature_guard",
    "To enable the following instructions",
    "oneDNN custom operations are on",
)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C act after the block; while C++ code loads, it could be lost, or abort the process."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


def import_keras() -> ModuleType:
    """Import Keras and its backend, and remove known start-up messages from standard error.

    TensorFlow 2.21 writes these messages from C++ while it loads, before it reads any log level. All other
    lines are still written. TensorFlow computes convolutions with oneDNN, unless TF_ENABLE_ONEDNN_OPTS is set
    to 0. Loading creates a million permanent objects, so garbage collection, which would scan them
    repeatedly, is off meanwhile.

    Raises:
        TlkitError: the environment variable `KERAS_BACKEND` names no backend that tlkit runs on.
        ModuleNotFoundError: the backend is not installed.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise TlkitError(
            f"KERAS_BACKEND={backend} was given; expected {', '.join(BACKENDS)}. Set one of these."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow itself uses oneDNN only on processors with AVX-512. With AVX2, it makes convolutions faster,
    # too, except for the gradients of depthwise kernels, which `robust_fine_tune` leaves frozen.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    stderr, collecting = os.dup(2), gc.isenabled()
    gc.disable()
    with interrupts_wait(), tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import keras
        finally:
            if collecting:
                gc.enable()
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines(keepends=True):
                if not any(message in line for message in _STARTUP):
                    sys.stderr.write(line)
    # Warnings of "retracing" do not apply here: each new small model traces its functions once.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return keras
