import gc
import os
import tempfile
import warnings
from contextlib import nullcontext

# before Keras loads: its backend's log lines; a cache and a progress of the tests' own
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share the cache of the process that starts them
    os.environ["TLKIT_CACHE"] = tempfile.mkdtemp(prefix="tlkit-tests-")
os.environ["TLKIT_PRECISION"] = "float32"  # results must not depend on the processor
os.environ["TLKIT_PROGRESS"] = tempfile.mkdtemp(prefix="tlkit-progress-")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: more threads would only wait
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import pytest
from pushes import FULL, few_folds, traced, untuned_input


def pytest_collection_modifyitems(config, items):
    """Leave the cases marked `full` to `make test-full` and `make torture`."""
    every = FULL or os.environ.get("TLKIT_TORTURE")
    left = [] if every else [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_collection_finish():
    """Leave what is imported by now, a million objects, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _quick():
    """Run the steps of trainings without a graph, and draw few folds; see `pushes`."""
    with traced(FULL), few_folds(not FULL), untuned_input():
        yield


@pytest.fixture(autouse=True)
def _graph(request):
    with traced() if request.node.get_closest_marker("graph") else nullcontext():
        warnings.filterwarnings("ignore", "Even though the `tf.config")
        yield


@pytest.fixture(scope="session")
def digits():
    """A few optical digits, 28 pixels: 200 to train, 100 to validate, 100 to test."""
    from tlkit.data import Dataset, load

    whole = load("digits/optical")
    return Dataset(
        whole.train.subset(slice(200)),
        whole.validation.subset(slice(100)),
        whole.test.subset(slice(100)),
        whole.class_names,
        whole.card,
    )


@pytest.fixture
def lenet():
    """A small classifier of digits from fixed random weights."""
    import keras

    from tlkit.models import build_classifier

    keras.utils.set_random_seed(0)
    return build_classifier("LeNet", classes=10, weights=None)


@pytest.fixture
def lite():
    """EfficientNetLite0 from random weights at 32 pixels: small, with BatchNormalization and stages."""
    import keras

    from tlkit.models import build_classifier

    keras.utils.set_random_seed(0)
    return build_classifier("EfficientNetLite0", classes=3, weights=None, image_size=32)


@pytest.fixture
def weights_of():
    """Copy the values of a layer's or model's weights, by path."""

    def copy(model):
        return {weight.path: np.array(weight) for weight in model.weights if "seed" not in weight.path}

    return copy
