"""What the tests of several trainers need: data as Keras users have them, and files opened without tlkit."""

import subprocess
import sys

import keras
import numpy as np
import pytest

OPEN = """
import sys, keras, numpy as np
file, folder, trains = sys.argv[1:]
model = keras.saving.load_model(file)
x = np.load(folder + "/x.npy")
np.save(folder + "/found.npy", model.predict(x, verbose=0))
if trains == "True":
    model.fit(x, np.zeros(len(x)), verbose=0)
assert "tlkit" not in sys.modules
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


def predicted_without_tlkit(file, x, *, trains=False):
    """What the model in a file predicts in a process without tlkit, which can also train it further."""
    np.save(file.parent / "x.npy", x)
    command = [sys.executable, "-c", OPEN, file, file.parent, str(trains)]
    subprocess.run(command, check=True, capture_output=True)
    return np.load(file.parent / "found.npy")


def check_its_settings_make_an_equal_one(made):
    again = type(made).from_config(made.get_config())
    assert again.get_config() == made.get_config()
    through_keras = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert through_keras.get_config() == made.get_config()
