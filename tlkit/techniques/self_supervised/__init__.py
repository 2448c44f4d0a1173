"""Self-supervised learning: a backbone that learns from images without labels, to be transferred afterwards.

    learner = SelfSupervised(backbone, SimCLR(random_views()))
    learner.compile("adam")
    learner.fit(images, epochs=20)
    backbone.save("backbone.keras")

Pan & Yang 2010, "A Survey on Transfer Learning", call it unsupervised transfer where neither task has labels.
To learn without them and then use a few is self-taught learning (Raina et al. 2007).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clustering": ["agreement", "clusters", "hungarian_accuracy"],
        "diagnostics": [
            *("CollapseWarning", "alignment", "effective_rank", "retrieval", "spread", "uniformity"),
        ],
        "joint_embedding": ["BarlowTwins", "SimCLR", "VICReg"],
        "learner": ["SelfSupervised"],
        "losses": ["barlow_twins", "negative_cosine", "nt_xent", "vicreg"],
        "methods": ["METHODS", "find"],
        "objective": ["Objective", "TwoViews"],
        "pretext": ["Rotation", "quarter_turns"],
        "reconstruction": ["Denoising", "Masked", "Reconstruction"],
        "self_distillation": ["BYOL", "SimSiam"],
        "views": ["random_views"],
    },
)
