"""Two devices learn what one does. A backend divides them before it starts, hence in a process of its own."""

import os
import subprocess
import sys

import keras
import pytest

TRAIN = """
import contextlib, sys
import keras, numpy as np
from tlkit.techniques import multi_task as mt

scope = contextlib.nullcontext()
if sys.argv[1] == "2" and keras.backend.backend() == "jax":
    keras.distribution.set_distribution(keras.distribution.DataParallel())
elif sys.argv[1] == "2":
    import tensorflow as tf
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
x = np.random.default_rng(0).integers(0, 255, (64, 28, 28, 3)).astype("uint8")
labels = {"kind": np.arange(64) % 4, "size": np.arange(64.0)[:, None] / 64}
keras.utils.set_random_seed(0)
with scope:
    tasks = {"kind": mt.Classification(4), "size": mt.Regression()}
    network = mt.build_multi_task("LeNet", tasks, weights=None, dropout=0.0)
    learner = mt.MultiTask(network, tasks, mt.UncertaintyWeights())
    learner.compile(keras.optimizers.SGD(0.05))
    history = learner.fit(x, labels, batch_size=16, epochs=2, shuffle=False, verbose=0).history
print([v for name in ("loss", "kind_loss", "size_loss", "kind_weight") for v in history[name]])
"""


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras distributes on TensorFlow and JAX")
def test_two_devices_learn_what_one_does():
    losses = []
    for devices in ("1", "2"):
        more = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", TRAIN, devices]
        answer = subprocess.run(command, env=os.environ | more, check=True, capture_output=True, text=True)
        losses.append([float(value) for value in answer.stdout.strip(" []\n").split(",")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
