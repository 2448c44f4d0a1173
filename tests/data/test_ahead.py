import threading

import keras
import numpy as np
import pytest

from tlkit.data.ahead import THREADS, BatchesAhead
from tlkit.data.batches import Batches
from tlkit.models import build_classifier
from tlkit.techniques import fine_tuning

IMAGES = np.arange(50 * 12, dtype="uint16").reshape(50, 2, 2, 3).astype("uint8")
LABELS = np.arange(50)


def as_arrays(batches):
    return [keras.tree.map_structure(keras.ops.convert_to_numpy, batches[i]) for i in range(len(batches))]


@pytest.mark.parametrize("options", [{}, {"augment": lambda images: 255 - images}, {"classes": 50}])
def test_they_equal_plain_batches_in_every_epoch(options):
    ahead = BatchesAhead(IMAGES, LABELS, 8, True, 3, **options)
    plain = Batches(IMAGES, LABELS, 8, True, 3, **options)
    for _ in range(3):
        for (x, y), (images, labels) in zip(as_arrays(ahead), as_arrays(plain), strict=True):
            np.testing.assert_array_equal(x, images)
            np.testing.assert_array_equal(y, labels)
            assert x.dtype == images.dtype
        for each in (ahead, plain):
            each.on_epoch_end()


def test_an_epoch_that_ends_early_does_not_affect_the_next():
    ahead, plain = BatchesAhead(IMAGES, LABELS, 8, True, 3), Batches(IMAGES, LABELS, 8, True, 3)
    ahead[0]
    for each in (ahead, plain):
        each.on_epoch_end()
    np.testing.assert_array_equal(as_arrays(ahead)[0][1], plain[0][1])


def test_other_threads_prepare_the_next_batches_before_they_are_requested():
    prepared, enough = set(), threading.Event()

    class Recorded(BatchesAhead):
        def on_device(self, index):
            prepared.add((index, threading.current_thread()))
            if len(prepared) == THREADS + 1:
                enough.set()
            return super().on_device(index)

    Recorded(IMAGES, LABELS, 8, False, 0)[0]
    assert enough.wait(5)
    assert {index for index, _ in prepared} == set(range(THREADS + 1))
    assert threading.current_thread() not in {thread for _, thread in prepared}


def test_an_error_in_a_thread_is_raised_with_its_batch():
    def broken(images):
        raise ValueError("no such colour")

    with pytest.raises(ValueError, match="no such colour"):
        BatchesAhead(IMAGES, LABELS, 8, False, 0, augment=broken)[0]


def test_fine_tuning_with_them_ends_with_the_same_weights(digits, monkeypatch):
    few, weights, used = digits.train.subset(slice(60)), [], []
    monkeypatch.setattr(fine_tuning, "feeds_in_turn", lambda: True)
    for kind in (BatchesAhead, Batches):

        class Recorded(kind):
            def __init__(self, *arguments, **options):
                used.append(type(self).__mro__[1])
                super().__init__(*arguments, **options)

        monkeypatch.setattr(fine_tuning, "BatchesAhead", Recorded)
        keras.utils.set_random_seed(0)
        model = build_classifier("LeNet", 10, weights=None, dropout=0.0)
        fine_tuning.fine_tune(model, few, epochs=2, batch_size=16, learning_rate=1e-4)
        weights.append(model.get_weights())
    assert used == [BatchesAhead, Batches]
    for ahead, plain in zip(*weights, strict=True):
        np.testing.assert_allclose(ahead, plain, atol=1e-6)
