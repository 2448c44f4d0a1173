"""Low-rank adaptation (LoRA): freeze the pretrained weights, and train small matrices added to them."""

import keras
import pandas as pd

from tlkit.errors import TlkitError
from tlkit.models import backbone_of, flat_layers, frozen_table, unfreeze


def enable_lora(model: keras.Model, rank: int = 4, alpha: float | None = None) -> pd.DataFrame:
    """Add trainable low-rank matrices to the Dense layers and 1x1 convolutions of a backbone, in place.

    A kernel W `(in, out)` becomes `W + alpha / rank * A B` with A `(in, rank)` and B `(rank, out)`. B starts
    at 0, so the predictions do not change. In the backbone only A and B are trained, by stock `fit` and by
    `fine_tune`. A 1x1 convolution is a Dense layer that is applied at every position. Call `merge_lora` after
    training.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models".

    Args:
        model: a classifier made by `build_classifier` or `attach_head`; compile it afterwards.
        rank: rank of the change, at least 1.
        alpha: scale of the change; `None` means `rank`, which gives a factor of 1.

    Returns:
        `frozen_table(model)`: the parameters of each stage, and how many of them are trainable.

    Raises:
        TlkitError: the rank is below 1, the backbone has no such layer, or it has LoRA already.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> enable_lora(model, rank=4)["trainable parameters"].tolist()
    [0, 0, 10608, 1010]
    """
    if rank < 1:
        raise TlkitError(f"rank={rank} was given; expected at least 1, such as 4.")
    body = backbone_of(model)
    chosen = [layer for layer in flat_layers(body) if _is_a_matrix(layer)]
    if not chosen:
        raise TlkitError(
            f"{body.name} has no Dense and no 1x1 convolution layer for LoRA. Use a backbone that has one, "
            "such as EfficientNetLite0, or fine-tune without LoRA."
        )
    if any(layer.lora_enabled for layer in chosen):
        raise TlkitError(f"{body.name} has LoRA already. Merge it first: model = merge_lora(model).")
    for layer in chosen:
        layer.enable_lora(rank, lora_alpha=alpha)
    unfreeze(model)
    return frozen_table(model)


def merge_lora(model: keras.Model) -> keras.Model:
    """Return a plain model with the same predictions: each low-rank change is added to its kernel.

    Args:
        model: a classifier after `enable_lora` and training.

    Returns:
        A plain Keras model that shares no weights with `model`.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> table = enable_lora(model)
    >>> len(model.weights), len(merge_lora(model).weights)
    (14, 10)
    """

    def without(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        for option in ("lora_rank", "lora_alpha"):
            config.pop(option, None)
        return type(layer).from_config(config)

    merged = keras.models.clone_model(model, clone_function=without, recursive=True)
    for source, destination in zip(flat_layers(model), flat_layers(merged), strict=True):
        store: dict = {}
        source.save_own_variables(store)  # Keras saves the merged kernel of a layer with LoRA
        if store:
            destination.load_own_variables(store)
    return merged


def _is_a_matrix(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.Dense):
        return True
    return type(layer) is keras.layers.Conv2D and set(layer.kernel_size) == {1} and layer.groups == 1
