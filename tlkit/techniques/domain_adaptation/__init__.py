"""Domain adaptation: a labelled source and an unlabelled target, one classifier for both.

    adapter = DomainAdapter(model, DANN())
    adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    adapter.fit(pair(source, target), epochs=20)
    model.save("model.keras")

Pan & Yang 2010, "A Survey on Transfer Learning", call this transductive transfer.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adapter": ["DomainAdapter"],
        "adversarial": ["ADDA", "CDAN", "DANN", "reverse_gradient"],
        "alignment": ["Alignment", "Domain"],
        "discrepancy": ["MCD", "MDD", "WDGRL"],
        "divergence": [
            *("AFN", "CMD", "JAN", "MMD", "ClosedFormCORAL", "DeepCORAL"),
            *("cmd", "coral", "coral_map", "joint_mmd", "mmd"),
        ],
        "methods": ["METHODS", "Method", "find"],
        "normalization": ["TENT", "AdaBN"],
        "pairs": ["Pairs", "pair"],
        "predictions": ["MCC", "MinimumEntropy", "PseudoLabel"],
        "selection": ["SCORES", "proxy_a_distance"],
        "weighting": ["KLIEP", "DomainRatio", "domain_ratio", "kliep"],
    },
)
