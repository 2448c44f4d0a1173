"""Low-rank adaptation (LoRA): the pretrained weights stay, and small matrices beside them learn."""

import keras
import pandas as pd

from tlkit.errors import TlkitError
from tlkit.models import backbone_of, flat_layers, frozen_table, unfreeze


def enable_lora(model: keras.Model, rank: int = 4, alpha: float | None = None) -> pd.DataFrame:
    """Let a classifier learn by low-rank changes of its backbone's Dense and 1x1 convolutions, in place.

    A kernel W `(in, out)` becomes `W + alpha / rank * A B` with A `(in, rank)` and B `(rank, out)`. B starts
    at 0, so nothing changes yet. Of the backbone A and B alone learn: in stock `fit` and in `fine_tune`. A
    1x1 convolution is a Dense layer at every place. Call `merge_lora` afterwards.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models".

    Args:
        model: a classifier made by `build_classifier` or `join`; compile it afterwards.
        rank: of the change, at least 1.
        alpha: size of the change; `None` is `rank`, and so a factor of 1.

    Returns:
        `frozen_table`: the parameters of each stage, and how many of them learn.

    Raises:
        TlkitError: the rank is below 1, no layer is of these kinds, or LoRA is on already.

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
            f"{body.name} has no Dense and no 1x1 convolution layer for LoRA. Use a backbone that has some, "
            "such as EfficientNetLite0, or fine-tune as usual."
        )
    if any(layer.lora_enabled for layer in chosen):
        raise TlkitError(f"{body.name} has LoRA already. Merge it first: model = merge_lora(model).")
    for layer in chosen:
        layer.enable_lora(rank, lora_alpha=alpha)
    unfreeze(model)
    return frozen_table(model)


def merge_lora(model: keras.Model) -> keras.Model:
    """Return a model without LoRA that predicts the same: each change is added to its kernel.

    It shares nothing with the given one, and is plain Keras.

    Args:
        model: a classifier after `enable_lora` and training.

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
    for given, taken in zip(flat_layers(model), flat_layers(merged), strict=True):
        store: dict = {}
        given.save_own_variables(store)  # what Keras saves of such a layer is the merged kernel
        if store:
            taken.load_own_variables(store)
    return merged


def _is_a_matrix(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.Dense):
        return True
    return type(layer) is keras.layers.Conv2D and set(layer.kernel_size) == {1} and layer.groups == 1
