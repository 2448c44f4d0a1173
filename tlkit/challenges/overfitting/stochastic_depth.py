"""Stochastic depth: skip residual branches at random during training."""

from typing import Any

import keras

from tlkit.challenges.overfitting.parts import learner_for, reassembled
from tlkit.errors import TlkitError
from tlkit.models import backbone_of


def stochastic_depth(model: keras.Model, rate: float = 0.2) -> keras.Model:
    """Return a classifier that skips residual branches during training; it shares all weights with `model`.

    A block `x + f(x)` becomes `x + b / (1 - r) f(x)`. For each image, b is 0 with probability r, else 1. The
    expectation over b is the original block, and prediction uses the original block. The l-th of L blocks has
    `r = rate * l / L`, because all later blocks depend on the early ones. In Keras this is a Dropout layer
    with one noise value per image, so the result is a plain Keras model; either model can be saved.

    Huang et al. 2016, "Deep Networks with Stochastic Depth".

    Args:
        model: a classifier made by `build_classifier` or `attach_head`. The residual branch is the deeper of
            the two inputs of an `Add` layer. Dropout of branches that the backbone already has is replaced.
        rate: r of the last block, from 0 to less than 1.

    Raises:
        TlkitError: the rate is out of range, or the backbone has no residual block.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("EfficientNetLite0", classes=3, weights=None, image_size=32)
    >>> backbone_of(stochastic_depth(model, 0.3)).get_layer("block6d_add_drop").rate
    0.3
    """
    if not 0 <= rate < 1:
        raise TlkitError(f"rate={rate} was given; expected a fraction from 0 to less than 1, such as 0.2.")
    body = backbone_of(model)
    blocks = [layer.name for layer in body.layers if _adds_two(layer)]
    if not blocks:
        raise TlkitError(
            f"{body.name} has no residual block, that is, no Add layer with two inputs. Use a backbone that "
            "has one, such as EfficientNetLite0, or another regulariser."
        )
    depth: dict[int, int] = {}
    kept: list[Any] = []  # keeps the tensors alive, so that their ids stay unique

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        inputs = keras.tree.flatten(args)
        depths = [depth.get(id(each), 0) for each in inputs]
        if _drops_branches(layer):
            return args[0]
        if layer.name in blocks:
            branch = depths.index(max(depths))
            block_rate = rate * (blocks.index(layer.name) + 1) / len(blocks)
            noise = (None,) + (1,) * (len(inputs[branch].shape) - 1)
            drop = keras.layers.Dropout(block_rate, noise_shape=noise, name=f"{layer.name}_drop")
            inputs[branch] = drop(inputs[branch])
            args = (inputs,)
        outputs = layer(*args, **kwargs)
        for each in keras.tree.flatten(outputs):
            depth[id(each)] = max(depths, default=0) + 1
            kept.append(each)
        return outputs

    thinned = keras.models.clone_model(body, clone_function=lambda layer: layer, call_function=call)
    return learner_for(model, keras.Model(*reassembled(model, backbone=thinned), name=model.name))


def _adds_two(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.Add) and len(layer.input) == 2


def _drops_branches(layer: keras.Layer) -> bool:
    shape = getattr(layer, "noise_shape", None)
    return isinstance(layer, keras.layers.Dropout) and shape is not None and set(shape[1:]) == {1}
