"""The gain of multi-task learning over one network per task."""

from collections.abc import Mapping

import numpy as np

from tlkit.errors import UnknownNameError
from tlkit.techniques.multi_task.tasks import Task


def delta_m(together: Mapping[str, float], alone: Mapping[str, float], tasks: Mapping[str, Task]) -> float:
    """Return the mean relative gain of a multi-task network over single-task networks, in percent.

    It is the mean over the tasks of (together - alone) / alone, negated for tasks whose measure is better
    when lower. It is below 0 if multi-task learning did harm.
    Maninis, Radosavovic & Kokkinos 2019, "Attentive Single-Tasking of Multiple Tasks".

    Args:
        together: measure of each task, by the network that was trained on all tasks.
        alone: measure of each task, by a network that was trained on this task only.
        tasks: the tasks by name, which define whether higher is better.

    Raises:
        UnknownNameError: the measure of a task is missing.

    >>> from tlkit.techniques.multi_task import Classification, Regression
    >>> tasks = {"kind": Classification(3), "size": Regression()}
    >>> round(delta_m({"kind": 0.88, "size": 1.8}, {"kind": 0.80, "size": 2.0}, tasks), 6)
    10.0
    """
    for name in tasks:
        for measures in (together, alone):
            if name not in measures:
                raise UnknownNameError("task", name, measures)
    gains = [
        (1 if task.higher_is_better else -1) * (together[name] - alone[name]) / alone[name]
        for name, task in tasks.items()
    ]
    return 100 * float(np.mean(gains))
