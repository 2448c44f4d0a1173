import os
import subprocess
import sys

import pytest

DIVIDE = """
import contextlib, sys
import keras, numpy as np

scope = contextlib.nullcontext()
if sys.argv[1] == "2" and keras.backend.backend() == "jax":
    keras.distribution.set_distribution(keras.distribution.DataParallel())
elif sys.argv[1] == "2":
    import tensorflow as tf
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
"""


@pytest.fixture(scope="session")
def on_one_and_two_devices():
    """Run a script, which uses `scope` and prints a list of numbers, on one device and on two.

    A backend divides its devices before it starts, hence in a process of its own.
    """

    def run(script):
        found = []
        for devices in ("1", "2"):
            flags = f"--xla_force_host_platform_device_count={devices}"
            more = {"XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
            command = [sys.executable, "-c", DIVIDE + script, devices]
            answer = subprocess.run(
                command, env=os.environ | more, check=True, capture_output=True, text=True
            )
            found.append([float(value) for value in answer.stdout.strip(" []\n").split(",")])
        return found

    return run
