"""The balancing rules by name: one line each.

Nothing here imports Keras, so that a list of them costs nothing.
"""

from functools import partial

from tlkit._internal.registry import Method, Registry

_METHOD = partial(Method, "tlkit.techniques.multi_task")
BALANCINGS = Registry(
    "balancing rule",
    (
        _METHOD("equal", "balancing.EqualWeights", "the plain sum of the losses", "Kurin et al. 2022"),
        _METHOD("random", "balancing.RandomWeights", "random weights in every step", "Lin et al. 2022"),
        _METHOD(
            "uncertainty",
            "balancing.UncertaintyWeights",
            "weights that learn the noise of each task",
            "Kendall et al. 2018",
        ),
        _METHOD(
            "dwa",
            "balancing.DynamicWeightAverage",
            "more weight for tasks whose loss falls slowly",
            "Liu et al. 2019",
        ),
        _METHOD(
            "gradnorm",
            "gradient_balancing.GradNorm",
            "gradients of similar size, so that tasks learn at a similar rate",
            "Chen et al. 2018",
        ),
        _METHOD(
            "pcgrad",
            "gradient_balancing.PCGrad",
            "gradients without the component along any gradient that they conflict with",
            "Yu et al. 2020",
        ),
        _METHOD(
            "cagrad",
            "gradient_balancing.CAGrad",
            "a step that helps the task that it helps least",
            "Liu et al. 2021",
        ),
    ),
)
