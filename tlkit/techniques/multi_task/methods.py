"""The registry of balancing rules, by their names on the command line.

Nothing here imports Keras, so listing the rules is fast.
"""

from functools import partial

from tlkit._internal.registry import Method, Registry

_METHOD = partial(Method, "tlkit.techniques.multi_task")
BALANCINGS = Registry(
    "balancing rule",
    (
        _METHOD("equal", "balancing.EqualWeights", "the plain sum of the losses", "Kurin et al. 2022"),
        _METHOD(
            "random", "balancing.RandomWeights", "random weights, different in each step", "Lin et al. 2022"
        ),
        _METHOD(
            "uncertainty",
            "balancing.UncertaintyWeights",
            "weights that depend on the noise of each task, which is learned",
            "Kendall et al. 2018",
        ),
        _METHOD(
            "dwa",
            "balancing.DynamicWeightAverage",
            "larger weights for tasks whose loss falls slowly",
            "Liu et al. 2019",
        ),
        _METHOD(
            "gradnorm",
            "gradient_balancing.GradNorm",
            "gradients of similar norm, so that tasks train at a similar rate",
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
            "the direction near the mean gradient that most improves the least improved task",
            "Liu et al. 2021",
        ),
    ),
)
