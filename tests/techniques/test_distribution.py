"""Training on two devices gives the same result as on one, for each technique with its own loss."""

import json
import os
import subprocess
import sys

import keras
import pytest
from pushes import full

pytestmark = [
    full,
    pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras distributes on TensorFlow and JAX"),
]
SET_DEVICES = """
import contextlib, json, sys
import keras, numpy as np
import tlkit

scope = contextlib.nullcontext
if sys.argv[1] == "2" and keras.backend.backend() == "jax":
    keras.distribution.set_distribution(keras.distribution.DataParallel())
elif sys.argv[1] == "2":
    import tensorflow as tf
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope

noise = np.random.default_rng(0).integers(0, 255, (64, 28, 28, 3)).astype("uint8")
"""

TRAIN = {
    "domain adaptation": """
from tlkit import DomainAdapter, build_classifier, pair
from tlkit.techniques.domain_adaptation import DANN

with scope():
    adapter = DomainAdapter(build_classifier("LeNet", 4, weights=None, dropout=0.0), DANN())
    adapter.compile(keras.optimizers.SGD(0.05), loss="sparse_categorical_crossentropy")
    pairs = pair((noise, np.arange(64) % 4), 255 - noise, batch_size=16)
    history = adapter.fit(pairs, epochs=2, verbose=0).history
found = [v for name in ("loss", "supervised_loss", "alignment_loss") for v in history[name]]
""",
    "multi-task learning": """
from tlkit.techniques import multi_task as mt

labels = {"kind": np.arange(64) % 4, "size": np.arange(64.0)[:, None] / 64}
with scope():
    tasks = {"kind": mt.Classification(4), "size": mt.Regression()}
    network = mt.build_multi_task("LeNet", tasks, weights=None, dropout=0.0)
    learner = mt.MultiTask(network, tasks, mt.UncertaintyWeights())
    learner.compile(keras.optimizers.SGD(0.05))
    history = learner.fit(noise, labels, batch_size=16, epochs=2, shuffle=False, verbose=0).history
found = [v for name in ("loss", "kind_loss", "size_loss", "kind_weight") for v in history[name]]
""",
    "self-supervised learning": """
from tlkit.techniques.self_supervised import BYOL, Rotation, SelfSupervised

x = tlkit.load("digits/optical").train.images[:64]  # noise has no orientation to predict
with scope():
    learner = SelfSupervised(tlkit.load_backbone("LeNet", weights=None), Rotation(keras.layers.Identity()))
    learner.compile(keras.optimizers.SGD(0.05))
    history = learner.fit(x, batch_size=16, epochs=2, verbose=0).history
    # batch statistics differ between one and two devices, so this compares weights on the same device
    learner = SelfSupervised(tlkit.load_backbone("LeNet", weights=None), BYOL(momentum=0.5))
    learner.compile(keras.optimizers.SGD(0.05))
    learner.fit(x, batch_size=32, epochs=1, verbose=0)
    averages = [np.array(each) for each in learner.objective.ema_weights]
    weights = learner.objective.network.get_weights()
    differences = [np.abs(a - b).max() for a, b in zip(averages, weights)]
found = [*history["loss"], *history["rotation_accuracy"], 0 < max(differences) < 1]
""",
}


@pytest.fixture(scope="module")
def learned():
    """The numbers that each script computes on one device and on two, by technique.

    The number of devices must be set before a backend starts, so each number has its own process.
    """
    script = SET_DEVICES
    for train in TRAIN.values():
        script += f"keras.utils.set_random_seed(0){train}print(json.dumps([float(v) for v in found]))\n"
    found = []
    for devices in ("1", "2"):
        flags = f"--xla_force_host_platform_device_count={devices}"
        more = {"XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", script, devices]
        done = subprocess.run(command, env=os.environ | more, check=True, capture_output=True, text=True)
        found.append([json.loads(line) for line in done.stdout.splitlines()])
    return dict(zip(TRAIN, zip(*found, strict=True), strict=True))


@pytest.mark.parametrize("technique", TRAIN)
def test_two_devices_give_the_same_result_as_one(technique, learned):
    one, two = learned[technique]
    assert one == pytest.approx(two, rel=1e-3)


def test_the_moving_average_follows_the_network_on_both(learned):
    assert [found[-1] for found in learned["self-supervised learning"]] == [1.0, 1.0]
