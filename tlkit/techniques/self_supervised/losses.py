"""Losses that compare the embeddings of two views of the same images."""

from typing import Any

from keras import ops

EPSILON = 1e-4  # inside a square root, whose derivative at 0 is infinite


def nt_xent(first: Any, second: Any, temperature: float = 0.2) -> Any:
    """Return the contrastive loss of SimCLR: identify the other view of an image among all views.

    For each of the 2n views, it is the cross-entropy of `cosine / temperature` over the 2n - 1 other views;
    the correct class is the other view of the same image. The loss is the mean over the 2n views ("NT-Xent",
    the InfoNCE loss of a batch).

    Chen, Kornblith, Norouzi & Hinton 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations" (SimCLR); van den Oord, Li & Vinyals 2018, "Representation Learning with Contrastive
    Predictive Coding".

    Args:
        first, second: embeddings `(n, d)` of two views, with row i of both for the same image; n at least 2.
        temperature: above 0. A small temperature concentrates the loss on the nearest views of other images.

    Returns:
        A scalar, at least 0; about `log(2n - 1)` for random embeddings.
    """
    n = ops.shape(first)[0]
    unit = ops.normalize(ops.concatenate([first, second]), axis=-1)
    cosines = ops.matmul(unit, ops.transpose(unit)) / temperature
    itself = ops.eye(2 * n, dtype=cosines.dtype)
    other_view = ops.concatenate([ops.arange(n) + n, ops.arange(n)])
    return ops.mean(ops.sparse_categorical_crossentropy(other_view, cosines - 1e9 * itself, from_logits=True))


def barlow_twins(first: Any, second: Any, redundancy: float = 5e-3) -> Any:
    """Return the loss of Barlow Twins: the distance of the views' cross-correlation matrix from the identity.

    With c_ij the correlation of dimension i in the first view with dimension j in the second, it is

    `sum_i (1 - c_ii)^2 + redundancy * sum_i sum_{j != i} c_ij^2`

    Zbontar, Jing, Misra, LeCun & Deny 2021, "Barlow Twins: Self-Supervised Learning via Redundancy
    Reduction".

    Args:
        first, second: embeddings `(n, d)` of two views; n at least 2.
        redundancy: weight of the off-diagonal terms.

    Returns:
        A scalar, at least 0; about d for unrelated views.
    """
    n = ops.cast(ops.shape(first)[0], first.dtype)
    correlation = ops.matmul(ops.transpose(_standardized(first)), _standardized(second)) / n
    diagonal = ops.diagonal(correlation)
    off_diagonal = ops.sum(ops.square(correlation)) - ops.sum(ops.square(diagonal))
    return ops.sum(ops.square(1 - diagonal)) + redundancy * off_diagonal


def vicreg(
    first: Any, second: Any, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Any:
    """Return the loss of VICReg: similar views, a minimum variance of each dimension, low covariances.

    `invariance * mean |z1 - z2|^2 / d + variance * (v(z1) + v(z2)) + covariance * (c(z1) + c(z2))`

    Here `v` is the mean of `max(0, 1 - standard deviation)` over the dimensions, and `c` is the sum of the
    squared off-diagonal covariances, divided by d.

    Bardes, Ponce & LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
    Learning".

    Args:
        first, second: embeddings `(n, d)` of two views; n at least 2.
        invariance, variance, covariance: weights of the three terms; the defaults are those of the paper.

    Returns:
        A scalar, at least 0.
    """
    loss = invariance * ops.mean(ops.square(first - second))
    for embeddings in (first, second):
        spread = ops.sqrt(ops.var(embeddings, axis=0) + EPSILON)
        loss += variance * ops.mean(ops.relu(1 - spread)) + covariance * _covariances(embeddings)
    return loss


def negative_cosine(predictions: Any, targets: Any) -> Any:
    """Return the negative mean cosine between the rows of two matrices `(n, d)`: -1 (same direction) to 1."""
    prediction, target = ops.normalize(predictions, axis=-1), ops.normalize(targets, axis=-1)
    return -ops.mean(ops.sum(prediction * target, axis=-1))


def _standardized(embeddings: Any) -> Any:
    centred = embeddings - ops.mean(embeddings, axis=0)
    return centred / ops.sqrt(ops.var(embeddings, axis=0) + 1e-8)


def _covariances(embeddings: Any) -> Any:
    n, d = ops.shape(embeddings)
    centred = embeddings - ops.mean(embeddings, axis=0)
    matrix = ops.matmul(ops.transpose(centred), centred) / ops.cast(n - 1, embeddings.dtype)
    return (ops.sum(ops.square(matrix)) - ops.sum(ops.square(ops.diagonal(matrix)))) / d
