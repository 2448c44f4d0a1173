"""Compare two networks, or one network before and after training, layer by layer on the same images."""

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
    """Return the features of images at each stage of a backbone: its last feature map, averaged spatially.

    Args:
        backbone: a model from `tlkit.load_backbone`, or the backbone of a classifier. The current weights are
            used, so call this function before training and again after it.
        images: RGB `(n, height, width, 3)`, values 0 to 255; a few hundred are enough.
        stages: names of stages, as `tlkit.backbones.stages(backbone)` lists them; all by default.

    Returns:
        Name of the stage to float32 `(n, channels)`, from input to output.

    Raises:
        UnknownNameError: there is no such stage.

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
    """Return the similarity of every layer of one network to every layer of another, on the same images.

    For one network before and after training, the diagonal shows which stages have changed.

    Args:
        one, other: name of a layer to features `(n, d_i)`, as `layer_features` returns them.
        measure: function of two feature matrices, such as `linear_cka`, `svcca` or `procrustes`.

    Returns:
        A float64 table with the layers of `one` in rows and of `other` in columns; `attrs["measure"]` is the
        name of the measure.

    Raises:
        DataError: a network has no layers, or the features cannot be compared.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> similarities({"conv": x, "dense": x @ np.diag([1, 1, 0])}, {"conv": 2 * x}).round(1)["conv"].tolist()
    [1.0, 0.8]
    """
    if not one or not other:
        raise DataError(
            "A network without layers was given; expected the result of layer_features(...) for both "
            "networks."
        )
    values = [[measure(x, y) for y in other.values()] for x in one.values()]
    table = pd.DataFrame(values, index=list(one), columns=list(other))
    table.attrs = {"measure": getattr(measure, "__name__", str(measure))}
    return table


def _pooled(layers: list[keras.Layer]) -> Any:
    # in a small network a stage may end with a flattened map, which can no longer be averaged over positions
    maps = [layer.output for layer in layers if len(layer.output.shape) == 4]
    return keras.layers.GlobalAveragePooling2D()(maps[-1]) if maps else layers[-1].output
