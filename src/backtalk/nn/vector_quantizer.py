"""Residual vector quantization: a vector as a few code numbers, each the nearest centroid to what
the ones before left over.

Split residual quantization (Moshi, arXiv 2410.00037, section 3.3) is two of them beside each other
on the same vector, the first with one level for meaning and the second with the rest for sound.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualVectorQuantizer(nn.Module):
    """Levels of centroids between two projections.

    Attributes:
        centroids: `[levels, cardinality, codebook_dim]`.
        half_norms: half of each centroid's squared length, `[levels, cardinality]`.

    Args:
        dim: size of a vector.
        codebook_dim: size of a centroid.
        cardinality: centroids per level.
        levels: how many code numbers a vector can have at most.
    """

    centroids: Tensor
    half_norms: Tensor

    def __init__(self, dim: int, codebook_dim: int, cardinality: int, levels: int) -> None:
        super().__init__()
        self.cardinality = cardinality
        self.levels = levels
        self.input_projection = nn.Linear(dim, codebook_dim, bias=False)
        self.output_projection = nn.Linear(codebook_dim, dim, bias=False)
        self.register_buffer("centroids", torch.zeros(levels, cardinality, codebook_dim))
        self.register_buffer("half_norms", torch.zeros(levels, cardinality))

    def set_centroids(self, centroids: Tensor) -> None:
        """Take `centroids`, `[levels, cardinality, codebook_dim]`."""
        self.centroids.copy_(centroids)
        self.half_norms.copy_(self.centroids.square().sum(-1) / 2)

    def encode(self, x: Tensor, levels: int) -> Tensor:
        """The codes of vectors.

        Args:
            x: `[..., dim]`.
            levels: how many codes to give, 0 to `self.levels`.
        Returns:
            int64 `[levels, ...]`.
        """
        shape = x.shape[:-1]
        residual = self.input_projection(x).flatten(0, -2)
        codes = x.new_empty((levels, residual.shape[0]), dtype=torch.int64)
        for level in range(levels):
            centroids = self.centroids[level]
            # The nearest centroid c to r has the largest r.c - |c|^2 / 2; |r|^2 is common to all.
            closeness = torch.addmm(self.half_norms[level], residual, centroids.t(), beta=-1)
            torch.argmax(closeness, dim=1, out=codes[level])
            residual = residual - centroids[codes[level]]
        return codes.view(levels, *shape)

    def decode(self, codes: Tensor) -> Tensor:
        """The vectors of codes.

        Args:
            codes: int64 `[levels, ...]`, 1 to `self.levels` levels, each 0 to `cardinality - 1`.
        Returns:
            `[..., dim]`.
        """
        levels = codes.shape[0]
        first = torch.arange(levels, device=codes.device) * self.cardinality
        rows = codes + first.view(levels, *[1] * (codes.dim() - 1))
        chosen = self.centroids.flatten(0, 1)[rows]
        return self.output_projection(chosen.sum(0))


class SplitResidualVectorQuantizer(nn.Module):
    """Two residual quantizers of the same vector, whose decoded vectors are added.

    Args:
        dim, codebook_dim, cardinality: as of `ResidualVectorQuantizer`.
        semantic_codebooks: levels of the first.
        acoustic_codebooks: levels of the second.
    """

    def __init__(
        self,
        dim: int,
        codebook_dim: int,
        cardinality: int,
        semantic_codebooks: int,
        acoustic_codebooks: int,
    ) -> None:
        super().__init__()
        self.semantic = ResidualVectorQuantizer(dim, codebook_dim, cardinality, semantic_codebooks)
        self.acoustic = ResidualVectorQuantizer(dim, codebook_dim, cardinality, acoustic_codebooks)

    def encode(self, x: Tensor, num_codebooks: int) -> Tensor:
        """Vectors `[slots, T, dim]` to codes int64 `[slots, num_codebooks, T]`, semantic first."""
        semantic = min(num_codebooks, self.semantic.levels)
        codes = [self.semantic.encode(x, semantic)]
        if num_codebooks > semantic:
            codes.append(self.acoustic.encode(x, num_codebooks - semantic))
        return torch.cat(codes).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 `[slots, codebooks, T]` to vectors `[slots, T, dim]`."""
        by_level = codes.transpose(0, 1)
        semantic = self.semantic.levels
        x = self.semantic.decode(by_level[:semantic])
        if by_level.shape[0] > semantic:
            x = x + self.acoustic.decode(by_level[semantic:])
        return x
