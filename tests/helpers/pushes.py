"""What every push runs, and what only `make test-full` runs.

A push leaves out cases and seeds that add little to those beside them. It draws the folds of few labels
once instead of several times. It also runs the steps of most trainings as they are, which is faster for a
few steps than tracing a graph; `make test-full` traces all.
"""

import os
import warnings
from contextlib import contextmanager

import pytest

FULL = os.environ.get("TLKIT_TESTS") == "full"
full = pytest.mark.full  # a case for `make test-full`
graph = pytest.mark.graph  # a test that needs the graph, or makes so many steps that tracing pays


def mostly_full(every, *kept):
    """Return parameters of which only `kept` run on a push."""
    return [pytest.param(each, marks=[] if each in kept else [full]) for each in every]


def seeds(*every):
    """Return all seeds for `make test-full`, and the first one on a push."""
    return every if FULL else every[:1]


@contextmanager
def traced(whether=True):
    """On TensorFlow, trace the steps within the block into a graph, or run them as they are."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    warnings.filterwarnings("ignore", "Even though the `tf.config")  # that tf.data stays a graph
    tf.config.run_functions_eagerly(not whether)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextmanager
def few_folds(whether=True):
    """Draw the folds of few labels once, so that there are fewer trainings and fewer solved heads."""
    from tlkit.techniques import logistic_regression, robust_fine_tuning

    with pytest.MonkeyPatch.context() as patch:
        if whether:
            patch.setattr(logistic_regression, "MOST_REPEATS", 1)
            patch.setattr(robust_fine_tuning, "MOST_DIVISIONS", 1)
        yield


@contextmanager
def untuned_input():
    """On TensorFlow, iterate over batches without the thread that tunes the input.

    The end of an iterator waits for this thread, which sometimes sleeps on for tens of seconds.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        yield
        return
    import tensorflow as tf

    iterate, options = tf.data.Dataset.__iter__, tf.data.Options()
    options.autotune.enabled = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.data.Dataset, "__iter__", lambda dataset: iterate(dataset.with_options(options)))
        yield
