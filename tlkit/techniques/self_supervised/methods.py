"""The registry of self-supervised methods, by their names on the command line."""

from functools import partial

from tlkit._internal.registry import Method, Registry

_METHOD = partial(Method, "tlkit.techniques.self_supervised")
METHODS = Registry(
    "self-supervised method",
    (
        _METHOD(
            "simclr",
            "joint_embedding.SimCLR",
            "find the other view of an image among all views of the batch",
            "Chen et al. 2020",
        ),
        _METHOD(
            "barlow-twins",
            "joint_embedding.BarlowTwins",
            "correlate each embedding dimension between views, and decorrelate the others",
            "Zbontar et al. 2021",
        ),
        _METHOD(
            "vicreg",
            "joint_embedding.VICReg",
            "similar views, a minimum variance of each dimension, low covariances",
            "Bardes et al. 2022",
        ),
        _METHOD(
            "byol",
            "self_distillation.BYOL",
            "predict the embedding of the other view by a moving average of the network",
            "Grill et al. 2020",
        ),
        _METHOD(
            "simsiam",
            "self_distillation.SimSiam",
            "predict the embedding of the other view, which gets no gradient",
            "Chen & He 2021",
        ),
        _METHOD(
            "rotation",
            "pretext.Rotation",
            "predict by how many quarter turns an image was rotated",
            "Gidaris, Singh & Komodakis 2018",
        ),
        _METHOD(
            "denoising",
            "reconstruction.Denoising",
            "reconstruct the image from a noisy copy",
            "Vincent et al. 2008",
        ),
        _METHOD("masked", "reconstruction.Masked", "reconstruct the hidden patches", "He et al. 2022"),
    ),
)
