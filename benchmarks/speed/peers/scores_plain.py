"""LogME, H-score, LEEP, NLEEP, TransRate and GBC as their papers print them, with nothing done to be fast.

Everything is float64, the covariances are pseudo-inverted, and classes come one after another.
"""

import numpy as np


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Log maximum evidence: an SVD of the features, then a fixed point for each class.

    You, Liu, Zhang, Wang, Jordan & Long 2022, "Ranking and Tuning Pre-trained Models", algorithm 3: alpha and
    beta start at 1, and the iteration ends when alpha / beta changes by less than 1e-3.
    """
    f = features.astype("float64")
    n, d = f.shape
    if n > d:  # by the eigenvectors of F'F, as the paper advises for many examples
        vectors, squares, _ = np.linalg.svd(f.T @ f)
        kept = squares > 1e-10 * squares[0]
        squares = squares[kept]
        u = f @ vectors[:, kept] / np.sqrt(squares)
    else:
        u, s, _ = np.linalg.svd(f, full_matrices=False)
        squares = s**2
    evidences = []
    for c in np.unique(labels):
        y = (labels == c).astype("float64")
        z2 = (u.T @ y) ** 2
        outside = max((y**2).sum() - z2.sum(), 0.0)
        alpha = beta = 1.0
        for _ in range(100):
            t = alpha / beta
            gamma = (squares / (squares + t)).sum()
            m2 = (squares * z2 / (squares + t) ** 2).sum()
            residual = (z2 / (1 + squares / t) ** 2).sum() + outside
            alpha, beta = gamma / m2, (n - gamma) / residual
            if abs(alpha / beta - t) <= 1e-3 * t:
                break
        t = alpha / beta
        m2 = (squares * z2 / (squares + t) ** 2).sum()
        residual = (z2 / (1 + squares / t) ** 2).sum() + outside
        log_det = np.log(alpha + beta * squares).sum() + (d - len(squares)) * np.log(alpha)
        evidence = d * np.log(alpha) + n * np.log(beta) - n * np.log(2 * np.pi) - log_det
        evidences.append((evidence - beta * residual - alpha * m2) / (2 * n))
    return float(np.mean(evidences))


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Trace of the pseudo-inverse of cov(f) times cov(E[f | y]).

    Bao et al. 2019, "An Information-Theoretic Approach to Transferability in Task Transfer Learning".
    """
    f = features.astype("float64")
    means = np.zeros_like(f)
    for c in np.unique(labels):
        means[labels == c] = f[labels == c].mean(axis=0)
    return float(np.trace(np.linalg.pinv(np.cov(f, rowvar=False)) @ np.cov(means, rowvar=False)))


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean log of the expected empirical prediction.

    Nguyen, Hassner, Seeger & Archambeau 2020, "LEEP: A New Measure to Evaluate Transferability".
    """
    theta, classes = probabilities.astype("float64"), np.unique(labels)
    joint = np.stack([theta[labels == c].sum(axis=0) / len(theta) for c in classes])
    conditional = joint / joint.sum(axis=0)
    predicted = theta @ conditional.T
    return float(np.log(predicted[np.arange(len(theta)), np.searchsorted(classes, labels)]).mean())


def transrate(features: np.ndarray, labels: np.ndarray) -> float:
    """Coding rate of all features less the mean one of a class, features scaled to a variance of 1 in sum.

    Huang et al. 2022, "Frustratingly Easy Transferability Estimation", algorithm 1.
    """

    def rate(z: np.ndarray) -> float:
        n, d = z.shape
        return 0.5 * float(np.linalg.slogdet(np.eye(d) + z.T @ z / (n * 1e-4))[1])

    z = features.astype("float64")
    z = z - z.mean(axis=0)
    z = z / np.sqrt(np.trace(z.T @ z / len(z)))
    classes = np.unique(labels)
    return rate(z) - sum(np.mean(labels == c) * rate(z[labels == c]) for c in classes)


def gbc(features: np.ndarray, labels: np.ndarray) -> float:
    """Minus the Bhattacharyya coefficients of all pairs of classes, as round Gaussians after a PCA to 64.

    Pándy et al. 2022, "Transferability Estimation using Bhattacharyya Class Separability".
    """
    f = features.astype("float64")
    f = f - f.mean(axis=0)
    f = f @ np.linalg.svd(f, full_matrices=False)[2][:64].T
    of = [f[labels == c] for c in np.unique(labels)]
    means, variances = [x.mean(axis=0) for x in of], [x.var(axis=0).mean() for x in of]
    total = 0.0
    for i in range(len(of)):
        for j in range(len(of)):
            if i != j:
                v = (variances[i] + variances[j]) / 2
                distance = ((means[i] - means[j]) ** 2).sum() / (8 * v)
                distance += f.shape[1] / 2 * np.log(v / np.sqrt(variances[i] * variances[j]))
                total += np.exp(-distance)
    return -float(total)
