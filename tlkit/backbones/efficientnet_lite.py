"""EfficientNet-Lite, the family of pretrained networks that works offline.

It is EfficientNet without squeeze-and-excitation and with ReLU6, designed for phones and therefore fast on a
CPU. The layer names are those of `keras.applications` and KerasCV. A test compares the network with KerasCV.
"""

import math

import keras
from keras import layers

# depthwise kernel, repeats, output filters, expansion, stride
_BLOCKS = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
# name: width multiplier, depth multiplier
_SCALING = {
    "EfficientNetLite0": (1.0, 1.0),
    "EfficientNetLite1": (1.0, 1.1),
    "EfficientNetLite2": (1.1, 1.2),
}
_DROP_RATE = 0.2


def efficientnet_lite(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Apply EfficientNet-Lite to images, up to the last feature map.

    Tan and Le (2019), "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"; Liu (2020),
    "Higher accuracy on vision models with EfficientNet-Lite".

    Args:
        x: symbolic images `(n, s, s, 3)`, scaled by `(x - 127) / 128`.
        name: `"EfficientNetLite0"`, `"EfficientNetLite1"` or `"EfficientNetLite2"`.

    Returns:
        A feature map, `(n, s / 32, s / 32, 1280)`.
    """
    width, depth = _SCALING[name]
    # The stem, the top, and the first and last blocks are not scaled, to save computation.
    repeats = [
        count if stage in (0, len(_BLOCKS) - 1) else math.ceil(depth * count)
        for stage, (_, count, *_) in enumerate(_BLOCKS)
    ]
    x = _convolution(x, 32, "stem_", kernel=3, stride=2)
    done = 0
    for stage, (kernel, _, filters, expansion, stride) in enumerate(_BLOCKS):
        for repeat in range(repeats[stage]):
            x = _block(
                x,
                _rounded(width * filters),
                f"block{stage + 1}{chr(ord('a') + repeat)}_",
                kernel=kernel,
                stride=stride if repeat == 0 else 1,
                expansion=expansion,
                drop=_DROP_RATE * done / sum(repeats),
            )
            done += 1
    return _convolution(x, 1280, "top_")


def _rounded(filters: float) -> int:
    """Round to the nearest multiple of 8, but never below 90 % of `filters`."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters else nearest + 8


def _block(
    x: keras.KerasTensor, filters: int, name: str, *, kernel: int, stride: int, expansion: int, drop: float
) -> keras.KerasTensor:
    """Apply an inverted residual block: expand, filter each channel, project; add the input if it fits."""
    inputs, channels = x, x.shape[-1]
    if expansion > 1:
        x = _convolution(x, expansion * channels, f"{name}expand_")
    x = layers.DepthwiseConv2D(
        kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{name}dwconv",
    )(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}bn")(x)
    x = layers.ReLU(6.0, name=f"{name}activation")(x)
    x = _convolution(x, filters, f"{name}project_", activation=False)
    if stride == 1 and filters == channels:
        # Stochastic depth: in training, the block is skipped for a random fraction of the images.
        x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
        x = layers.Add(name=f"{name}add")([x, inputs])
    return x


def _convolution(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    kernel: int = 1,
    stride: int = 1,
    activation: bool = True,
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_initializer(),
        name=f"{name}conv",
    )(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}bn")(x)
    return layers.ReLU(6.0, name=f"{name}activation")(x) if activation else x


def _initializer() -> keras.Initializer:
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")
