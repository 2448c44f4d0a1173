"""Model selection: which backbone to borrow, told from one pass of features, before anything is trained.

    features = tlkit.extract(backbone, data.train)
    logme(features, data.train.labels)                  # one score
    scores(features, data.train.labels)                 # all of them, with the seconds that each took

Higher is better for every score. Compare scores of one data set only: of the same examples and labels.
"""

from tlkit._internal.registry import attach
from tlkit.challenges.model_selection.table import SCORES

__getattr__, __dir__, __all__ = attach(
    __name__,
    (SCORES,),
    {
        "candidates": ["Candidate", "candidate", "default_candidates"],
        "choice": ["PROBE", "SPEED", "pareto_optimal", "recommend"],
        "given": ["Examples", "check_probabilities", "class_indices", "examples"],
        "table": ["SCORES", "Score", "scores"],
    },
)
