"""Pretrained networks from one door: `get(name)`.

>>> get("LeNet", weights=None).name
'LeNet'
"""

from tlkit.backbones.building import get, stages
from tlkit.backbones.inputs import adapt_input
from tlkit.backbones.registry import Backbone, find, list_backbones

__all__ = ["Backbone", "adapt_input", "find", "get", "list_backbones", "stages"]
