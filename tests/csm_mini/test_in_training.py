"""Learning from whole sequences gives what the streaming model says one frame at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from backtalk.csm.context import RowContext  # noqa: E402
from backtalk.csm.in_training import CsmInTraining  # noqa: E402
from backtalk.csm.model import CsmModel  # noqa: E402
from backtalk.csm.new_csm import new_csm  # noqa: E402
from backtalk.csm.prompt import Positions  # noqa: E402
from backtalk.train.spoken_sequences import DepthDraw, sentences_of, stacked  # noqa: E402
from csm_mini.small_csm import TOKENS, small_config, spoken_codes  # noqa: E402

CONFIG = small_config()
TEXTS = ["One.", "Two, three.", "Four five."]


@pytest.fixture(scope="module")
def model() -> CsmModel:
    torch.manual_seed(0)
    return new_csm(CONFIG).eval()


def sequence(kind: str) -> tuple[Any, Any]:
    """Three sentences one after the other; `kind` is how many codes of a frame count."""
    spoken = spoken_codes(TEXTS, CONFIG, 5)
    found = sentences_of(spoken, TOKENS, 192)[:3]
    frames, is_sound = (torch.cat(parts) for parts in zip(*found, strict=True))
    random = np.random.default_rng(1)
    draws = {
        "full": lambda: np.full(len(frames), 4),
        "two": lambda: np.full(len(frames), 2),
        "mixed": lambda: DepthDraw(0.0, 1.0).draw(len(frames), 4, random),
    }
    return frames, torch.from_numpy(draws[kind]()) * is_sound


@torch.inference_mode()
def streamed_losses(model: CsmModel, frames: Any, depths: Any) -> tuple[list[float], list[int]]:
    """The same losses by the steps of speech: a position is taken, the codes are forced."""
    sums, counts = [0.0] * CONFIG.codebooks, [0] * CONFIG.codebooks
    mask = torch.zeros(len(frames), CONFIG.codebooks + 1, dtype=torch.bool)
    mask[:, :-1] = torch.arange(CONFIG.codebooks) < depths[:, None]
    mask[:, -1] = depths == 0
    context = RowContext(model)
    for at in range(1, len(frames) - 1):
        first = 0 if at == 1 else at
        context.take(Positions(frames[first : at + 1], mask[first : at + 1]))
        if not depths[at + 1]:
            continue
        codes, state = frames[at + 1, :-1], context.state
        # What is pending is taken in by a copy, so that it stays pending for the context.
        peek = RowContext(model)
        peek.restore(context.snapshot())
        hidden = model.take(peek.state, peek.state.pending, peek.active)
        logits = [model.first_logits(hidden)[:, 0]]
        x = torch.cat((model.projection(hidden), model._depth_input(0, codes[:1])), dim=1)
        for book in range(1, int(depths[at + 1])):
            logits.append(model.later_logits(state, book, x))
            x = model._depth_input(book, codes[book : book + 1])
        for book, row in enumerate(logits):
            sums[book] += float(F.cross_entropy(row, codes[book : book + 1]))
            counts[book] += 1
    return sums, counts


@pytest.mark.parametrize("kind", ["full", "two", "mixed"])
def test_losses_are_those_of_the_streaming_model(model: CsmModel, kind: str) -> None:
    frames, depths = sequence(kind)
    batch = stacked([(frames, depths), (frames[:20], depths[:20])], len(frames) + 3)
    alone = {name: rows[:1] for name, rows in batch.items()}
    losses = CsmInTraining(model)(alone["frames"], alone["depths"], 1.0)
    sums, counts = streamed_losses(model, frames, depths)
    assert losses.counts.tolist() == counts
    np.testing.assert_allclose(losses.sums.detach().numpy(), sums, rtol=1e-4)
    together = CsmInTraining(model)(batch["frames"], batch["depths"], 1.0)
    other = {name: rows[1:] for name, rows in batch.items()}
    rest = CsmInTraining(model)(other["frames"], other["depths"], 1.0)
    assert torch.allclose(together.sums, losses.sums + rest.sums, rtol=1e-4)


def test_codes_beyond_the_depth_are_neither_heard_nor_learnt(model: CsmModel) -> None:
    frames, depths = sequence("two")
    changed = frames.clone()
    changed[..., 2:4] = (changed[..., 2:4] + 5) % CONFIG.card
    # Whether a frame ends its sentence is read from all its codes.
    changed[(frames[:, :4] == 0).all(1), :4] = 0
    one = CsmInTraining(model)(frames[None], depths[None], 1.0)
    other = CsmInTraining(model)(changed[None], depths[None], 1.0)
    assert torch.equal(one.sums, other.sums)


def test_without_a_share_later_codebooks_learn_only_from_ends(model: CsmModel) -> None:
    frames, depths = sequence("full")
    losses = CsmInTraining(model)(frames[None], depths[None], 0.0)
    assert losses.counts.tolist() == [18, 3, 3, 3]


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    model = CsmInTraining(new_csm(CONFIG))
    frames, depths = sequence("full")
    losses = model(frames[None], depths[None], 1.0)
    (losses.first + losses.later).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_first_guesses_are_even(model: CsmModel) -> None:
    frames, depths = sequence("full")
    losses = CsmInTraining(model)(frames[None], depths[None], 1.0)
    assert float(losses.first.detach()) == pytest.approx(np.log(CONFIG.card), rel=0.1)
