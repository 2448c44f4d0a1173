"""Multi-task learning: one backbone, a head for each task, and a rule that balances what they ask for.

    tasks = {"left": Classification(10), "right": Classification(10)}
    model = build_multi_task("LeNet", tasks, weights=None)
    learner = MultiTask(model, tasks, PCGrad())
    learner.compile("adam")
    learner.fit(images, {"left": ..., "right": ...}, epochs=10)
    model.save("model.keras")

Caruana 1997, "Multitask Learning"; Crawshaw 2020, "Multi-Task Learning with Deep Neural Networks: A Survey".
"""

import importlib
from typing import Any

_HOME = {
    "balancing": (
        *("Balancing", "DynamicWeightAverage", "EqualWeights", "FixedWeights"),
        *("RandomWeights", "UncertaintyWeights"),
    ),
    "columns": ("infer_tasks", "labels_for"),
    "diagnostics": ("delta_m",),
    "gradient_balancing": ("CAGrad", "GradNorm", "PCGrad"),
    "learner": ("MultiTask",),
    "methods": ("BALANCINGS", "find"),
    "sharing": ("CrossStitch", "HardSharing", "MixtureOfExperts", "build_multi_task"),
    "table": ("encoded", "tasks_for"),
    "tasks": ("Classification", "MultiLabel", "Regression", "Task"),
}
__all__ = sorted(name for names in _HOME.values() for name in names)


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used."""
    if name in _HOME:
        return importlib.import_module(f"{__name__}.{name}")
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
