"""Codebooks that learn: running means, k-means, unused centroids, and the way around a gradient."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.nn.k_means import k_means, nearest, shares_and_means  # noqa: E402
from backtalk.nn.running_centroids import UNUSED, RunningCentroids  # noqa: E402
from backtalk.nn.vector_quantizer import ResidualVectorQuantizer  # noqa: E402

DECAY = 0.9


def quantizer(levels: int = 1, cardinality: int = 2) -> ResidualVectorQuantizer:
    """One whose projections change nothing."""
    part = ResidualVectorQuantizer(2, 2, cardinality, levels)
    with torch.no_grad():
        part.input_projection.weight.copy_(torch.eye(2))
        part.output_projection.weight.copy_(torch.eye(2))
    return part


def begun(part: ResidualVectorQuantizer, centroids: list[list[float]]) -> RunningCentroids:
    """Running means that stand at these centroids with equal shares."""
    running = RunningCentroids(part, DECAY)
    places = torch.tensor(centroids).expand(part.levels, -1, -1)
    part.set_centroids(places)
    running.shares.fill_(1 / part.cardinality)
    running.means.copy_(places / part.cardinality)
    return running


ALL = torch.tensor([1])


def test_a_centroid_moves_towards_the_mean_of_the_vectors_that_chose_it() -> None:
    part = quantizer()
    running = begun(part, [[0.0, 0.0], [10.0, 0.0]])
    x = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [2.0, 3.0], [10.0, 4.0]]])
    running(part, x, ALL)
    # Three of four chose the first: its share becomes .9 * .5 + .1 * .75, its mean .1 * 6 / 4.
    first = torch.tensor([0.1 * 6 / 4, 0.1 * 3 / 4]) / (0.9 * 0.5 + 0.1 * 0.75)
    second = torch.tensor([0.9 * 5 + 0.1 * 10 / 4, 0.1 * 4 / 4]) / (0.9 * 0.5 + 0.1 * 0.25)
    torch.testing.assert_close(part.centroids[0], torch.stack((first, second)))
    torch.testing.assert_close(part.half_norms[0], part.centroids[0].square().sum(-1) / 2)


def test_nothing_moves_when_it_is_not_in_training() -> None:
    part = quantizer()
    running = begun(part, [[0.0, 0.0], [10.0, 0.0]]).eval()
    before = part.centroids.clone()
    running(part, torch.randn(1, 4, 2), ALL, reseed=True)
    assert torch.equal(part.centroids, before)


def test_a_vector_becomes_the_sum_of_the_centroids_that_the_codec_would_send() -> None:
    part = quantizer(levels=3, cardinality=8)
    torch.manual_seed(0)
    running = RunningCentroids(part, DECAY).eval()
    part.set_centroids(torch.randn(3, 8, 2))
    x = torch.randn(2, 5, 2)
    for depth in (1, 2, 3):
        made = running(part, x, torch.tensor([depth, depth])).vectors
        torch.testing.assert_close(made, part.decode(part.encode(x, depth)))


def test_every_sequence_has_a_depth_of_its_own() -> None:
    part = quantizer(levels=2, cardinality=8)
    torch.manual_seed(0)
    running = RunningCentroids(part, DECAY).eval()
    part.set_centroids(torch.randn(2, 8, 2))
    x = torch.randn(3, 5, 2)
    made = running(part, x, torch.tensor([2, 1, 0])).vectors
    torch.testing.assert_close(made[0], part.decode(part.encode(x[0], 2)))
    torch.testing.assert_close(made[1], part.decode(part.encode(x[1], 1)))
    assert torch.equal(made[2], torch.zeros(5, 2))


def test_the_gradient_passes_as_if_nothing_were_rounded() -> None:
    part = quantizer()
    running = begun(part, [[0.0, 0.0], [10.0, 0.0]])
    x = torch.tensor([[[1.0, 2.0], [7.0, 1.0]]], requires_grad=True)
    wanted = torch.tensor([[[3.0, -1.0], [0.5, 2.0]]])
    (running(part, x, ALL).vectors * wanted).sum().backward()
    torch.testing.assert_close(x.grad, wanted)


def test_a_sequence_without_codebooks_gets_no_gradient() -> None:
    part = quantizer()
    x = torch.randn(1, 3, 2, requires_grad=True)
    begun(part, [[0.0, 0.0], [1.0, 0.0]])(part, x, torch.tensor([0])).vectors.sum().backward()
    assert torch.equal(x.grad, torch.zeros(1, 3, 2))


def test_commitment_is_the_mean_squared_distance_over_the_levels_in_use() -> None:
    part = quantizer(levels=2)
    running = begun(part, [[0.0, 0.0], [4.0, 0.0]]).eval()
    x = torch.tensor([[[1.0, 0.0]], [[5.0, 2.0]]], requires_grad=True)
    # The first vector is 1 from its centroid on both levels, the second (1, 2) on the one it uses.
    expected = ((1 / 2) + (1 / 2) + (5 / 2)) / 3
    commitment = running(part, x, torch.tensor([2, 1])).commitment
    torch.testing.assert_close(commitment, torch.tensor(expected))
    commitment.backward()
    torch.testing.assert_close(x.grad[1, 0], torch.tensor([1.0, 2.0]) / 3)


def test_an_unused_centroid_is_put_onto_a_vector_of_the_batch() -> None:
    part = quantizer(cardinality=4)
    running = begun(part, [[0.0, 0.0], [1.0, 0.0], [50.0, 50.0], [0.0, 1.0]])
    running.shares[0, 2] = 0.5 * UNUSED / 4
    running.means[0, 2] = torch.tensor([50.0, 50.0]) * running.shares[0, 2]
    x = 0.1 * torch.randn(1, 20, 2)
    running(part, x, ALL, reseed=False)
    assert part.centroids[0, 2].min() > 49
    running(part, x, ALL, reseed=True)
    distances = (x[0] - part.centroids[0, 2]).norm(dim=-1)
    assert distances.min() < 1e-6
    assert running.shares[0, 2] == pytest.approx(1 / 4)


def test_k_means_finds_clusters_that_are_apart() -> None:
    torch.manual_seed(3)
    places = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = (places[:, None] + 0.1 * torch.randn(3, 40, 2)).flatten(0, 1)
    centroids, shares = k_means(x, 12)
    assert shares.sum() == pytest.approx(1.0)
    assert (x - centroids[nearest(x, centroids)]).norm(dim=-1).max() < 1


def test_k_means_with_fewer_vectors_than_centroids_repeats_them() -> None:
    x = torch.randn(3, 2)
    centroids, shares = k_means(x, 8)
    assert centroids.shape == (8, 2)
    assert int((shares > 0).sum()) <= 3


def test_shares_and_means_are_those_of_the_members() -> None:
    x = torch.tensor([[1.0], [3.0], [8.0], [4.0]])
    shares, means = shares_and_means(x, torch.tensor([0, 0, 2, 2]), 3)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.0, 0.5]))
    torch.testing.assert_close(means[:, 0], torch.tensor([1.0, 0.0, 3.0]))


def test_beginning_puts_every_level_where_the_ones_before_leave_something_over() -> None:
    torch.manual_seed(0)
    part = quantizer(levels=3, cardinality=16)
    running = RunningCentroids(part, DECAY)
    x = torch.randn(400, 2)
    running.begin(part, x)
    errors = [(x - part.decode(part.encode(x, depth))).square().mean() for depth in (1, 2, 3)]
    assert errors[0] < 0.2
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.5 * errors[1]
    assert torch.isfinite(running.means / running.shares[..., None]).all()


def test_before_there_are_centroids_vectors_pass_both_projections() -> None:
    part = ResidualVectorQuantizer(4, 2, 8, 1)
    x = torch.randn(1, 3, 4)
    made = RunningCentroids(part, DECAY).unrounded(part, x)
    torch.testing.assert_close(made.vectors, part.output_projection(part.input_projection(x)))
    assert made.commitment == 0
