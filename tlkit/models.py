"""A backbone and a head as one plain `keras.Model`, and which part of it may learn."""

import math

import keras
import numpy as np
import pandas as pd

from tlkit import backbones
from tlkit.errors import TlkitError, UnknownNameError


def build_classifier(
    backbone: str | keras.Model,
    classes: int,
    *,
    weights: str | None = "imagenet",
    image_size: int | None = None,
    augmentation: keras.Layer | None = None,
    dropout: float = 0.2,
    bottleneck: int | None = None,
    activation: str | None = "softmax",
) -> keras.Model:
    """Build a classifier of raw images: augmentation, backbone, global average pooling, head.

    Args:
        backbone: a name of `tlkit.backbones`, or a model from raw images to features.
        classes: number of classes, at least 2.
        weights: `"imagenet"`, `None` (random) or the path of a weights file; unused for a model.
        image_size: height and width in pixels; `None` takes the backbone's default.
        augmentation: a layer that acts in training only, such as `augmentation()`.
        dropout: fraction of the features dropped in training, 0 to 1.
        bottleneck: width of a layer (dense, batch normalisation, ReLU) between the features and the last
            layer; `None` for no such layer. Domain adaptation on kept features needs one, to have features
            that move.
        activation: `"softmax"` for probabilities, `None` for logits.

    Returns:
        A model from RGB images `(n, height, width, 3)`, values 0 to 255, to float32 `(n, classes)`.
        Everything in it is trainable; see `freeze` and `unfreeze`.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> model.output_shape
    (None, 10)
    """
    if classes < 2:
        raise TlkitError(f"A classifier needs at least 2 classes, got {classes}.")
    if isinstance(backbone, str):
        backbone = backbones.get(backbone, weights=weights, image_size=image_size)
    head = keras.Sequential(
        [
            keras.Input((backbone.output_shape[-1],)),
            keras.layers.Dropout(dropout),
            *(_bottleneck(bottleneck) if bottleneck else ()),
            # float32 also under mixed precision: a softmax in float16 loses small probabilities
            keras.layers.Dense(classes, activation=activation, dtype="float32", name="predictions"),
        ],
        name="head",
    )
    return join(backbone, head, augmentation=augmentation)


def _bottleneck(width: int) -> list[keras.Layer]:
    return [
        keras.layers.Dense(width, use_bias=False, name="bottleneck"),
        keras.layers.BatchNormalization(momentum=0.9, name="bottleneck_bn"),
        keras.layers.ReLU(name="bottleneck_relu"),
    ]


def join(backbone: keras.Model, head: keras.Model, *, augmentation: keras.Layer | None = None) -> keras.Model:
    """Chain augmentation, backbone, global average pooling and head into one model.

    The parts are shared, not copied: what trains one of them trains the whole.

    Args:
        backbone: raw images to a feature map `(n, h, w, c)` or features `(n, d)`.
        head: features to predictions.
        augmentation: a layer that acts in training only.

    Raises:
        TlkitError: the augmentation changes images in prediction too.
    """
    if augmentation is not None and _acts_in_prediction(augmentation, backbone.input_shape[1:]):
        raise TlkitError(
            f"The augmentation {augmentation.name!r} changes images in prediction too, as the layers of "
            f"keras_cv do. Give it to the training images alone: fine_tune(..., augment=layer)."
        )
    inputs = keras.Input(backbone.input_shape[1:], name="images")
    x = augmentation(inputs) if augmentation is not None else inputs
    x = backbone(x)
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    return keras.Model(inputs, head(x), name=f"{backbone.name}_classifier")


def _acts_in_prediction(layer: keras.Layer, shape: tuple[int | None, ...]) -> bool:
    noise = np.random.default_rng(0).uniform(0, 255, (8, *(size or 32 for size in shape))).astype("float32")
    once, again = (keras.ops.convert_to_numpy(layer(noise, training=False)) for _ in range(2))
    return not np.array_equal(once, again)


def augmentation(*, strength: float = 1.0, flip: bool = True) -> keras.Sequential:
    """Build random flips, shifts, turns, zooms and contrast: active in training, the identity otherwise.

    Args:
        strength: 1 shifts by up to 10 %, turns by up to 18 degrees; 0 changes nothing.
        flip: mirror left and right; wrong for digits and letters.

    Any other layer that is off in prediction does as well, such as `keras.layers.RandAugment`. Those of
    `keras_cv` are not: see `augment` of `fine_tune`.
    """
    layers: list[keras.Layer] = [keras.layers.RandomFlip("horizontal")] if flip else []
    layers += [
        keras.layers.RandomTranslation(0.1 * strength, 0.1 * strength, fill_mode="nearest"),
        keras.layers.RandomRotation(0.05 * strength, fill_mode="nearest"),
        keras.layers.RandomZoom(0.1 * strength, fill_mode="nearest"),
        keras.layers.RandomContrast(0.2 * strength, value_range=(0, 255)),
    ]
    return keras.Sequential(layers, name="augmentation")


def restart(model: keras.Model) -> None:
    """Give a compiled model new random weights and a new optimizer state, for the next seed of a study.

    The traced graph stays, and building that is most of the time of a short training on a CPU. Works for a
    `DomainAdapter` too: its classifier and the layers of its method start anew.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> model.compile("adam", loss="sparse_categorical_crossentropy")
    >>> before = model.get_weights()[0]
    >>> restart(model)
    >>> bool((model.get_weights()[0] == before).all())
    False
    """
    for layer in leaves(model):
        built = layer.get_build_config()
        if layer.weights and built:
            again = type(layer).from_config(layer.get_config())
            again.build_from_config(built)
            layer.set_weights(again.get_weights())
    fresh = type(model.optimizer).from_config(model.optimizer.get_config())
    fresh.build(model.trainable_variables)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, fresh.variables, strict=True):
        variable.assign(value)


def pooled(backbone: keras.Model) -> keras.Model:
    """Return the network from images to features `(n, d)`: of a feature map, the mean over its places.

    >>> pooled(backbones.get("EfficientNetLite0", weights=None, image_size=32)).output_shape
    (None, 1280)
    """
    if len(backbone.output_shape) == 2:
        return backbone
    features = keras.layers.GlobalAveragePooling2D(name="pooling")(backbone.outputs[0])
    return keras.Model(backbone.inputs, features, name=backbone.name)


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the backbone inside a classifier made by `build_classifier` or `join`."""
    parts = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    found = [part for part in parts if part.name not in ("augmentation", "head")]
    if not found:
        raise TlkitError(
            f"Model {model.name!r} holds no backbone. Build it with build_classifier(...) or join(...)."
        )
    return found[0]


def cut_last(classifier: keras.Model) -> tuple[keras.Model, keras.layers.Dense]:
    """Cut a classifier in two that share its layers: inputs to features, and the last layer.

    Raises:
        TlkitError: the last layer is not a dense one with a softmax.
    """
    layers = [layer for layer in classifier.layers if not isinstance(layer, keras.layers.InputLayer)]
    if isinstance(layers[-1], keras.Sequential):
        layers += layers.pop().layers
    last = layers.pop()
    if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.softmax:
        raise TlkitError(
            f"{classifier.name!r} ends with {type(last).__name__} {last.name!r}; expected a Dense layer with "
            "a softmax, as build_classifier(...) and join(...) make it."
        )
    x = classifier.inputs[0]
    for layer in layers:
        x = layer(x)
    return keras.Model(classifier.inputs[0], x, name=classifier.name), last


def normalizations(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNormalization layers of a network, those within its parts too."""
    return [layer for layer in leaves(network) if isinstance(layer, keras.layers.BatchNormalization)]


def leaves(layer: keras.Layer) -> list[keras.Layer]:
    """Return all layers below that hold no others, each once; the layer itself if it holds none."""
    if isinstance(layer, keras.Model):
        parts = layer.layers
    else:
        parts = [each for each in vars(layer).values() if isinstance(each, keras.Layer)]
    found = {id(leaf): leaf for each in parts for leaf in leaves(each)}
    return list(found.values()) or [layer]


def freeze(model: keras.Model) -> None:
    """Freeze the backbone of `model`: only the head will learn. Compile afterwards."""
    backbone_of(model).trainable = False


def unfreeze(
    model: keras.Model,
    *,
    from_stage: str | None = None,
    fraction: float | None = None,
    batch_norm: bool = False,
) -> None:
    """Let the backbone learn, whole or from a stage upwards. Compile afterwards.

    BatchNormalization stays frozen, and so in inference mode: its statistics come from many more
    images than a small target set has. Of a backbone with LoRA its small matrices alone learn.

    Args:
        model: a classifier made by `build_classifier`.
        from_stage: the lowest stage that learns (`frozen_table(model)` lists them); all above learn too.
        fraction: instead of a stage: the top share of the backbone's layers, 0 to 1.
        batch_norm: let BatchNormalization learn as well; right from scratch, risky otherwise.
    """
    if from_stage is not None and fraction is not None:
        raise TlkitError("Give from_stage or fraction, not both.")
    if fraction is not None and not 0 <= fraction <= 1:
        raise TlkitError(f"fraction is a share of the layers, from 0 to 1; got {fraction}.")
    backbone = backbone_of(model)
    stages = backbones.stages(backbone)
    if from_stage is not None and from_stage not in stages:
        raise UnknownNameError(f"stage of {backbone.name}", from_stage, stages)
    layers = [layer for stage in stages.values() for layer in stage]
    if from_stage is not None:
        first = layers.index(stages[from_stage][0])
    else:
        first = round(len(layers) * (1 - (1.0 if fraction is None else fraction)))
    backbone.trainable = True
    lora = any(getattr(layer, "lora_enabled", False) for layer in layers)
    for position, layer in enumerate(layers):
        is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first and (batch_norm or not is_batch_norm)
        for variable in layer.trainable_variables if lora else ():
            variable.trainable = variable.name.startswith("lora_")


def frozen_table(model: keras.Model) -> pd.DataFrame:
    """List the stages of the backbone and the head: layers, parameters, and how many of them learn.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> freeze(model)
    >>> frozen_table(model)["state"].tolist()
    ['frozen', 'frozen', 'frozen', 'trainable']
    """
    stages = backbones.stages(backbone_of(model)) | {"head": [model.get_layer("head")]}
    rows = []
    for name, layers in stages.items():
        total = sum(layer.count_params() for layer in layers)
        learning = sum(math.prod(weight.shape) for layer in layers for weight in layer.trainable_weights)
        if total:
            state = "trainable" if learning else "frozen"
            rows.append((name, len(layers), total, learning, state))
    columns = ["stage", "layers", "parameters", "trainable parameters", "state"]
    return pd.DataFrame(rows, columns=columns).set_index("stage")
