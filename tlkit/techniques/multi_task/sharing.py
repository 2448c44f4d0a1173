"""Build multi-task networks: layers between the backbone and the heads, shared by the tasks or not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from tlkit import backbones
from tlkit.backbones.structure import check_backbone
from tlkit.errors import TlkitError
from tlkit.models import attach_head
from tlkit.techniques.multi_task.tasks import Task
from tlkit.techniques.multi_task.writing import layer_name

Sharing = Callable[[Any, list[str]], dict[str, Any]]  # features, names of tasks -> features of each task


@dataclass(frozen=True)
class HardSharing:
    """Share all layers up to the heads.

    Caruana 1997, "Multitask Learning".

    Args:
        width: width of one more shared layer (dense, batch normalisation, ReLU) after the features of the
            backbone; `None` for no such layer. With a frozen backbone, it is the only trainable shared layer.
    """

    width: int | None = None

    def __call__(self, features: Any, tasks: list[str]) -> dict[str, Any]:
        """Return the features for each task, from features `(n, d)`."""
        if self.width:
            features = _dense(features, self.width, "shared")
        return dict.fromkeys(tasks, features)


@dataclass(frozen=True)
class MixtureOfExperts:
    """Share several experts, whose outputs each task mixes with weights that depend on the image.

    Ma, Zhao, Yi, Chen, Hong & Chi 2018, "Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts".

    Args:
        experts: number of experts, at least 2.
        width: width of each expert, which is one dense layer with ReLU.

    Raises:
        TlkitError: there are fewer than 2 experts (raised by `build_multi_task`).
    """

    experts: int = 4
    width: int = 128

    def __call__(self, features: Any, tasks: list[str]) -> dict[str, Any]:
        """Return the features for each task, from features `(n, d)`."""
        if self.experts < 2:
            raise TlkitError(f"experts={self.experts} was given; a mixture needs at least 2.")
        outputs = layers.Dense(self.experts * self.width, activation="relu", name="experts")(features)
        outputs = layers.Reshape((self.experts, self.width), name="by_expert")(outputs)
        mixed = {}
        for index, task in enumerate(tasks):
            gate = layers.Dense(self.experts, activation="softmax", name=f"gate_{index}")(features)
            mixed[task] = layers.Dot(axes=1, name=f"mixture_{index}")([gate, outputs])
        return mixed


@dataclass(frozen=True)
class CrossStitch:
    """Give each task its own column of layers; after each layer, the columns are mixed linearly.

    A cross-stitch unit sets x_a <- sum over b of alpha_ab x_b for the outputs x of all columns. Each layer
    has its own learned alpha, common to all units of the layer. Initially, alpha_aa is 0.9 and the other
    alpha_ab are 0.

    Misra, Shrivastava, Gupta & Hebert 2016, "Cross-stitch Networks for Multi-task Learning". In the paper,
    the columns are whole networks; here, they follow one shared backbone.

    Args:
        width: width of each layer.
        depth: number of layers per column, each followed by a cross-stitch unit.
    """

    width: int = 128
    depth: int = 2

    def __call__(self, features: Any, tasks: list[str]) -> dict[str, Any]:
        """Return the features for each task, from features `(n, d)`."""
        columns = [features] * len(tasks)
        for level in range(1, self.depth + 1):
            columns = [_dense(x, self.width, f"column_{index}_{level}") for index, x in enumerate(columns)]
            if len(tasks) > 1:
                columns = self._stitched(columns, level)
        return dict(zip(tasks, columns, strict=True))

    def _stitched(self, columns: list[Any], level: int) -> list[Any]:
        count = len(columns)
        stitch = layers.Dense(
            count,
            use_bias=False,
            kernel_initializer=keras.initializers.Identity(gain=0.9),
            name=f"stitch_{level}",
        )
        x = layers.Concatenate(name=f"columns_{level}")(
            [layers.Reshape((self.width, 1), name=f"column_{i}_{level}_up")(x) for i, x in enumerate(columns)]
        )
        x = layers.Permute((2, 1), name=f"stitched_{level}")(stitch(x))  # (n, tasks, width)
        rows = [layers.Cropping1D((i, count - 1 - i), name=f"cut_{i}_{level}")(x) for i in range(count)]
        return [layers.Flatten(name=f"column_{i}_{level}_out")(row) for i, row in enumerate(rows)]


def build_multi_task(
    backbone: str | keras.Model,
    tasks: Mapping[str, Task],
    *,
    sharing: Sharing | None = None,
    weights: str | None = "imagenet",
    image_size: int | None = None,
    augmentation: keras.Layer | None = None,
    dropout: float = 0.2,
) -> keras.Model:
    """Build a plain Keras model with one head per task, which outputs a dictionary.

    Args:
        backbone: a name in `tlkit.backbones`, or any model from raw images to features, as for
            `build_classifier`.
        tasks: the tasks by name. The head of a task is a layer of the same name in `model.get_layer("head")`;
            characters that are neither letters nor digits are replaced by `_`.
        sharing: the layers between the backbone and the heads: `HardSharing()` by default,
            `MixtureOfExperts()` or `CrossStitch()`.
        weights: `"imagenet"`, `None` (random) or the path of a weights file; ignored if `backbone` is a
            model.
        image_size: height and width in pixels; `None` selects the default of the backbone.
        augmentation: a layer that acts in training only, such as `tlkit.augmentation()`.
        dropout: fraction of the features dropped in training, 0 to 1.

    Returns:
        A model from RGB images `(n, height, width, 3)`, values 0 to 255, to `{task: float32 (n, outputs)}`.
        `freeze`, `unfreeze` and `frozen_table` work on it. Its part `model.get_layer("head")` maps features
        to the same dictionary, so it can be trained on extracted features (`tlkit.extract`).

    Raises:
        UnknownNameError: there is no such backbone.
        TlkitError: there is no task, or the names of two tasks or layers are too similar.

    >>> from tlkit.techniques.multi_task import Classification, Regression
    >>> model = build_multi_task("LeNet", {"digit": Classification(10), "slant": Regression()}, weights=None)
    >>> {name: tuple(output.shape) for name, output in model.output.items()}
    {'digit': (None, 10), 'slant': (None, 1)}
    """
    if not tasks:
        raise TlkitError("There is no task; expected at least one, such as {'kind': Classification(10)}.")
    names = [layer_name(name) for name in tasks]
    if len(set(names)) < len(names):
        raise TlkitError(
            f"The names of the tasks {', '.join(map(repr, tasks))} are too similar; expected names that "
            "differ in letters or digits. Rename one."
        )
    if isinstance(backbone, str):
        backbone = backbones.load_backbone(backbone, weights=weights, image_size=image_size)
    features = keras.Input((check_backbone(backbone).outputs[0].shape[-1],), name="features")
    x = layers.Dropout(dropout, name="dropout")(features)
    by_task = (sharing or HardSharing())(x, list(tasks))
    used = {layer.name for layer in keras.Model(features, by_task).layers}
    outputs = {}
    for name, task in tasks.items():
        if layer_name(name) in used:
            raise TlkitError(
                f"Task {name!r} cannot have this name, since the network has another layer named "
                f"{layer_name(name)!r}. Rename the task."
            )
        used.add(layer_name(name))
        outputs[name] = task.head(layer_name(name))(by_task[name])
    return attach_head(backbone, keras.Model(features, outputs, name="head"), augmentation=augmentation)


def _dense(x: Any, width: int, name: str) -> Any:
    x = layers.Dense(width, use_bias=False, name=name)(x)
    # 0.9, since 0.99 keeps the initial statistics for too long when a head trains for hundreds of steps
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
