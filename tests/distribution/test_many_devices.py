"""Eight devices of JAX (`keras.distribution.DataParallel`) learn what one does from the whole batches."""

import importlib.util

import numpy as np
import pytest
from pushes import full

pytestmark = [
    full,  # tests/techniques/test_distribution.py runs on every push
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed"),
]

ALIKE = 1e-5  # of float32 weights of about 0.1, after six steps


@pytest.fixture(scope="module")
def one_and_eight(trained):
    """What one device and what eight, made of one processor, found."""
    jax = {"KERAS_BACKEND": "jax"}
    eight = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    return trained(("one", jax), ("devices", jax | eight))


@pytest.mark.parametrize("job", ["fit", "fine_tune", "train_head", "adapt"])
def test_the_weights_are_those_of_one_device(one_and_eight, job):
    one, eight = one_and_eight
    assert np.array_equal(one[f"{job}_before"], eight[f"{job}_before"])
    assert np.abs(one[job] - one[f"{job}_before"]).max() > 100 * ALIKE
    np.testing.assert_allclose(eight[job], one[job], atol=ALIKE, rtol=0)
    np.testing.assert_allclose(eight[f"{job}_loss"], one[f"{job}_loss"], rtol=1e-4)


def test_statistics_that_learn_are_those_of_the_whole_batch(one_and_eight):
    """JAX divides one computation among its devices: batch normalisation sees all of the batch."""
    one, eight = one_and_eight
    np.testing.assert_allclose(eight["statistics"], one["statistics"], atol=10 * ALIKE, rtol=0)


def test_each_device_has_its_own_share_of_a_batch(one_and_eight):
    one, eight = one_and_eight
    assert len(one["shares"]) == 0
    assert {tuple(share) for share in eight["shares"]} == {(8, 2, 28, 28, 3)}


def test_sizes_that_devices_cannot_share_are_refused_before_anything_is_lost(one_and_eight):
    refusals = one_and_eight[1]["refusals"]
    assert len(refusals) == 2
    for refusal in refusals:
        assert "the last batch of 2 cannot be divided evenly among 8 devices" in refusal
        assert "train.subset(slice(48))" in refusal
