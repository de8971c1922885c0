"""k-means: centroids that are the mean of the vectors nearest to them."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """The number of the nearest centroid of every vector.

    Args:
        x: float [N, D].
        centroids: float [K, D].
    Returns:
        int64 [N].
    """
    # |x - c|^2 less |x|^2, which is common to all.
    return torch.addmm(centroids.square().sum(-1), x, centroids.t(), alpha=-2).argmin(dim=1)


def shares_and_means(x: Tensor, chosen: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """What part of the vectors chose each cluster, and the mean over all vectors of those.

    The quotient of the two is the mean of a cluster.

    Args:
        x: float [N, D].
        chosen: int64 [N], 0 to `clusters - 1`.
    Returns:
        float [clusters] that add up to 1, and float [clusters, D].
    """
    # A product instead of a scattered sum: the same order of additions every time, on any device.
    members = torch.nn.functional.one_hot(chosen, clusters).to(x.dtype).t() / x.shape[0]
    return members.sum(1), members @ x


def k_means(x: Tensor, clusters: int, rounds: int = 50) -> tuple[Tensor, Tensor]:
    """Cluster vectors, beginning with some of them, drawn from PyTorch's global generator.

    A cluster that nothing chooses keeps its centroid.

    Args:
        x: float [N, D]; N may be below `clusters`, then vectors are drawn more than once.
        rounds: of assigning and averaging.
    Returns:
        Centroids [clusters, D], and the share of the vectors that each has, [clusters].
    """
    if x.shape[0] >= clusters:
        first = torch.randperm(x.shape[0], device=x.device)[:clusters]
    else:
        first = torch.randint(x.shape[0], (clusters,), device=x.device)
    centroids = x[first].clone()
    shares = x.new_zeros(clusters)
    for _ in range(rounds):
        shares, means = shares_and_means(x, nearest(x, centroids), clusters)
        has_members = (shares > 0)[:, None]
        centroids = torch.where(has_members, means / shares[:, None].clamp(min=1e-12), centroids)
    return centroids, shares
