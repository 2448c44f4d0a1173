"""Model selection: compare pretrained backbones on the features of your images, without fine-tuning them.

    features = tlkit.extract(backbone, data.train)
    logme(features, data.train.labels)                  # one score
    scores(features, data.train.labels)                 # all scores, with the seconds that each one took

Higher is better for every score; compare scores only on the same examples and labels.
"""

from tlkit._internal.registry import attach
from tlkit.challenges.model_selection.table import SCORES

__getattr__, __dir__, __all__ = attach(
    __name__,
    (SCORES,),
    {
        "candidates": ["Candidate", "candidate", "default_candidates"],
        "choice": ["PROBE", "SPEED", "clearly_faster", "near_best", "pareto_optimal", "recommend"],
        "cost": ["multiply_adds"],
        "examples": ["Examples", "check_examples", "check_probabilities", "class_indices"],
        "table": ["DEFAULT_SCORES", "SCORES", "Score", "scores", "scores_named"],
    },
)
