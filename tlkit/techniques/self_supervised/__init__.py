"""Self-supervised learning: pretrain a backbone on images without labels, and transfer it afterwards.

    learner = SelfSupervised(backbone, SimCLR(random_views()))
    learner.compile("adam")
    learner.fit(images, epochs=20)
    backbone.save("backbone.keras")

Pan & Yang 2010, "A Survey on Transfer Learning", call transfer without labels for either task *unsupervised
transfer learning*. Pretraining without labels and then using a few labels is *self-taught learning* (Raina et
al. 2007).
"""

from tlkit._internal.registry import attach
from tlkit.techniques.self_supervised.methods import METHODS

__getattr__, __dir__, __all__ = attach(
    __name__,
    (METHODS,),
    {
        "clustering": ["agreement", "clusters", "hungarian_accuracy"],
        "diagnostics": [
            *("CollapseWarning", "alignment", "effective_rank", "retrieval", "spread", "uniformity"),
        ],
        "learner": ["SelfSupervised"],
        "losses": ["barlow_twins", "negative_cosine", "nt_xent", "vicreg"],
        "methods": ["METHODS"],
        "objective": ["Objective", "TwoViews"],
        "pretext": ["quarter_turns"],
        "reconstruction": ["Reconstruction"],
        "views": ["random_views"],
    },
)
