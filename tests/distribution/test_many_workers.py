"""Two processes of TensorFlow, with the strategy of the recipe `many-workers`, learn what one does."""

import importlib.util

import numpy as np
import pytest
from pushes import full

pytestmark = [
    full,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

ALIKE = 1e-5  # of float32 weights of about 0.1, after eight steps


@pytest.fixture(scope="module")
def one_and_two(trained, cluster):
    """What one process and what each of two workers found."""
    tensorflow = {"KERAS_BACKEND": "tensorflow"}
    workers = [("workers", tensorflow | {"TF_CONFIG": setting}) for setting in cluster(2)]
    return trained(("one", tensorflow), *workers)


@pytest.mark.parametrize("job", ["fit", "fine_tune", "train_head", "adapt", "frozen_statistics"])
def test_the_weights_are_those_of_one_process(one_and_two, job):
    one, first, _ = one_and_two
    assert np.array_equal(one[f"{job}_before"], first[f"{job}_before"])
    assert np.abs(one[job] - one[f"{job}_before"]).max() > 100 * ALIKE
    np.testing.assert_allclose(first[job], one[job], atol=ALIKE, rtol=0)
    np.testing.assert_allclose(first[f"{job}_loss"], one[f"{job}_loss"], rtol=1e-4)


@pytest.mark.parametrize("job", ["fit", "fine_tune", "train_head", "adapt"])
def test_both_workers_have_the_same_weights(one_and_two, job):
    _, first, second = one_and_two
    assert np.array_equal(first[job], second[job])


def test_statistics_that_learn_are_those_of_each_share(one_and_two):
    """Batch normalisation sees a worker's half of a batch, and learns otherwise than from the whole."""
    one, first, _ = one_and_two
    assert np.abs(first["statistics"] - one["statistics"]).max() > 100 * ALIKE
