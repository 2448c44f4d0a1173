"""Continual learning: add classes to a classifier that must still recognise its old classes.

There are two scenarios (van de Ven & Tolias 2019, "Three scenarios for continual learning"). In
*task-incremental* learning, each test image comes with the information whether its class is old or new. In
*class-incremental* learning it does not, and all classes compete in one softmax. Learning without forgetting
is made for the first scenario. The second one also needs rehearsal of some old examples.
"""

from tlkit.techniques.continual_learning.new_classes import add_classes
from tlkit.techniques.continual_learning.rehearsal import forgetting, rehearse
from tlkit.techniques.continual_learning.without_forgetting import LearningWithoutForgetting, distillation

__all__ = ["LearningWithoutForgetting", "add_classes", "distillation", "forgetting", "rehearse"]
