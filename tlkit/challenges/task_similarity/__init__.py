"""Task similarity: how similar two domains, two networks or two tasks are.

    distances({"photos": a, "sketches": b})             # domains: features of different images
    similarities(layer_features(before, images), layer_features(after, images))   # networks: the same images
    predicted_gain(features, random_features, labels)   # tasks: does this source help?

Zamir et al. 2018, "Taskonomy: Disentangling Task Transfer Learning".
"""

from tlkit._internal.registry import attach
from tlkit.challenges.task_similarity.measures import MEASURES

__getattr__, __dir__, __all__ = attach(
    __name__,
    (MEASURES,),
    {
        "domains": ["distances"],
        "measures": ["MEASURES", "Measure"],
        "networks": ["layer_features", "similarities"],
        "representations": ["linear_cka", "minibatch_cka", "procrustes", "svcca"],
        "tasks": ["Gain", "predicted_gain", "transfer_gain"],
    },
)
