"""tlkit: transfer learning with Keras, to learn it and to use it.

The public names and modules below are loaded when they are first used, so that `import tlkit` is
instant and loads neither Keras nor its backend.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "load": "data",
    "load_table": "data",
    "load_unlabelled": "data",
    "list_datasets": "data",
    "adapt_input": "backbones",
    "get": "backbones",
    "list_backbones": "backbones",
    "augmentation": "models",
    "build_classifier": "models",
    "freeze": "models",
    "frozen_table": "models",
    "join": "models",
    "restart": "models",
    "unfreeze": "models",
    "extract": "techniques.feature_extraction",
    "train_head": "techniques.feature_extraction",
    "fine_tune": "techniques.fine_tuning",
    "gradual_unfreezing": "techniques.fine_tuning",
    "compare": "study",
    "paired": "study",
    "summary": "study",
    "audit": "auditing",
    "select": "selection",
    "train": "run",
    "train_tasks": "multi_task_run",
    "adapt": "adaptation",
    "DomainAdapter": "techniques.domain_adaptation",
    "MultiTask": "techniques.multi_task",
    "build_multi_task": "techniques.multi_task",
    "pair": "techniques.domain_adaptation",
    "add_classes": "techniques.continual_learning",
    "rehearse": "techniques.continual_learning",
    "LearningWithoutForgetting": "techniques.continual_learning",
    "check": "course",
    "hint": "course",
    "record": "course",
    "solution": "course",
}
_MODULES = (
    "backbones",
    "callbacks",
    "challenges",
    "course",
    "data",
    "deployment",
    "errors",
    "models",
    "optimizers",
    "plots",
    "recipes",
    "report",
    "study",
    "techniques",
)
_WITHOUT_KERAS = ("backbones", "data", "errors", "recipes")
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    from tlkit.quiet import import_keras

    if name not in __all__:
        raise AttributeError(f"module 'tlkit' has no attribute {name!r}; it has {', '.join(__all__)}")
    if name not in _WITHOUT_KERAS:
        import_keras()  # before anything else imports it: this one is quiet
    if name in _MODULES:
        return importlib.import_module(f"tlkit.{name}")
    return getattr(importlib.import_module(f"tlkit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
