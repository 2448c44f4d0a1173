import keras
import numpy as np
import pytest

from tlkit.challenges.overfitting import wise_ft
from tlkit.errors import TlkitError


@pytest.fixture
def ends(tiny, split):
    """Weights before training, and a model in which every weight has moved, including the statistics."""
    before = tiny.get_weights()
    random = np.random.default_rng(0)
    tiny.set_weights([value + random.uniform(0.01, 0.1, value.shape) for value in before])
    return before, tiny


@pytest.mark.parametrize("mix", [0, 1, 0.0, 1.0])
def test_the_endpoints_are_exactly_the_two_models(ends, mix):
    before, after = ends
    expected = after.get_weights() if mix else before
    for one, other in zip(wise_ft(before, after, mix).get_weights(), expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_weights_between_the_endpoints_are_interpolated(ends):
    before, after = ends
    for mix in (0.25, 0.7):
        triples = zip(wise_ft(before, after, mix).get_weights(), before, after.get_weights(), strict=True)
        for found, w0, w1 in triples:
            np.testing.assert_allclose(found, (1 - mix) * w0 + mix * w1, rtol=1e-5, atol=1e-7)


def test_neither_endpoint_is_changed_or_shared(ends):
    before, after = ends
    expected = [value.copy() for value in (*before, *after.get_weights())]
    between = wise_ft(before, after, 0.5)
    between.set_weights([value + 1 for value in between.get_weights()])
    for one, other in zip(expected, (*before, *after.get_weights()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_result_is_plain_keras(ends, split, tmp_path):
    between = wise_ft(*ends)
    between.save(tmp_path / "between.keras")
    again = keras.models.load_model(tmp_path / "between.keras")
    np.testing.assert_array_equal(np.array(again(split.images)), np.array(between(split.images)))


def test_invalid_arguments_are_refused(ends, lenet):
    before, after = ends
    with pytest.raises(TlkitError, match=r"mix=1.5 was given; expected 0 \(before\) to 1"):
        wise_ft(before, after, 1.5)
    with pytest.raises(TlkitError, match="these are two networks"):
        wise_ft(lenet, after)
