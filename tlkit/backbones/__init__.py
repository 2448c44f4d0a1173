"""Pretrained networks from one door: `get(name)`.

>>> get("LeNet", weights=None).name
'LeNet'
"""

from tlkit.backbones.building import get
from tlkit.backbones.inputs import adapt_input
from tlkit.backbones.registry import Backbone, find, list_backbones
from tlkit.backbones.source_head import source_head
from tlkit.backbones.stages import stages

__all__ = ["Backbone", "adapt_input", "find", "get", "list_backbones", "source_head", "stages"]
