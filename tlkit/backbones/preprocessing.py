"""Convert raw pixels to the range that a network was trained on, by layers that are part of the model."""

import keras

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# mode: (scale, offset), for all channels or per channel
_RESCALING: dict[str, tuple[float | list[float], float | list[float]]] = {
    "unit": (1 / 255, 0.0),
    "tf": (1 / 127.5, -1.0),
    "lite": (1 / 128, -127 / 128),
    "torch": (
        [1 / (255 * deviation) for deviation in _DEVIATION],
        [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)],
    ),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
}


def preprocess(pixels: keras.KerasTensor, mode: str) -> keras.KerasTensor:
    """Scale raw RGB pixels to the range that a network expects.

    Args:
        pixels: symbolic images `(n, h, w, 3)`, values 0 to 255.
        mode: `"none"` (the network rescales itself); `"unit"`, 0 to 1; `"tf"`, -1 to 1; `"lite"`,
            `(x - 127) / 128`; `"torch"`, standardised by ImageNet's mean and standard deviation; `"caffe"`,
            BGR minus ImageNet's mean. `"tf"`, `"torch"` and `"caffe"` are the modes of `keras.applications`.

    Returns:
        Scaled images of the same shape.
    """
    if mode == "none":
        return pixels
    if mode == "caffe":
        pixels = keras.ops.flip(pixels, axis=-1)
    scale, offset = _RESCALING[mode]
    return keras.layers.Rescaling(scale, offset, name="preprocessing")(pixels)
