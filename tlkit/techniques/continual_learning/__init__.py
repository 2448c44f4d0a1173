"""New classes for a network that must keep its old ones: wider heads, distillation, rehearsal.

Two questions must be told apart (van de Ven & Tolias 2019, "Three scenarios for continual learning").
*Task-incremental*: whoever asks says whether it is an old class or a new one. *Class-incremental*: nobody
says, and all classes compete in one softmax. Learning without forgetting answers the first; for the second
some old examples must be rehearsed.
"""

from tlkit.techniques.continual_learning.new_classes import add_classes
from tlkit.techniques.continual_learning.rehearsal import forgetting, rehearse
from tlkit.techniques.continual_learning.without_forgetting import LearningWithoutForgetting, distillation

__all__ = ["LearningWithoutForgetting", "add_classes", "distillation", "forgetting", "rehearse"]
