"""Model selection: which backbone to borrow, told from one pass of features, before anything is trained.

    features = tlkit.extract(backbone, data.train)
    logme(features, data.train.labels)                  # one score
    scores(features, data.train.labels)                 # all of them, with the seconds that each took

Higher is better for every score. Compare scores of one data set only: of the same examples and labels.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "candidates": ["Candidate", "candidate", "default_candidates"],
        "choice": ["pareto_optimal", "recommend"],
        "evidence": ["logme"],
        "given": ["Examples", "check_probabilities", "class_indices", "examples"],
        "geometry": ["parc"],
        "label_conditional": ["leep", "nce", "nleep"],
        "probes": ["knn", "linear_probe"],
        "separability": ["gbc", "sfda"],
        "table": ["SCORES", "Score", "find", "scores"],
        "variance": ["h_score", "regularized_h_score", "transrate"],
    },
)
