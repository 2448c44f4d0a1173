import keras
import numpy as np
import pytest

from tlkit.challenges.overfitting import enable_lora, merge_lora
from tlkit.errors import TlkitError
from tlkit.models import backbone_of, build_classifier, freeze, unfreeze
from tlkit.techniques.fine_tuning import fine_tune


def test_enabling_lora_does_not_change_the_predictions(tiny, split):
    expected = np.array(tiny(split.images))
    table = enable_lora(tiny, rank=2)
    np.testing.assert_array_equal(np.array(tiny(split.images)), expected)
    # conv2 has 4 x 4 channels, dense1 64 x 6 units
    assert table["trainable parameters"].tolist() == [0, 2 * (4 + 4), 2 * (64 + 6), 6 * 3 + 3]


@pytest.mark.parametrize("by", ["fine_tune", "fit"])
def test_only_the_small_matrices_and_the_head_are_trained(tiny, split, one_step, by):
    freeze(tiny)
    enable_lora(tiny, rank=2)
    before = {weight.path: np.array(weight) for weight in tiny.weights}
    if by == "fit":
        one_step(tiny, split)
        one_step(tiny, split)  # in the first step A has no gradient, because B is 0
    else:
        fine_tune(tiny, split, epochs=3)
    moved = {path for path, value in before.items() if not np.array_equal(value, weight(tiny, path))}
    assert moved == {path for path in before if "lora" in path or "predictions" in path}
    assert sum("lora" in path for path in moved) == 4


def weight(model, path):
    return next(np.array(each) for each in model.weights if each.path == path)


def test_unfreezing_leaves_the_pretrained_kernels_frozen(tiny, split):
    enable_lora(tiny)
    freeze(tiny)
    unfreeze(tiny, from_stage="dense")
    trainable = [each.path for each in tiny.trainable_variables if "predictions" not in each.path]
    assert len(trainable) == 2
    assert all("dense1/lora_kernel" in path for path in trainable)


def test_the_merged_model_has_the_same_predictions_and_is_plain_keras(tiny, split, tmp_path):
    kernel = np.array(backbone_of(tiny).get_layer("dense1").kernel)
    enable_lora(tiny, rank=2, alpha=3.0)
    fine_tune(tiny, split, epochs=5, learning_rate=0.05)
    dense = backbone_of(tiny).get_layer("dense1")
    change = 3 / 2 * np.array(dense.lora_kernel_a) @ np.array(dense.lora_kernel_b)
    assert np.abs(change).max() > 0.01
    merged = merge_lora(tiny)
    np.testing.assert_allclose(
        np.array(backbone_of(merged).get_layer("dense1").kernel), kernel + change, atol=1e-6
    )
    np.testing.assert_allclose(np.array(merged(split.images)), np.array(tiny(split.images)), atol=1e-5)
    assert not any("lora" in each.path for each in merged.weights)
    assert "lora" not in merged.to_json()
    merged.save(tmp_path / "merged.keras")
    again = keras.models.load_model(tmp_path / "merged.keras")
    np.testing.assert_array_equal(np.array(again(split.images)), np.array(merged(split.images)))


def test_the_change_has_the_given_rank(tiny, split):
    dense = backbone_of(tiny).get_layer("dense1")
    start = np.array(dense.kernel)
    enable_lora(tiny, rank=2)
    fine_tune(tiny, split, epochs=5, learning_rate=0.05)
    change = np.array(dense.kernel) - start
    assert np.linalg.matrix_rank(change, tol=1e-4) == 2


def test_invalid_uses_are_refused(tiny):
    with pytest.raises(TlkitError, match="rank=0 was given; expected at least 1"):
        enable_lora(tiny, rank=0)
    enable_lora(tiny)
    with pytest.raises(TlkitError, match="has LoRA already"):
        enable_lora(tiny)
    pixels = keras.Input((8, 8, 3), name="pixels")
    only = keras.Model(pixels, keras.layers.Conv2D(4, 3, name="conv1")(pixels), name="LeNet")
    with pytest.raises(TlkitError, match="no Dense and no 1x1 convolution"):
        enable_lora(build_classifier(only, classes=3))
