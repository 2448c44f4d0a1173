"""Pretrained networks as plain Keras models: `load_backbone(name)`.

>>> load_backbone("LeNet", weights=None).name
'LeNet'
"""

from tlkit.backbones.building import load_backbone
from tlkit.backbones.imagenet import imagenet_classes, predict_imagenet
from tlkit.backbones.inputs import adapt_input
from tlkit.backbones.registry import BACKBONES, Backbone, list_backbones
from tlkit.backbones.source_head import source_head
from tlkit.backbones.stages import stages

__all__ = [
    "BACKBONES",
    "Backbone",
    "adapt_input",
    "imagenet_classes",
    "list_backbones",
    "load_backbone",
    "predict_imagenet",
    "source_head",
    "stages",
]
