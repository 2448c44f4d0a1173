"""A backbone and a head as one plain `keras.Model`, and which part of it may learn."""

import math

import keras
import numpy as np
import pandas as pd

from tlkit import backbones
from tlkit.backbones.structure import (
    Parts,
    augmentation_end,
    call_on,
    calls,
    check_backbone,
    flat_layers,
    functional,
    has_weights,
    output_activation,
    parts_of,
    passages,
    pool,
)
from tlkit.errors import TlkitError, UnknownNameError


def build_classifier(
    backbone: str | keras.Model,
    classes: int,
    *,
    weights: str | None = "imagenet",
    image_size: int | None = None,
    augmentation: keras.Layer | None = None,
    pooling: str = "avg",
    dropout: float = 0.2,
    bottleneck: int | None = None,
    activation: str | None = "softmax",
) -> keras.Model:
    """Build a classifier of raw images: augmentation, backbone, pooling, head.

    Args:
        backbone: a name of `tlkit.backbones`; or any functional or `Sequential` model from images to a
            feature map `(n, h, w, c)`, tokens `(n, t, d)` or features `(n, d)`: of `keras.applications`
            without its top, of KerasHub, or your own. It receives RGB values from 0 to 255, so any rescaling
            must be part of it.
        classes: number of classes, at least 2.
        weights: `"imagenet"`, `None` (random) or the path of a weights file; ignored if `backbone` is a
            model.
        image_size: height and width in pixels; `None` takes the backbone's default; ignored likewise.
        augmentation: a layer that acts in training only, such as `augmentation()`.
        pooling: `"avg"` averages the feature map over its places, or the tokens; `"token"` takes the first
            token, which is the class token of a vision transformer that has one.
        dropout: fraction of the features dropped in training, 0 to 1.
        bottleneck: width of a layer (dense, batch normalisation, ReLU) between the features and the last
            layer; `None` for no such layer. Domain adaptation on kept features needs one: without it, no
            layer before the last could learn.
        activation: `"softmax"` for probabilities, `None` for logits.

    Returns:
        A model from RGB images `(n, height, width, 3)`, values 0 to 255, to float32 `(n, classes)`.
        Everything in it is trainable; see `freeze` and `unfreeze`.

    Raises:
        TlkitError: there are fewer than 2 classes, or the model is not such a backbone.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> model.output_shape
    (None, 10)
    >>> network = keras.applications.MobileNetV2((96, 96, 3), 0.35, include_top=False, weights=None)
    >>> build_classifier(network, classes=3).output_shape
    (None, 3)
    """
    if classes < 2:
        raise TlkitError(f"A classifier needs at least 2 classes, got {classes}.")
    if isinstance(backbone, str):
        backbone = backbones.load_backbone(backbone, weights=weights, image_size=image_size)
    head = keras.Sequential(
        [
            keras.Input((check_backbone(backbone).outputs[0].shape[-1],)),
            keras.layers.Dropout(dropout),
            *(_bottleneck(bottleneck) if bottleneck else ()),
            # float32 also under mixed precision: a softmax in float16 loses small probabilities
            keras.layers.Dense(classes, activation=activation, dtype="float32", name="predictions"),
        ],
        name="head",
    )
    return attach_head(backbone, head, augmentation=augmentation, pooling=pooling)


def _bottleneck(width: int) -> list[keras.Layer]:
    return [
        keras.layers.Dense(width, use_bias=False, name="bottleneck"),
        keras.layers.BatchNormalization(momentum=0.9, name="bottleneck_bn"),
        keras.layers.ReLU(name="bottleneck_relu"),
    ]


def attach_head(
    backbone: keras.Model,
    head: keras.Model,
    *,
    augmentation: keras.Layer | None = None,
    pooling: str = "avg",
) -> keras.Model:
    """Chain augmentation, backbone, pooling and head into one model.

    The parts are shared, not copied: what trains one of them trains the whole.

    Args:
        backbone: raw images to a feature map `(n, h, w, c)`, tokens `(n, t, d)` or features `(n, d)`.
        head: features to predictions.
        augmentation: a layer that acts in training only.
        pooling: see `build_classifier`.

    Raises:
        TlkitError: the model is no backbone, or the augmentation changes images in prediction too.
    """
    entry = check_backbone(backbone).inputs[0]
    if augmentation is not None and _acts_in_prediction(augmentation, entry.shape[1:]):
        raise TlkitError(
            f"The augmentation {augmentation.name!r} changes images in prediction too, as the layers of "
            "keras_cv do. Give it to the training images alone: train.batches(32, shuffle=True, "
            "augment=layer)."
        )
    inputs = keras.Input(entry.shape[1:], name="images")
    x = augmentation(inputs) if augmentation is not None else inputs
    x = pool(call_on(backbone, x), pooling)
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


def reinitialize(model: keras.Model) -> None:
    """Give a compiled model new random weights and a new optimizer state, for the next seed of a study.

    The traced graph stays, and building that is most of the time of a short training on a CPU. Works for a
    `DomainAdapter` too: its classifier and the layers of its method start anew.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> model.compile("adam", loss="sparse_categorical_crossentropy")
    >>> before = model.get_weights()[0]
    >>> reinitialize(model)
    >>> bool((model.get_weights()[0] == before).all())
    False
    """
    for layer in flat_layers(model):
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


def pooled(backbone: keras.Model, pooling: str = "avg") -> keras.Model:
    """Return the network from images to features `(n, d)`; see `pooling` of `build_classifier`.

    >>> pooled(backbones.load_backbone("EfficientNetLite0", weights=None, image_size=32)).output_shape
    (None, 1280)
    """
    output = check_backbone(backbone).outputs[0]
    features = pool(output, pooling)
    return backbone if features is output else keras.Model(backbone.inputs[0], features, name=backbone.name)


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the backbone of a classifier: the model inside it, or of a flat one all layers below the head.

    Raises:
        TlkitError: no backbone is found; see `tlkit.backbones.structure.parts_of`.
    """
    return parts_of(model).backbone


def head_of(model: keras.Model) -> keras.Layer:
    """Return what is above the features of a classifier: features `(n, d)` to predictions.

    It shares its layers with the classifier. Where one layer is the whole head, it is that layer.

    Raises:
        TlkitError: see `backbone_of`.
    """
    parts = parts_of(model)
    if len(parts.head) == 1 and isinstance(parts.head[0], keras.Model):
        return parts.head[0]
    return keras.Model(parts.features, parts.network.output, name="head")


def feature_network(model: keras.Model) -> keras.Model:
    """Return the network from images to what the head of a classifier is given, without augmentation.

    >>> feature_network(build_classifier("LeNet", classes=10, weights=None)).output_shape
    (None, 100)
    """
    parts = parts_of(model)
    averaged = len(parts.pooling) == 1 and type(parts.pooling[0]) in (
        keras.layers.GlobalAveragePooling1D,
        keras.layers.GlobalAveragePooling2D,
    )
    if parts.entry is parts.images and (averaged or not parts.pooling):
        # the same network for every classifier on it, and so the same cache
        return pooled(parts.backbone) if averaged else parts.backbone
    return keras.Model(parts.images, parts.features, name=parts.backbone.name)


def without_augmentation(model: keras.Model) -> keras.Model:
    """Return a model without the augmentation at its start; it shares all other layers.

    Augmentation acts in training only, and other programs lack its random operations. It is recognised by
    its state: the first layers that have random state and no weights.

    Returns:
        `model` itself where there is nothing to leave out.

    >>> layers = [keras.Input((8, 8, 3)), keras.layers.RandomFlip(), keras.layers.Flatten()]
    >>> [layer.name[:7] for layer in without_augmentation(keras.Sequential(layers)).layers[1:]]
    ['flatten']
    """
    network = functional(model)
    places = dict(passages(network))
    end = augmentation_end(calls(network), places)
    return model if end < 0 else keras.Model(places[end], network.output, name=model.name)


def cut_last(classifier: keras.Model) -> tuple[keras.Model, keras.layers.Dense]:
    """Cut a classifier, or its head, in two that share its layers: inputs to features, and the last layer.

    The last layer may give class probabilities or logits (`structure.output_activation` tells which), and a
    `Softmax` or `Activation` may come behind it.

    Raises:
        TlkitError: the last layer is not a dense one, or it gives something else.
    """
    network = functional(classifier)
    *_, final = nodes = calls(network)
    while len(nodes) > 1 and isinstance(final.operation, keras.layers.Activation | keras.layers.Softmax):
        final = next(each for each in nodes if final.input_tensors[0] in each.output_tensors)
    last, features = final.operation, final.input_tensors[0]
    if isinstance(last, keras.Model):
        below, last = cut_last(last)
        inner = below.outputs[0] is not below.inputs[0]
        features = call_on(below, features) if inner else features
    if not isinstance(last, keras.layers.Dense) or output_activation(network) not in ("softmax", "linear"):
        raise TlkitError(
            f"{classifier.name!r} ends with {type(last).__name__} {last.name!r}; expected a Dense layer that "
            "gives class probabilities (softmax) or logits, as build_classifier(...) makes it."
        )
    return keras.Model(network.inputs[0], features, name=classifier.name), last


def normalizations(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNormalization layers of a network, those within its parts too."""
    return [layer for layer in flat_layers(network) if isinstance(layer, keras.layers.BatchNormalization)]


def freeze(model: keras.Model) -> None:
    """Freeze the backbone of `model`, so that only the head learns. Compile afterwards."""
    for layer in _body(parts_of(model)):
        _set_trainable(layer, False)


def unfreeze(
    model: keras.Model,
    *,
    from_stage: str | None = None,
    fraction: float | None = None,
    batch_norm: bool = False,
) -> None:
    """Let the backbone learn, whole or from a stage upwards. Compile afterwards.

    BatchNormalization stays frozen, and so in inference mode: its statistics come from many more
    images than a small target set has. In a backbone with LoRA, only the LoRA matrices learn.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` one.
        from_stage: the lowest stage that learns (`frozen_table(model)` lists them); all above learn too.
        fraction: instead of a stage: the top share of the backbone's layers, 0 to 1.
        batch_norm: let BatchNormalization learn as well; appropriate for training from scratch, risky
            otherwise.

    Raises:
        UnknownNameError: there is no such stage; the message lists them.
        TlkitError: a stage and a fraction are given, or the fraction is out of range; or see `backbone_of`.
    """
    if from_stage is not None and fraction is not None:
        raise TlkitError("Give from_stage or fraction, not both.")
    if fraction is not None and not 0 <= fraction <= 1:
        raise TlkitError(f"fraction is a share of the layers, from 0 to 1; got {fraction}.")
    parts = parts_of(model)
    stages = backbones.stages(parts.backbone)
    if from_stage is not None and from_stage not in stages:
        raise UnknownNameError(f"stage of {parts.backbone.name}", from_stage, stages)
    layers = [layer for stage in stages.values() for layer in stage]
    if from_stage is not None:
        first = layers.index(stages[from_stage][0])
    else:
        first = round(len(layers) * (1 - (1.0 if fraction is None else fraction)))
    for layer in _body(parts):
        _set_trainable(layer, True)
    lora = any(getattr(leaf, "lora_enabled", False) for layer in layers for leaf in flat_layers(layer))
    for layer in layers[:first]:
        _set_trainable(layer, False)
    for layer in layers[first:]:
        free = batch_norm or getattr(layer, "learns_statistics", False)
        for leaf in () if free else flat_layers(layer):
            if isinstance(leaf, keras.layers.BatchNormalization):
                leaf.trainable = False
        for variable in layer.trainable_variables if lora else ():
            variable.trainable = variable.name.startswith("lora_")


def frozen_table(model: keras.Model) -> pd.DataFrame:
    """List the stages of the backbone and the head: layers, parameters, and how many of them learn.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> freeze(model)
    >>> frozen_table(model)["state"].tolist()
    ['frozen', 'frozen', 'frozen', 'trainable']
    """
    parts = parts_of(model)
    head = [layer for layer in parts.head if isinstance(layer, keras.Layer)]
    rows = []
    for name, layers in (backbones.stages(parts.backbone) | {"head": head}).items():
        total = sum(layer.count_params() for layer in layers)
        learning = sum(math.prod(weight.shape) for layer in layers for weight in layer.trainable_weights)
        if total:
            state = "trainable" if learning else "frozen"
            rows.append((name, len(layers), total, learning, state))
    columns = ["stage", "layers", "parameters", "trainable parameters", "state"]
    return pd.DataFrame(rows, columns=columns).set_index("stage")


def _set_trainable(layer: keras.Layer, value: bool) -> None:
    # TensorFlow's tracking skips the setter where the value is the old one, and so all layers below
    for each in layer._flatten_layers():
        each.trainable = not value
        each.trainable = value


def _body(parts: Parts) -> list[keras.Layer]:
    """Return the backbone, or of a flat classifier the layers with weights below its features."""
    if any(each.operation is parts.backbone for each in calls(parts.network)):
        return [parts.backbone]
    return [layer for layer in parts.backbone.layers if has_weights(layer)]
