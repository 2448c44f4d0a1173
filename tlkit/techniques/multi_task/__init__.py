"""Multi-task learning: one backbone, a head for each task, and a rule that balances what they ask for.

    tasks = {"left": Classification(10), "right": Classification(10)}
    model = build_multi_task("LeNet", tasks, weights=None)
    learner = MultiTask(model, tasks, PCGrad())
    learner.compile("adam")
    learner.fit(images, {"left": ..., "right": ...}, epochs=10)
    model.save("model.keras")

Caruana 1997, "Multitask Learning"; Crawshaw 2020, "Multi-Task Learning with Deep Neural Networks: A Survey".
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "balancing": [
            *("Balancing", "DynamicWeightAverage", "EqualWeights", "FixedWeights"),
            *("RandomWeights", "UncertaintyWeights"),
        ],
        "columns": ["infer_tasks", "labels_for"],
        "diagnostics": ["delta_m"],
        "gradient_balancing": ["CAGrad", "GradNorm", "PCGrad"],
        "learner": ["MultiTask"],
        "methods": ["BALANCINGS", "find"],
        "sharing": ["CrossStitch", "HardSharing", "MixtureOfExperts", "build_multi_task"],
        "table": ["encoded", "tasks_for"],
        "tasks": ["Classification", "MultiLabel", "Regression", "Task"],
    },
)
