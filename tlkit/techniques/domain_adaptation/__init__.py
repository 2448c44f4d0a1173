"""Domain adaptation: a labelled source and an unlabelled target, one classifier for both.

    adapter = DomainAdapter(model, DANN())
    adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    adapter.fit(pair(source, target), epochs=20)
    model.save("model.keras")

Each method is one file with its equation and its paper. Pan & Yang 2010, "A Survey on Transfer Learning",
call this transductive transfer.
"""

from tlkit._internal.registry import attach
from tlkit.techniques.domain_adaptation.methods import METHODS

__getattr__, __dir__, __all__ = attach(
    __name__,
    (METHODS,),
    {
        "adabn": ["match_statistics"],
        "adapter": ["DomainAdapter"],
        "alignment": ["Alignment", "Domain"],
        "combined": ["Combined"],
        "correlation_alignment": ["coral", "coral_map", "matched_moments"],
        "dan": ["mmd"],
        "dann": ["reverse_gradient"],
        "importance_weighting": ["kliep"],
        "jan": ["joint_mmd"],
        "label_shift": ["bbse", "mlls", "reweighted"],
        "methods": ["METHODS", "VALIDATORS"],
        "pairs": ["Pairs", "pair"],
        "validators": ["proxy_a_distance"],
    },
)
