"""Build a plain `keras.Model` from a backbone and a head, freeze and unfreeze it, and find its parts."""

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
    """Build an image classifier from a pretrained backbone: augmentation, backbone, pooling, head.

    Args:
        backbone: a name of `tlkit.list_backbones()`; or any functional or `Sequential` model from images to a
            feature map `(n, h, w, c)`, tokens `(n, t, d)` or features `(n, d)`: a model of
            `keras.applications` without its top, a KerasHub backbone, or your own network. It receives RGB
            values from 0 to 255, so any rescaling must be part of it.
        classes: number of classes, at least 2.
        weights: `"imagenet"`, `None` (random) or the path of a weights file; ignored if `backbone` is a
            model.
        image_size: height and width in pixels; `None` takes the backbone's default; ignored if `backbone` is
            a model.
        augmentation: a layer that acts in training only, such as `augmentation()`.
        pooling: `"avg"` averages the feature map over its positions, or averages the tokens; `"token"` takes
            the first token, which is the class token of a vision transformer that has one.
        dropout: fraction of the features dropped in training, 0 to 1.
        bottleneck: width of a layer (dense, batch normalisation, ReLU) between the features and the last
            layer; `None` for no such layer. Domain adaptation on precomputed features needs a bottleneck;
            without it, no layer below the last could learn.
        activation: `"softmax"` for probabilities, `None` for logits.

    Returns:
        A model from RGB images `(n, height, width, 3)`, values 0 to 255, to float32 `(n, classes)`.
        All its layers are trainable; see `freeze` and `unfreeze`.

    Raises:
        TlkitError: there are fewer than 2 classes, or the model is not a backbone as described.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> model.output_shape
    (None, 10)
    >>> network = keras.applications.MobileNetV2((96, 96, 3), 0.35, include_top=False, weights=None)
    >>> build_classifier(network, classes=3).output_shape
    (None, 3)
    """
    if classes < 2:
        raise TlkitError(f"classes={classes} was given; expected at least 2, the number of classes.")
    if isinstance(backbone, str):
        backbone = backbones.load_backbone(backbone, weights=weights, image_size=image_size)
    width = check_backbone(backbone).outputs[0].shape[-1]
    head = build_head(width, classes, dropout=dropout, bottleneck=bottleneck, activation=activation)
    return attach_head(backbone, head, augmentation=augmentation, pooling=pooling)


def build_head(
    width: int,
    classes: int,
    *,
    dropout: float = 0.2,
    bottleneck: int | None = None,
    activation: str | None = "softmax",
) -> keras.Model:
    """Build the head of a classifier, a model from features `(n, width)` to float32 `(n, classes)`.

    For the other arguments, see `build_classifier`.

    >>> [layer.name for layer in build_head(1280, classes=3, bottleneck=256).layers]
    ['dropout', 'bottleneck', 'bottleneck_bn', 'bottleneck_relu', 'predictions']
    """
    layers: list[keras.Layer] = [keras.Input((width,)), keras.layers.Dropout(dropout, name="dropout")]
    if bottleneck:
        layers += [
            keras.layers.Dense(bottleneck, use_bias=False, name="bottleneck"),
            keras.layers.BatchNormalization(momentum=0.9, name="bottleneck_bn"),
            keras.layers.ReLU(name="bottleneck_relu"),
        ]
    # float32 even under mixed precision, since a softmax in float16 loses small probabilities
    last = keras.layers.Dense(classes, activation=activation, dtype="float32", name="predictions")
    return keras.Sequential([*layers, last], name="head")


def attach_head(
    backbone: keras.Model,
    head: keras.Model,
    *,
    augmentation: keras.Layer | None = None,
    pooling: str = "avg",
) -> keras.Model:
    """Put a head on a backbone: chain augmentation, backbone, pooling and head into one model.

    The model shares the layers of its parts; training the model trains the parts.

    Args:
        backbone: a model from raw images to a feature map `(n, h, w, c)`, tokens `(n, t, d)` or features
            `(n, d)`.
        head: a model from features `(n, d)` to predictions.
        augmentation: a layer that acts in training only.
        pooling: see `build_classifier`.

    Returns:
        A model from RGB images `(n, height, width, 3)` to the predictions of the head.

    Raises:
        TlkitError: the model is not a backbone, or the augmentation also changes images in prediction.

    >>> head = keras.Sequential([keras.Input((100,)), keras.layers.Dense(3, "softmax")])
    >>> attach_head(backbones.load_backbone("LeNet", weights=None), head).output_shape
    (None, 3)
    """
    entry = check_backbone(backbone).inputs[0]
    if augmentation is not None and _acts_in_prediction(augmentation, entry.shape[1:]):
        raise TlkitError(
            f"The augmentation {augmentation.name!r} changes images in prediction too, as the layers of "
            "keras_cv do. Apply it to the training batches instead: train.batches(32, shuffle=True, "
            "augment=layer)."
        )
    inputs = keras.Input(entry.shape[1:], name="images")
    x = augmentation(inputs) if augmentation is not None else inputs
    x = pool(call_on(backbone, x), pooling)
    return keras.Model(inputs, head(x), name=f"{backbone.name}_classifier")


def _acts_in_prediction(layer: keras.Layer, shape: tuple[int | None, ...]) -> bool:
    noise = np.random.default_rng(0).uniform(0, 255, (8, *(size or 32 for size in shape))).astype("float32")
    first, second = (keras.ops.convert_to_numpy(layer(noise, training=False)) for _ in range(2))
    return not np.array_equal(first, second)


def augmentation(*, strength: float = 1.0, flip: bool = True) -> keras.Sequential:
    """Build an augmentation layer: random flips, shifts, rotations, zooms and contrast, in training only.

    Any other layer that does nothing in prediction can take its place, such as `keras.layers.RandAugment`.
    The layers of `keras_cv` also act in prediction; for these, see `augment` of `fine_tune`.

    Args:
        strength: 0 changes nothing; 1 shifts by up to 10 % and rotates by up to 18 degrees.
        flip: flip images left to right; unsuitable for digits and letters.

    Returns:
        A `keras.Sequential` of RGB images, values 0 to 255.

    >>> augmentation(flip=False).layers[0].__class__.__name__
    'RandomTranslation'
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
    """Give a compiled model new random weights and a new optimizer state, to train it with another seed.

    The traced graph is kept. On a CPU, tracing takes most of the time of a short training. In a
    `DomainAdapter`, the classifier and the layers of the method are reinitialized.

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
            new = type(layer).from_config(layer.get_config())
            new.build_from_config(built)
            layer.set_weights(new.get_weights())
    fresh = type(model.optimizer).from_config(model.optimizer.get_config())
    fresh.build(model.trainable_variables)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, fresh.variables, strict=True):
        variable.assign(value)


def pooled(backbone: keras.Model, pooling: str = "avg") -> keras.Model:
    """Return a backbone with pooling: a network from images to features `(n, d)`.

    Args:
        backbone: a model from images to a feature map, tokens or features.
        pooling: see `build_classifier`.

    >>> pooled(backbones.load_backbone("EfficientNetLite0", weights=None, image_size=32)).output_shape
    (None, 1280)
    """
    output = check_backbone(backbone).outputs[0]
    features = pool(output, pooling)
    return backbone if features is output else keras.Model(backbone.inputs[0], features, name=backbone.name)


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the backbone of a classifier: its inner model, or all layers below the head.

    Raises:
        TlkitError: no backbone is found; see `tlkit.backbones.structure.parts_of`.
    """
    return parts_of(model).backbone


def head_of(model: keras.Model) -> keras.Layer:
    """Return the head of a classifier: a model from features `(n, d)` to predictions.

    The head shares its layers with the classifier. If the head of the classifier is one inner model, that
    model is returned.

    Raises:
        TlkitError: see `backbone_of`.
    """
    parts = parts_of(model)
    if len(parts.head) == 1 and isinstance(parts.head[0], keras.Model):
        return parts.head[0]
    return keras.Model(parts.features, parts.network.output, name="head")


def feature_network(model: keras.Model) -> keras.Model:
    """Return the network from images to the input of a classifier's head, without augmentation.

    >>> feature_network(build_classifier("LeNet", classes=10, weights=None)).output_shape
    (None, 100)
    """
    parts = parts_of(model)
    averaged = len(parts.pooling) == 1 and type(parts.pooling[0]) in (
        keras.layers.GlobalAveragePooling1D,
        keras.layers.GlobalAveragePooling2D,
    )
    if parts.entry is parts.images and (averaged or not parts.pooling):
        # The same network for all classifiers of this backbone, so that they share cached features.
        return pooled(parts.backbone) if averaged else parts.backbone
    return keras.Model(parts.images, parts.features, name=parts.backbone.name)


def without_augmentation(model: keras.Model) -> keras.Model:
    """Return a model without the augmentation at its start; the other layers are shared.

    Exported models need no augmentation, since it acts in training only, and other programs lack its random
    operations. The augmentation is the first layers that have random state and no weights.

    Returns:
        The shorter model, or `model` itself if it has no augmentation.

    >>> layers = [keras.Input((8, 8, 3)), keras.layers.RandomFlip(), keras.layers.Flatten()]
    >>> [layer.name[:7] for layer in without_augmentation(keras.Sequential(layers)).layers[1:]]
    ['flatten']
    """
    network = functional(model)
    tensors = dict(passages(network))
    end = augmentation_end(calls(network), tensors)
    return model if end < 0 else keras.Model(tensors[end], network.output, name=model.name)


def cut_last(classifier: keras.Model) -> tuple[keras.Model, keras.layers.Dense]:
    """Split a classifier, or its head, into the network below the last dense layer, and that layer.

    Both parts share their layers with the classifier. The last layer gives class probabilities or logits (see
    `tlkit.backbones.structure.output_activation`). A `Softmax` or `Activation` may follow it.

    Raises:
        TlkitError: the last layer is not dense, or has another activation.
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
            "gives class probabilities (softmax) or logits, as in build_classifier(...)."
        )
    return keras.Model(network.inputs[0], features, name=classifier.name), last


def normalizations(network: keras.Layer) -> list[keras.layers.BatchNormalization]:
    """Return all BatchNormalization layers of a network, including those of inner models."""
    return [layer for layer in flat_layers(network) if isinstance(layer, keras.layers.BatchNormalization)]


def freeze(model: keras.Model) -> None:
    """Freeze the backbone of a classifier, so that only the head is trained. Compile the model afterwards.

    Raises:
        TlkitError: see `backbone_of`.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> freeze(model)
    >>> [weight.path for weight in model.trainable_weights]
    ['head/predictions/kernel', 'head/predictions/bias']
    """
    for layer in _backbone_layers(parts_of(model)):
        _set_trainable(layer, False)


def unfreeze(
    model: keras.Model,
    *,
    from_stage: str | None = None,
    fraction: float | None = None,
    batch_norm: bool = False,
) -> None:
    """Unfreeze the backbone of a classifier, whole or from a stage upwards. Compile the model afterwards.

    BatchNormalization layers stay frozen, and therefore in inference mode, since their statistics come from
    many more images than a small target data set has. In a backbone with LoRA, only the LoRA matrices are
    trainable.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` classifier.
        from_stage: the lowest trainable stage; all stages above are trainable too. `frozen_table(model)`
            lists the stages.
        fraction: in place of a stage, the fraction of the backbone's layers to unfreeze from the top, 0 to 1.
        batch_norm: unfreeze BatchNormalization as well; suitable for training from scratch, risky otherwise.

    Raises:
        UnknownNameError: there is no such stage; the message lists the stages.
        TlkitError: both a stage and a fraction are passed, or the fraction is out of range; or see
            `backbone_of`.

    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> unfreeze(model, from_stage="dense")
    >>> frozen_table(model)["state"].tolist()
    ['frozen', 'frozen', 'trainable', 'trainable']
    """
    if from_stage is not None and fraction is not None:
        raise TlkitError(
            f"from_stage={from_stage!r} and fraction={fraction} were given; expected one of them, not both."
        )
    if fraction is not None and not 0 <= fraction <= 1:
        raise TlkitError(f"fraction={fraction} was given; expected a fraction of the layers, from 0 to 1.")
    parts = parts_of(model)
    stages = backbones.stages(parts.backbone)
    if from_stage is not None and from_stage not in stages:
        raise UnknownNameError(f"stage of {parts.backbone.name}", from_stage, stages)
    layers = [layer for stage in stages.values() for layer in stage]
    if from_stage is not None:
        first = layers.index(stages[from_stage][0])
    else:
        first = round(len(layers) * (1 - (1.0 if fraction is None else fraction)))
    for layer in _backbone_layers(parts):
        _set_trainable(layer, True)
    lora = any(getattr(each, "lora_enabled", False) for layer in layers for each in flat_layers(layer))
    for layer in layers[:first]:
        _set_trainable(layer, False)
    for layer in layers[first:]:
        if not (batch_norm or getattr(layer, "learns_statistics", False)):
            for each in normalizations(layer):
                each.trainable = False
        for variable in layer.trainable_variables if lora else ():
            variable.trainable = variable.name.startswith("lora_")


def frozen_table(model: keras.Model) -> pd.DataFrame:
    """Tabulate the stages of a backbone and the head: layers, parameters, trainable parameters and state.

    Returns:
        One row per stage, from input to output, with the columns "layers", "parameters", "trainable
        parameters" and "state" ("frozen" or "trainable").

    Raises:
        TlkitError: see `backbone_of`.

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
        trainable = sum(math.prod(weight.shape) for layer in layers for weight in layer.trainable_weights)
        if total:
            rows.append((name, len(layers), total, trainable, "trainable" if trainable else "frozen"))
    columns = ["stage", "layers", "parameters", "trainable parameters", "state"]
    return pd.DataFrame(rows, columns=columns).set_index("stage")


def _set_trainable(layer: keras.Layer, value: bool) -> None:
    # With TensorFlow, assigning the old value has no effect on inner layers, so assign the opposite first.
    for each in layer._flatten_layers():
        each.trainable = not value
        each.trainable = value


def _backbone_layers(parts: Parts) -> list[keras.Layer]:
    """Return the backbone as one layer; in a flat classifier, its layers with weights below the features."""
    if any(each.operation is parts.backbone for each in calls(parts.network)):
        return [parts.backbone]
    return [layer for layer in parts.backbone.layers if has_weights(layer)]
