"""Domain adaptation: a labelled source and an unlabelled target, one classifier for both.

    adapter = DomainAdapter(model, DANN())
    adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    adapter.fit(pair(source, target), epochs=20)
    model.save("model.keras")

Pan & Yang 2010, "A Survey on Transfer Learning", call this transductive transfer.
"""

from tlkit._internal.registry import attach
from tlkit.techniques.domain_adaptation.methods import METHODS, STREAM_METHODS

__getattr__, __dir__, __all__ = attach(
    __name__,
    (METHODS, STREAM_METHODS),
    {
        "adapter": ["DomainAdapter"],
        "adversarial": ["reverse_gradient"],
        "alignment": ["Alignment", "Domain"],
        "combination": ["Combined"],
        "divergence": ["cmd", "coral", "coral_map", "joint_mmd", "mmd"],
        "label_shift": ["bbse", "mlls", "reweighted"],
        "methods": ["METHODS", "STREAM_METHODS", "VALIDATORS"],
        "normalization": ["match_statistics"],
        "pairs": ["Pairs", "pair"],
        "streams.adapter": ["StreamAdapter"],
        "validators": ["proxy_a_distance"],
        "voting": ["vote_on_features"],
        "weighting": ["domain_ratio", "kliep"],
    },
)
