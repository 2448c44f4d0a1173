"""Two networks, or one before and after training, compared layer by layer on the same images."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import backbones
from tlkit.challenges.task_similarity.representations import linear_cka
from tlkit.errors import DataError, UnknownNameError

BATCH_SIZE = 32


def layer_features(
    backbone: keras.Model, images: np.ndarray, stages: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Return what each stage of a backbone makes of images: its last feature map, averaged over its places.

    Args:
        backbone: a model of `tlkit.load_backbone`, or the backbone of a classifier; its weights are read now,
            so take the features before training and again after it.
        images: RGB `(n, height, width, 3)`, values 0 to 255; some hundreds are enough.
        stages: their names, as `tlkit.backbones.stages(backbone)` lists them; by default all.

    Returns:
        Stage to float32 `(n, channels)`, from input to output.

    Raises:
        UnknownNameError: there is no such stage, or no such backbone.

    >>> network = backbones.load_backbone("LeNet", weights=None)
    >>> {name: tuple(x.shape) for name, x in layer_features(network, np.zeros((2, 28, 28, 3))).items()}
    {'conv1': (2, 32), 'conv2': (2, 48), 'dense': (2, 100)}
    """
    known = backbones.stages(backbone)
    wanted = list(known) if stages is None else list(stages)
    for name in wanted:
        if name not in known:
            raise UnknownNameError(f"stage of {backbone.name}", name, known)
    outputs = {name: _pooled(known[name]) for name in known if name in wanted}
    network = keras.Model(backbone.inputs, outputs)
    found = network.predict(np.asarray(images), batch_size=BATCH_SIZE, verbose=0)
    return {name: np.asarray(found[name], "float32") for name in outputs}


def similarities(
    one: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    measure: Callable[[np.ndarray, np.ndarray], float] = linear_cka,
) -> pd.DataFrame:
    """Return how alike every layer of one network is to every layer of the other, on the same images.

    Of one network before and after training, the diagonal tells which stages moved.

    Args:
        one, other: layer to features `(n, d_i)`, as `layer_features` returns them.
        measure: such as `linear_cka`, `svcca` or `procrustes`.

    Returns:
        float64, layers of `one` in rows and of `other` in columns; `attrs["measure"]` is the measure's name.

    Raises:
        DataError: a network without layers, or features that cannot be compared.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> similarities({"conv": x, "dense": x @ np.diag([1, 1, 0])}, {"conv": 2 * x}).round(1)["conv"].tolist()
    [1.0, 0.8]
    """
    if not one or not other:
        raise DataError(
            "A network without layers was given; expected what layer_features(...) returns, of both."
        )
    values = [[measure(x, y) for y in other.values()] for x in one.values()]
    table = pd.DataFrame(values, index=list(one), columns=list(other))
    table.attrs = {"measure": getattr(measure, "__name__", str(measure))}
    return table


def _pooled(layers: list[keras.Layer]) -> Any:
    # a stage of a small network ends with the flattened map, in which places are still apart
    maps = [layer.output for layer in layers if len(layer.output.shape) == 4]
    return keras.layers.GlobalAveragePooling2D()(maps[-1]) if maps else layers[-1].output
