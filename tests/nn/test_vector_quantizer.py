"""Residual quantizers: the nearest centroid at every level, and sums of them back."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.nn.vector_quantizer import (  # noqa: E402
    ResidualVectorQuantizer,
    SplitResidualVectorQuantizer,
)

DIM, CODEBOOK_DIM, CARDINALITY = 6, 4, 16


def make(semantic: int, acoustic: int) -> SplitResidualVectorQuantizer:
    torch.manual_seed(0)
    part = SplitResidualVectorQuantizer(DIM, CODEBOOK_DIM, CARDINALITY, semantic, acoustic)
    for quantizer in (part.semantic, part.acoustic):
        quantizer.set_centroids(torch.randn(quantizer.levels, CARDINALITY, CODEBOOK_DIM))
    return part.requires_grad_(False)


def nearest(quantizer: ResidualVectorQuantizer, x: torch.Tensor, levels: int) -> torch.Tensor:
    """Level by level, by distances written out: [N, dim] to [levels, N]."""
    residual = x @ quantizer.input_projection.weight.T
    codes = []
    for centroids in quantizer.centroids[:levels]:
        distances = (residual[:, None] - centroids).square().sum(-1)
        codes.append(distances.argmin(-1))
        residual = residual - centroids[codes[-1]]
    return torch.stack(codes)


@torch.inference_mode()
def test_every_level_takes_the_nearest_centroid_to_what_is_left() -> None:
    part = make(1, 3)
    x = torch.randn(2, 5, DIM)
    codes = part.encode(x, 4)
    assert codes.shape == (2, 4, 5)
    flat = x.flatten(0, 1)
    expected = torch.cat((nearest(part.semantic, flat, 1), nearest(part.acoustic, flat, 3)))
    assert torch.equal(codes.transpose(0, 1).flatten(1), expected)


@torch.inference_mode()
def test_fewer_codebooks_are_the_first_of_all() -> None:
    part = make(1, 3)
    x = torch.randn(2, 5, DIM)
    every = part.encode(x, 4)
    for n in range(1, 5):
        assert torch.equal(part.encode(x, n), every[:, :n])


@torch.inference_mode()
def test_codes_decode_to_the_sum_of_their_centroids() -> None:
    part = make(2, 3)
    codes = torch.randint(0, CARDINALITY, (2, 5, 7))
    first = sum(part.semantic.centroids[k][codes[:, k]] for k in range(2))
    rest = sum(part.acoustic.centroids[k][codes[:, 2 + k]] for k in range(3))
    semantic = part.semantic.output_projection(first)
    expected = semantic + part.acoustic.output_projection(rest)
    torch.testing.assert_close(part.decode(codes), expected)
    torch.testing.assert_close(part.decode(codes[:, :2]), semantic)


@torch.inference_mode()
def test_a_centroid_encodes_as_itself() -> None:
    part = ResidualVectorQuantizer(CODEBOOK_DIM, CODEBOOK_DIM, CARDINALITY, 1)
    part.input_projection.weight.copy_(torch.eye(CODEBOOK_DIM))
    part.output_projection.weight.copy_(torch.eye(CODEBOOK_DIM))
    centroids = torch.randn(1, CARDINALITY, CODEBOOK_DIM)
    part.set_centroids(centroids)
    codes = part.encode(centroids[0], 1)
    assert codes.tolist() == [list(range(CARDINALITY))]
    torch.testing.assert_close(part.decode(codes), centroids[0])
