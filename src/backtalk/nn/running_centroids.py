"""How a residual quantizer learns its centroids: as running means, without a gradient.

Every centroid follows the mean of the vectors that chose it (van den Oord et al. 2017, arXiv
1711.00937, appendix A.1). Gradients pass the quantizer as if it were not there (straight-through);
a commitment loss keeps the vectors near their centroids. A centroid that hardly anything chooses is
put onto a vector of the batch (Jukebox, arXiv 2005.00341; SoundStream, arXiv 2107.03312).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from backtalk.nn.k_means import k_means, nearest, shares_and_means
from backtalk.nn.vector_quantizer import ResidualVectorQuantizer

UNUSED = 0.1
"""A centroid is unused if its share is below this part of an equal share."""


class Quantized(NamedTuple):
    """Vectors after a quantizer.

    Attributes:
        vectors: [B, T, dim], with the gradient of the unquantized ones.
        commitment: mean squared distance to the centroids, over the levels that were used.
    """

    vectors: Tensor
    commitment: Tensor


class RunningCentroids(nn.Module):
    """The running means of one quantizer's levels.

    The quantizer itself is handed in, because its weights belong to the model.

    Attributes:
        shares: part of the vectors that choose each centroid, running, `[levels, cardinality]`.
        means: of the vectors that chose it, times that share, `[levels, cardinality, dim]`.

    Args:
        quantizer: whose sizes to take.
        decay: of the running means, per step.
    """

    shares: Tensor
    means: Tensor

    def __init__(self, quantizer: ResidualVectorQuantizer, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("shares", torch.zeros(quantizer.centroids.shape[:2]))
        self.register_buffer("means", torch.zeros(quantizer.centroids.shape))

    @torch.no_grad()
    def begin(self, quantizer: ResidualVectorQuantizer, x: Tensor) -> None:
        """Put all centroids where k-means finds clusters, level after level.

        Args:
            x: float [N, dim], what the quantizer will be given.
        """
        residual = quantizer.input_projection(x.float())
        found = []
        for level in range(quantizer.levels):
            centroids, shares = k_means(residual, quantizer.cardinality)
            # What found no vector keeps a share that is small enough to be moved soon.
            shares = shares.clamp(min=UNUSED / 2 / quantizer.cardinality)
            found.append(centroids)
            self.shares[level] = shares
            self.means[level] = centroids * shares[:, None]
            residual = residual - centroids[nearest(residual, centroids)]
        quantizer.set_centroids(_from_first_device(torch.stack(found)))
        _from_first_device(self.shares)
        _from_first_device(self.means)

    def forward(
        self, quantizer: ResidualVectorQuantizer, x: Tensor, depth: Tensor, *, reseed: bool = False
    ) -> Quantized:
        """Quantize; in training mode, let the centroids follow.

        All levels learn from all vectors; `depth` only decides which levels make a vector up.

        Args:
            x: float [B, T, dim].
            depth: int64 [B], levels to use of each sequence, 0 to all.
            reseed: whether to move centroids that are unused.
        """
        projected = quantizer.input_projection(x)
        with torch.autocast(x.device.type, enabled=False):
            total, commitment = self._levels(quantizer, projected.float(), depth, reseed)
        straight = projected + (total - projected).detach()
        straight = torch.where((depth > 0)[:, None, None], straight, torch.zeros_like(straight))
        return Quantized(quantizer.output_projection(straight), commitment)

    def unrounded(self, quantizer: ResidualVectorQuantizer, x: Tensor) -> Quantized:
        """As `forward`, but as if every vector were a centroid: before there are any."""
        y: Tensor = quantizer.output_projection(quantizer.input_projection(x))
        return Quantized(y, y.new_zeros(()))

    def _levels(
        self, quantizer: ResidualVectorQuantizer, x: Tensor, depth: Tensor, reseed: bool
    ) -> tuple[Tensor, Tensor]:
        """Sum of the centroids, [B, T, codebook_dim], and the commitment loss."""
        residual, total = x, torch.zeros_like(x)
        distance, used = x.new_zeros(()), x.new_zeros(())
        learned = []
        for level in range(quantizer.levels):
            centroids = quantizer.centroids[level]
            flat = residual.detach().flatten(0, 1)
            codes = nearest(flat, centroids)
            chosen = centroids[codes].view_as(residual)
            is_used = (depth > level).to(x.dtype)
            distance = distance + ((residual - chosen).square().mean((1, 2)) * is_used).sum()
            used = used + is_used.sum()
            total = total + chosen * is_used[:, None, None]
            residual = residual - chosen
            if self.training:
                learned.append(self._follow(level, flat, codes, reseed))
        if learned:
            quantizer.set_centroids(torch.stack(learned))
        return total, distance / used.clamp(min=1.0)

    @torch.no_grad()
    def _follow(self, level: int, x: Tensor, codes: Tensor, reseed: bool) -> Tensor:
        """Move the running means towards this batch; the centroids that they make."""
        cardinality = self.shares.shape[1]
        shares, means = shares_and_means(x, codes, cardinality)
        self.shares[level].lerp_(_mean_of_devices(shares), 1 - self.decay)
        self.means[level].lerp_(_mean_of_devices(means), 1 - self.decay)
        if reseed:
            equal = 1 / cardinality
            is_unused = self.shares[level] < UNUSED * equal
            drawn = x[torch.randint(x.shape[0], (cardinality,), device=x.device)]
            drawn = _from_first_device(drawn.contiguous())
            self.shares[level].masked_fill_(is_unused, equal)
            self.means[level] = torch.where(is_unused[:, None], drawn * equal, self.means[level])
        return self.means[level] / self.shares[level][:, None].clamp(min=1e-12)


def _mean_of_devices(x: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(x)
        x = x / torch.distributed.get_world_size()
    return x


def _from_first_device(x: Tensor) -> Tensor:
    """What the first of several devices has, written into `x`."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast(x, 0)
    return x
