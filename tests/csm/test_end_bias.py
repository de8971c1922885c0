"""The end made likelier or less likely: exactly by how much, and that 0 is nothing at all."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from backtalk.csm.config import csm_tiny  # noqa: E402
from backtalk.csm.depth_policy import FixedDepth  # noqa: E402
from backtalk.csm.load import build_csm  # noqa: E402
from backtalk.csm.model import CsmModel  # noqa: E402
from backtalk.csm.speaker import CsmSpeaker, SpeakerSettings  # noqa: E402
from backtalk.csm.stopping import frame_cap  # noqa: E402
from backtalk.csm.tokenizer import ByteTokenizer  # noqa: E402
from backtalk.nn.sampling import fill_gumbel, sample  # noqa: E402
from csm.fake_decoder import FRAME, FakeDecoder  # noqa: E402
from csm.golden_weights import golden_tensors  # noqa: E402

CONFIG = csm_tiny()
TEXT = "This is a sentence that takes a while, by its words."
CAP = frame_cap(TEXT)


@pytest.fixture(scope="module")
def model() -> CsmModel:
    """Whose later codes are all alike, so that a greedy frame ends where its first code does."""
    tensors = golden_tensors(CONFIG)
    tensors["audio_head"].zero_()
    return build_csm(CONFIG, lambda entry: tensors[entry.original], "original")


def frames_said(model: CsmModel, depth: int = 8, **settings: Any) -> int:
    decoder = FakeDecoder()
    speaker = CsmSpeaker(
        model,
        decoder,
        ByteTokenizer(CONFIG.text_vocab),
        SpeakerSettings(**settings),
        lambda _: FixedDepth(depth),
        lambda: 0.0,
    )
    return sum(pcm.size // FRAME for pcm in speaker.say(TEXT))


@torch.inference_mode()
def lacking(model: CsmModel, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By how much code 0 misses being the likeliest, in every frame of a greedy speaker."""
    lacks: list[float] = []
    first_logits = CsmModel.first_logits

    def noted(self: CsmModel, hidden: Any) -> Any:
        logits = first_logits(self, hidden)
        lacks.append(float(logits[0, 0, 1:].max() - logits[0, 0, 0]))
        return logits

    with monkeypatch.context() as patched:
        patched.setattr(CsmModel, "first_logits", noted)
        frames_said(model, temperature=0.0)
    return lacks


def test_a_sentence_ends_with_the_first_frame_whose_end_the_bias_makes_likeliest(
    model: CsmModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = lacking(model, monkeypatch)
    assert len(lacks) == CAP
    lengths = []
    for bias in (0.0, *(lack + 1e-3 for lack in sorted(lacks)[:3]), 20.0):
        lengths.append(frames_said(model, temperature=0.0, end_bias=bias))
        first = next((at for at, lack in enumerate(lacks) if lack < bias), CAP)
        assert lengths[-1] == first
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (CAP, 0)


@pytest.mark.parametrize("bias", [-3.0, 0.0, 2.0, 4.0])
@torch.inference_mode()
def test_code_0_is_drawn_as_often_as_its_odds_times_e_to_the_bias(
    model: CsmModel, bias: float
) -> None:
    rows, rounds = 256, 16
    state = model.alloc(rows)
    state.temperature.fill_(1.0)
    state.end_bias.fill_(bias)
    hidden = torch.randn(1, 1, CONFIG.backbone.width, generator=torch.Generator().manual_seed(0))
    likely = float(model.first_logits(hidden)[0, 0].softmax(-1)[0])
    expected = likely * math.exp(bias) / (1 - likely + likely * math.exp(bias))
    generator = torch.Generator().manual_seed(1)
    drawn = 0
    for _ in range(rounds):
        fill_gumbel(state.noise[:, :1], [generator] * rows)
        codes = model.draw(state, hidden.expand(rows, 1, -1), 1, None)
        drawn += int((codes[:, 0] == 0).sum())
    deviation = math.sqrt(expected * (1 - expected) / (rows * rounds))
    assert abs(drawn / (rows * rounds) - expected) < 4 * deviation


@torch.inference_mode()
def test_rows_have_biases_of_their_own_and_0_changes_no_draw(model: CsmModel) -> None:
    rows = 64
    state = model.alloc(rows)
    assert not state.end_bias.any()
    state.end_bias[1::2] = 1000.0
    state.temperature.fill_(0.9)
    fill_gumbel(state.noise, [torch.Generator().manual_seed(row) for row in range(rows)])
    hidden = torch.randn(rows, 1, CONFIG.backbone.width, generator=torch.Generator().manual_seed(2))
    codes = model.draw(state, hidden, 3, 50)
    plain = sample(model.first_logits(hidden)[:, 0], state.noise[:, 0], state.temperature, 50)
    assert torch.equal(codes[::2, 0], plain[::2])
    assert not codes[1::2, 0].any()
    assert plain[1::2].any()


def test_a_frame_of_one_code_never_ends_a_sentence(model: CsmModel) -> None:
    assert frames_said(model, depth=1, temperature=0.0, end_bias=20.0) == CAP
