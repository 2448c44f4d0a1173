"""What the tests of several trainers need: data as Keras users have them, and files opened without tlkit."""

import atexit
import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

SERVER = """
import contextlib, io, json, sys, traceback
sys.modules["tlkit"] = None  # its import fails
for line in sys.stdin:
    code, arguments = json.loads(line)
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, {"arguments": arguments})
    except Exception:
        error = traceback.format_exc()
    print(json.dumps([printed.getvalue(), error]), flush=True)
"""
PREDICT = """
import keras, numpy as np
file, folder, trains = arguments
model, x = keras.saving.load_model(file), np.load(folder + "/x.npy")
found = model.predict(x, verbose=0)
np.savez(folder + "/found.npz", **(found if isinstance(found, dict) else {"": found}))
if trains:
    model.fit(x, np.zeros(len(x)), verbose=0)
"""


class Batches(keras.utils.PyDataset):
    """A PyDataset as users write them, in the order of its arrays, which may be dictionaries."""

    def __init__(self, *arrays, size=32):
        super().__init__()
        self.arrays, self.size = arrays, size

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index):
        rows = slice(index * self.size, (index + 1) * self.size)
        parts = tuple(keras.tree.map_structure(lambda each: each[rows], each) for each in self.arrays)
        return parts if len(parts) > 1 else parts[0]


def tf_data(*arrays):
    """A tf.data.Dataset of single examples."""
    given = arrays if len(arrays) > 1 else arrays[0]
    return pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(given)


@functools.cache
def process_without_tlkit():
    """A Python process that cannot import tlkit, started once for all tests of a worker."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", SERVER], text=True, **pipes)
    atexit.register(process.kill)
    return process


def run_without_tlkit(code, *arguments):
    """Run code that finds its `arguments` as a list; return what it prints."""
    process = process_without_tlkit()
    process.stdin.write(json.dumps([code, arguments]) + "\n")
    process.stdin.flush()
    printed, error = json.loads(process.stdout.readline())
    assert not error, error
    return printed


def predicted_without_tlkit(file, x, *, trains=False):
    """Return what the model in a file predicts without tlkit; `trains` also trains it there."""
    np.save(file.parent / "x.npy", x)
    run_without_tlkit(PREDICT, str(file), str(file.parent), trains)
    found = dict(np.load(file.parent / "found.npz"))
    return found.get("", found)


def check_its_settings_make_an_equal_one(made):
    again = type(made).from_config(made.get_config())
    assert again.get_config() == made.get_config()
    through_keras = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert through_keras.get_config() == made.get_config()
