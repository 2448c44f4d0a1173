"""tlkit: transfer learning with Keras, to learn it and to use it.

The public names and modules below are loaded when they are first used, so that `import tlkit` is instant and
loads neither Keras nor its backend.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

# Experiments and what follows them are named by the verb or noun that is also the command.
_HOME = {
    "train": "experiments.train",
    "train_tasks": "experiments.train_tasks",
    "adapt": "experiments.adapt",
    "pretrain": "experiments.pretrain",
    "select": "experiments.select",
    "similarity": "experiments.similarity",
    "label_counts": "experiments.label_counts",
    "audit": "experiments.audit",
    "compare": "experiments.compare",
    "Evidence": "reports.evidence",
    "paired": "reports.statistics",
    "summary": "reports.statistics",
    "write_report": "reports.result",
    "predict": "deployment.predict",
    "evaluate": "deployment.evaluate",
    "export": "deployment.export",
    "serve": "deployment.serve",
    "open_run": "deployment.saved_run",
    "load": "data",
    "load_table": "data",
    "load_unlabelled": "data",
    "list_datasets": "data",
    "adapt_input": "backbones",
    "load_backbone": "backbones",
    "list_backbones": "backbones",
    "predict_imagenet": "backbones",
    "attach_head": "models",
    "augmentation": "models",
    "build_classifier": "models",
    "freeze": "models",
    "frozen_table": "models",
    "reinitialize": "models",
    "unfreeze": "models",
    "extract": "techniques.feature_extraction",
    "train_head": "techniques.feature_extraction",
    "solve_head": "techniques.solved_head",
    "fine_tune": "techniques.fine_tuning",
    "find_learning_rate": "techniques.learning_rate",
    "robust_fine_tune": "techniques.robust_fine_tuning",
    "gradual_unfreezing": "techniques.fine_tuning",
    "DomainAdapter": "techniques.domain_adaptation",
    "pair": "techniques.domain_adaptation",
    "MultiTask": "techniques.multi_task",
    "build_multi_task": "techniques.multi_task",
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
    "experiments",
    "models",
    "optimizers",
    "plots",
    "recipes",
    "reports",
    "techniques",
)
_WITHOUT_KERAS = ("backbones", "data", "errors", "recipes")
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    from tlkit._internal.keras_import import import_keras

    if name not in __all__:
        raise AttributeError(f"module 'tlkit' has no attribute {name!r}; it has {', '.join(__all__)}")
    if name not in _WITHOUT_KERAS:
        import_keras()  # before anything else imports it: this import prints nothing
    if name in _MODULES:
        return importlib.import_module(f"tlkit.{name}")
    home = importlib.import_module(f"tlkit.{_HOME[name]}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
