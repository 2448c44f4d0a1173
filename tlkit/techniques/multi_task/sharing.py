"""What the tasks share between the backbone and their heads, and how the whole network is built."""

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
    """Everything up to the heads is shared.

    Caruana 1997, "Multitask Learning".

    Args:
        width: of one more shared layer (dense, batch normalisation, ReLU) on the backbone's features; `None`
            for none. On kept features of a frozen backbone it is all that is shared and learns.
    """

    width: int | None = None

    def __call__(self, features: Any, tasks: list[str]) -> dict[str, Any]:
        """Return the features of each task, for features `(n, d)`."""
        if self.width:
            features = _dense(features, self.width, "shared")
        return dict.fromkeys(tasks, features)


@dataclass(frozen=True)
class MixtureOfExperts:
    """Several shared experts; each task mixes them by a gate of its own, for every image anew.

    Ma, Zhao, Yi, Chen, Hong & Chi 2018, "Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts".

    Args:
        experts: how many, at least 2.
        width: of each expert, one dense layer with ReLU.
    """

    experts: int = 4
    width: int = 128

    def __call__(self, features: Any, tasks: list[str]) -> dict[str, Any]:
        """Return the features of each task, for features `(n, d)`."""
        if self.experts < 2:
            raise TlkitError(f"experts={self.experts} was given; a mixture needs at least 2.")
        answers = layers.Dense(self.experts * self.width, activation="relu", name="experts")(features)
        answers = layers.Reshape((self.experts, self.width), name="by_expert")(answers)
        mixed = {}
        for index, task in enumerate(tasks):
            gate = layers.Dense(self.experts, activation="softmax", name=f"gate_{index}")(features)
            mixed[task] = layers.Dot(axes=1, name=f"mixture_{index}")([gate, answers])
        return mixed


@dataclass(frozen=True)
class CrossStitch:
    """A column of layers for each task; after every layer each column takes something of the others.

    x_a <- sum over b of alpha_ab x_b, the same alpha for all units of a layer, learned; alpha_aa begins at
    0.9 and alpha_ab at 0.

    Misra, Shrivastava, Gupta & Hebert 2016, "Cross-stitch Networks for Multi-task Learning". There the
    columns are whole networks; here they stand on one shared backbone.

    Args:
        width: of each layer.
        depth: layers in a column, each followed by a stitch.
    """

    width: int = 128
    depth: int = 2

    def __call__(self, features: Any, tasks: list[str]) -> dict[str, Any]:
        """Return the features of each task, for features `(n, d)`."""
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
        cuts = [layers.Cropping1D((i, count - 1 - i), name=f"cut_{i}_{level}")(x) for i in range(count)]
        return [layers.Flatten(name=f"column_{i}_{level}_out")(cut) for i, cut in enumerate(cuts)]


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
    """Build a plain Keras model from raw images to a dictionary: a backbone and a head for each task.

    Args:
        backbone: a name of `tlkit.backbones`, or any model from raw images to features, as for
            `build_classifier`.
        tasks: by name; a head is the layer of that name within `model.get_layer("head")`
            (with `_` for what is neither letter nor digit), see `layer_name`.
        sharing: what lies between the backbone and the heads: `HardSharing()` by default,
            `MixtureOfExperts()` or `CrossStitch()`.
        weights: `"imagenet"`, `None` (random) or the path of a weights file; unused for a model.
        image_size: height and width in pixels; `None` takes the backbone's default.
        augmentation: a layer that acts in training only, such as `tlkit.augmentation()`.
        dropout: fraction of the features dropped in training, 0 to 1.

    Returns:
        A model from RGB images `(n, height, width, 3)`, values 0 to 255, to `{task: float32 (n, outputs)}`.
        `freeze`, `unfreeze` and `frozen_table` work on it. Its part `model.get_layer("head")`, from features
        to the same dictionary, can be trained on kept features (`tlkit.extract`).

    >>> from tlkit.techniques.multi_task import Classification, Regression
    >>> model = build_multi_task("LeNet", {"digit": Classification(10), "slant": Regression()}, weights=None)
    >>> {name: tuple(output.shape) for name, output in model.output.items()}
    {'digit': (None, 10), 'slant': (None, 1)}
    """
    if not tasks:
        raise TlkitError("There is no task. Give at least one, such as {'kind': Classification(10)}.")
    names = [layer_name(name) for name in tasks]
    if len(set(names)) < len(names):
        raise TlkitError(
            f"Tasks {', '.join(map(repr, tasks))} are too much alike: letters and digits must tell them "
            "apart. Rename one."
        )
    if isinstance(backbone, str):
        backbone = backbones.load_backbone(backbone, weights=weights, image_size=image_size)
    features = keras.Input((check_backbone(backbone).outputs[0].shape[-1],), name="features")
    x = layers.Dropout(dropout, name="dropout")(features)
    by_task = (sharing or HardSharing())(x, list(tasks))
    taken = {layer.name for layer in keras.Model(features, by_task).layers}
    outputs = {}
    for name, task in tasks.items():
        if layer_name(name) in taken:
            raise TlkitError(
                f"Task {name!r} cannot be called so: another layer of the network is {layer_name(name)!r}. "
                "Rename the task."
            )
        taken.add(layer_name(name))
        outputs[name] = task.head(layer_name(name))(by_task[name])
    return attach_head(backbone, keras.Model(features, outputs, name="head"), augmentation=augmentation)


def _dense(x: Any, width: int, name: str) -> Any:
    x = layers.Dense(width, use_bias=False, name=name)(x)
    # 0.9: a head is trained in hundreds of steps, and 0.99 forgets its start too slowly
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
