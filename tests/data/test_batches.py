"""Batches of files equal batches of arrays, and the next batch is decoded while one is in use."""

import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from tlkit.data import ImageFiles, Split
from tlkit.data import images as images_module
from tlkit.data.batches import plain_errors
from tlkit.data.decode import WINDOW, decode, ordered_map
from tlkit.data.images import blocks
from tlkit.errors import DataError

N, BATCH = 40, 8


@pytest.fixture
def split(write_image):
    return Split(ImageFiles([write_image(f"{i:02}.png") for i in range(N)], 8), np.arange(N))


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files decoded so far, in any order."""
    names = []

    def recorded(path, image_size):
        names.append(path.name)
        return decode(path, image_size)

    monkeypatch.setattr(images_module, "decode", recorded)
    return names


@pytest.fixture
def decoders():
    """The threads that decode, without those of earlier tests."""
    before = set(threading.enumerate())

    def running():
        return {each for each in threading.enumerate() if each.name.startswith("tlkit-decode")} - before

    return running


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_while_a_batch_is_in_use_the_next_is_decoded(split, decoded):
    batches = split.batches(BATCH, shuffle=True, seed=1)
    batches[0]
    following = {split.images.paths[i].name for i in batches.order[: 2 * BATCH - 1]}
    assert wait_for(lambda: following <= set(decoded))
    assert len(decoded) < 2 * BATCH + WINDOW  # and not the whole folder


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 1, 3, 4, 4, 0, 1, 2, 1, 2, 3]])
def test_batches_do_not_depend_on_the_order_of_requests(split, order):
    from_memory = Split(split.images[:], split.labels).batches(BATCH, shuffle=True, seed=3)
    batches = split.batches(BATCH, shuffle=True, seed=3)
    for _ in range(2):
        for index in order:
            for ours, expected in zip(batches[index], from_memory[index], strict=True):
                np.testing.assert_array_equal(ours, expected)
        batches.on_epoch_end()
        from_memory.on_epoch_end()


def test_an_epoch_in_order_decodes_every_file_once(split, decoded):
    batches = split.batches(BATCH, shuffle=True)
    for epoch in range(2):
        assert sum(len(labels) for _, labels in batches) == N
        assert sorted(decoded) == sorted((1 + epoch) * [path.name for path in split.images.paths])
        batches.on_epoch_end()


def test_random_order_decodes_only_the_requested_batches(split, decoded):
    batches = split.batches(BATCH)
    for index in (3, 1, 4, 2):
        batches[index]
    assert len(decoded) == 4 * BATCH


def test_augmentation_draws_in_the_order_of_the_batches(split):
    def run(images):
        rng = np.random.default_rng(0)
        batches = Split(images).batches(BATCH, augment=lambda x: x ^ rng.integers(256, dtype="uint8"))
        return np.concatenate(list(batches))

    np.testing.assert_array_equal(run(split.images), run(split.images[:]))


def test_no_thread_remains_after_an_epoch(split, decoders):
    batches = split.batches(BATCH)
    list(batches)
    assert not decoders()
    batches[0]
    assert decoders()
    batches.on_epoch_end()
    assert not decoders()


def test_no_thread_remains_after_the_batches_are_deleted(split, decoders):
    batches = split.batches(BATCH)
    batches[0]
    del batches
    assert wait_for(lambda: not decoders())


def test_a_broken_file_is_named_and_the_other_batches_can_be_read(split, decoders):
    broken = split.images.paths[2 * BATCH + 3]
    content = broken.read_bytes()
    broken.write_bytes(content[:40])
    batches = split.batches(BATCH)
    assert len(batches[0]) == len(batches[1]) == 2
    with pytest.raises(DataError, match=broken.name):
        batches[2]
    assert not decoders()
    np.testing.assert_array_equal(batches[3][1], np.arange(24, 32))
    broken.write_bytes(content)
    np.testing.assert_array_equal(batches[2][0], split.images[16:24])


@pytest.fixture
def classifier():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(N)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_a_broken_file_ends_fit_with_its_own_error(split, classifier):
    broken = split.images.paths[30]
    broken.write_bytes(broken.read_bytes()[:40])
    batches = split.batches(BATCH)
    with pytest.raises(DataError, match=broken.name), plain_errors(batches):
        classifier.fit(batches, verbose=0)


def test_any_other_error_of_fit_is_unchanged(split):
    with pytest.raises(KeyError), plain_errors(split.batches(BATCH)):
        raise KeyError("other")


def test_after_an_interrupted_fit_the_next_fit_runs(split, classifier):
    def stop(batch, logs):
        raise KeyboardInterrupt

    batches = split.batches(BATCH, shuffle=True)
    interrupt = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(batches, verbose=0, callbacks=[interrupt])
    assert len(classifier.fit(batches, shuffle=False, verbose=0).history["loss"]) == 1


INTERRUPTED = """
import keras, numpy as np, time
from tlkit.data import Split

def stop(batch, logs):
    raise KeyboardInterrupt

def slowly(images):
    time.sleep(0.05)
    return images

model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
model.compile("sgd", "mse")
batches = Split(np.zeros((800, 8, 8, 3), "uint8"), np.zeros(800, int)).batches(8, augment=slowly)
model.fit(batches, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=stop)])
"""


def test_a_process_ends_after_its_fit_is_interrupted():
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("size", [3, 8, 100])
def test_blocks_are_the_images_in_order(split, size):
    for images in (split.images, split.images[:]):
        parts = list(blocks(images, size))
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
        np.testing.assert_array_equal(np.concatenate(parts), split.images[:])


def test_a_closed_map_does_no_more_work(decoders):
    done = []

    def slow(item):
        time.sleep(0.01)
        done.append(item)

    results = ordered_map(slow, range(1000), ahead=200)
    next(results)
    results.close()
    finished = len(done)
    assert finished < 200
    assert not decoders()
    time.sleep(0.05)
    assert len(done) == finished
