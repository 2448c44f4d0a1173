"""Domain adaptation: a labelled source and an unlabelled target, one classifier for both.

    adapter = DomainAdapter(model, DANN())
    adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    adapter.fit(pair(source, target), epochs=20)
    model.save("model.keras")

Pan & Yang 2010, "A Survey on Transfer Learning", call this transductive transfer.
"""

from tlkit.techniques.domain_adaptation.adapter import DomainAdapter
from tlkit.techniques.domain_adaptation.adversarial import ADDA, CDAN, DANN, MCD, MDD, WDGRL, reverse_gradient
from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain
from tlkit.techniques.domain_adaptation.divergence import (
    AFN,
    CMD,
    JAN,
    MMD,
    ClosedFormCORAL,
    DeepCORAL,
    cmd,
    coral,
    coral_map,
    joint_mmd,
    mmd,
)
from tlkit.techniques.domain_adaptation.methods import METHODS, Method, find
from tlkit.techniques.domain_adaptation.normalization import TENT, AdaBN
from tlkit.techniques.domain_adaptation.pairs import Pairs, pair
from tlkit.techniques.domain_adaptation.predictions import MCC, MinimumEntropy, PseudoLabel
from tlkit.techniques.domain_adaptation.selection import SCORES, proxy_a_distance
from tlkit.techniques.domain_adaptation.weighting import KLIEP, DomainRatio, domain_ratio, kliep

__all__ = [
    "ADDA",
    "AFN",
    "CDAN",
    "CMD",
    "DANN",
    "JAN",
    "KLIEP",
    "MCC",
    "MCD",
    "MDD",
    "METHODS",
    "MMD",
    "SCORES",
    "TENT",
    "WDGRL",
    "AdaBN",
    "Alignment",
    "ClosedFormCORAL",
    "DeepCORAL",
    "Domain",
    "DomainAdapter",
    "DomainRatio",
    "Method",
    "MinimumEntropy",
    "Pairs",
    "PseudoLabel",
    "cmd",
    "coral",
    "coral_map",
    "domain_ratio",
    "find",
    "joint_mmd",
    "kliep",
    "mmd",
    "pair",
    "proxy_a_distance",
    "reverse_gradient",
]
