"""Multi-task learning: one backbone, one head per task, and a rule that balances the task losses.

    tasks = {"left": Classification(10), "right": Classification(10)}
    model = build_multi_task("LeNet", tasks, weights=None)
    learner = MultiTask(model, tasks, PCGrad())
    learner.compile("adam")
    learner.fit(images, {"left": ..., "right": ...}, epochs=10)
    model.save("model.keras")

Caruana 1997, "Multitask Learning"; Crawshaw 2020, "Multi-Task Learning with Deep Neural Networks: A Survey".
"""

from tlkit._internal.registry import attach
from tlkit.techniques.multi_task.methods import BALANCINGS

__getattr__, __dir__, __all__ = attach(
    __name__,
    (BALANCINGS,),
    {
        "balancing": ["Balancing", "FixedWeights"],
        "columns": ["infer_tasks", "labels_for"],
        "diagnostics": ["delta_m"],
        "learner": ["MultiTask"],
        "methods": ["BALANCINGS"],
        "sharing": ["CrossStitch", "HardSharing", "MixtureOfExperts", "build_multi_task"],
        "table": ["encoded", "tasks_for"],
        "tasks": ["Classification", "MultiLabel", "Regression", "Task"],
    },
)
