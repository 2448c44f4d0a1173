"""Two views close together, and the whole set spread out: by contrast, or by statistics of the batch."""

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.errors import TlkitError
from tlkit.techniques.self_supervised.losses import barlow_twins, nt_xent, vicreg
from tlkit.techniques.self_supervised.objective import TwoViews


@keras.saving.register_keras_serializable("tlkit")
class SimCLR(TwoViews):
    """Find the other view of an image among all views of the batch. See `nt_xent`.

    On several devices the wrong views are those of the same device.

    Args:
        views, projector: see `TwoViews`.
        temperature: see `nt_xent`.
    """

    def __init__(
        self,
        views: keras.Layer | None = None,
        projector: Sequence[int] = (256, 128),
        temperature: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(views, projector, **options)
        if temperature <= 0:
            raise TlkitError(f"temperature={temperature} was given; expected a number above 0, such as 0.2.")
        self.temperature = temperature

    def compare(self, first: Any, second: Any, training: bool = False) -> Any:
        return nt_xent(first, second, self.temperature)


@keras.saving.register_keras_serializable("tlkit")
class BarlowTwins(TwoViews):
    """Make each dimension of the embeddings say the same in both views, and something else than the others.

    See `barlow_twins`.

    Args:
        views, projector: see `TwoViews`; wider is better here (the paper has three layers of 8,192).
        redundancy: see `barlow_twins`. The paper's 5e-3 is for 8,192 dimensions, each of which has so many
            others; with 256 and on digits, 0.05 gave better neighbours.
    """

    def __init__(
        self,
        views: keras.Layer | None = None,
        projector: Sequence[int] = (256, 256),
        redundancy: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(views, projector, **options)
        self.redundancy = redundancy

    def compare(self, first: Any, second: Any, training: bool = False) -> Any:
        return barlow_twins(first, second, self.redundancy)


@keras.saving.register_keras_serializable("tlkit")
class VICReg(TwoViews):
    """Keep views together, dimensions varying, and no two of them varying together. See `vicreg`.

    Args:
        views, projector: see `TwoViews`.
        invariance, variance, covariance: see `vicreg`.
    """

    def __init__(
        self,
        views: keras.Layer | None = None,
        projector: Sequence[int] = (256, 256),
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(views, projector, **options)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def compare(self, first: Any, second: Any, training: bool = False) -> Any:
        weights = {"invariance": self.invariance, "variance": self.variance, "covariance": self.covariance}
        return vicreg(first, second, **weights)
