"""The methods by the names of the command line: one line each."""

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
            "dimensions that agree between views and repeat nothing",
            "Zbontar et al. 2021",
        ),
        _METHOD(
            "vicreg",
            "joint_embedding.VICReg",
            "views together, dimensions varying, none with another",
            "Bardes et al. 2022",
        ),
        _METHOD(
            "byol",
            "self_distillation.BYOL",
            "predict what a slow copy of the network sees in the other view",
            "Grill et al. 2020",
        ),
        _METHOD(
            "simsiam",
            "self_distillation.SimSiam",
            "predict the other view, whose side gets no gradient",
            "Chen & He 2021",
        ),
        _METHOD(
            "rotation",
            "pretext.Rotation",
            "tell by how much an image was turned",
            "Gidaris, Singh & Komodakis 2018",
        ),
        _METHOD(
            "denoising",
            "reconstruction.Denoising",
            "paint the image without its noise",
            "Vincent et al. 2008",
        ),
        _METHOD("masked", "reconstruction.Masked", "paint the patches that were hidden", "He et al. 2022"),
    ),
)
