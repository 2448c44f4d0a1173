"""Import Keras without its start-up lines in terminals and notebooks, and without garbage collections."""

import gc
import logging
import os
import sys
import tempfile
from types import ModuleType

_STARTUP = (
    "cudart_stub",
    "InitializeLog",
    "cpu_feature_guard",
    "To enable the following instructions",
    "oneDNN custom operations are on",
)


def import_keras() -> ModuleType:
    """Import Keras and its backend; of what they write to standard error, only the known chatter is lost.

    TensorFlow 2.21 writes these lines from C++ while it loads and heeds no log level before that. It makes a
    million objects that stay; garbage collection, which would look at them again and again, waits.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    screen, collects = os.dup(2), gc.isenabled()
    gc.disable()
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import keras
        finally:
            if collects:
                gc.enable()
            os.dup2(screen, 2)
            os.close(screen)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines(keepends=True):
                if not any(known in line for known in _STARTUP):
                    sys.stderr.write(line)
    # "retracing" is advice to library authors: every new small model traces its functions once
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return keras
