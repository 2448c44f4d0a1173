"""Pretrained networks as plain Keras models: `load_backbone(name)`.

>>> load_backbone("LeNet", weights=None).name
'LeNet'
"""

from tlkit.backbones.building import load_backbone
from tlkit.backbones.inputs import adapt_input
from tlkit.backbones.registry import BACKBONES, Backbone, list_backbones
from tlkit.backbones.source_head import source_head
from tlkit.backbones.stages import stages

__all__ = ["BACKBONES", "Backbone", "adapt_input", "list_backbones", "load_backbone", "source_head", "stages"]
