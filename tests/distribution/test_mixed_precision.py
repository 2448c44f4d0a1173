"""The techniques under a global policy of mixed bfloat16, on JAX."""

import importlib.util

import numpy as np
import pytest
from pushes import full

pytestmark = [
    full,  # tests/techniques/test_distribution.py runs on every push
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed"),
]

JOBS = ["fine_tune", "train_head", "adapt"]


@pytest.fixture(scope="module")
def found(trained):
    """What one process found; `fine_tune` there puts its batches on the device ahead."""
    return trained(("bfloat16", {"KERAS_BACKEND": "jax"}), jobs=JOBS)[0]


@pytest.mark.parametrize("job", JOBS)
def test_it_learns_with_finite_losses(found, job):
    assert np.isfinite(found[f"{job}_loss"]).all()
    assert np.isfinite(found[job]).all()
    assert np.abs(found[job] - found[f"{job}_before"]).max() > 1e-3


@pytest.mark.parametrize("job", JOBS)
def test_probabilities_are_float32_behind_layers_of_bfloat16(found, job):
    outputs, *layers = found[f"{job}_dtypes"]
    assert outputs == layers[-1] == "float32"
    assert set(layers[:-1]) == {"bfloat16"}
    np.testing.assert_allclose(found[f"{job}_outputs"].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("job", JOBS)
def test_the_saved_model_answers_as_the_trained_one(found, job):
    trained, loaded = found[f"{job}_outputs"]
    np.testing.assert_array_equal(trained, loaded)
