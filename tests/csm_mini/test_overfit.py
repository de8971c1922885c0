"""A CSM that has learned a few sentences by heart says them again, code by code, when it speaks.

So prompt, shift, masks and ends are the same in training and in speech.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backtalk.csm.depth_policy import FixedDepth  # noqa: E402
from backtalk.csm.in_training import CsmInTraining  # noqa: E402
from backtalk.csm.model import CsmModel  # noqa: E402
from backtalk.csm.new_csm import new_csm  # noqa: E402
from backtalk.csm.speaker import CsmSpeaker, SpeakerSettings  # noqa: E402
from backtalk.csm.stopping import is_end_frame  # noqa: E402
from backtalk.train.spoken_codes import SpokenCodes  # noqa: E402
from backtalk.train.spoken_sequences import DepthDraw, Share, draw_sequences, sentences_of  # noqa: E402
from csm_mini.small_csm import TOKENS, small_config, spoken_codes  # noqa: E402

CONFIG = small_config()
TEXTS = ["One.", "Two two.", "Three?"]


class RecordingDecoder:
    """Sound that is never silent, and the codes it was made of."""

    def __init__(self) -> None:
        self.codes: list[Any] = []

    def alloc(self, slots: int) -> None:
        return None

    def step(self, state: None, x: Any, active: Any) -> Any:
        self.codes.append(x[0].numpy())
        return torch.full((1, x.shape[2] * 1920), 0.5)


@pytest.fixture(scope="module")
def spoken() -> SpokenCodes:
    return spoken_codes(TEXTS, CONFIG, 6)


@pytest.fixture(scope="module")
def model(spoken: SpokenCodes) -> CsmModel:
    """Trained until it knows them by heart, at every depth."""
    torch.manual_seed(0)
    model = new_csm(CONFIG)
    learning = CsmInTraining(model)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    random = np.random.default_rng(0)
    mixture = [Share("toys", 0.0, sentences_of(spoken, TOKENS, 48), 1.0)]
    for _ in range(150):
        batch = draw_sequences(mixture, 8, 48, DepthDraw(0.3, 0.3), random)
        losses = learning(batch["frames"], batch["depths"], 0.5)
        (losses.first + losses.later).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval().requires_grad_(False)


def said(model: CsmModel, texts: list[str], depth: int) -> list[np.ndarray]:
    """The codes of texts spoken as one reply, likeliest first: [N, frames] each."""
    decoder = RecordingDecoder()
    settings = SpeakerSettings(temperature=0.0, feedback="truncate")
    speaker = CsmSpeaker(model, decoder, TOKENS, settings, lambda _: FixedDepth(depth), lambda: 0.0)
    found = []
    for text in texts:
        decoder.codes = []
        list(speaker.say(text))
        found.append(np.concatenate(decoder.codes, axis=1))
    return found


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_it_says_every_sentence_and_ends_at_any_depth(
    model: CsmModel, spoken: SpokenCodes, depth: int
) -> None:
    for number, text in enumerate(TEXTS):
        (codes,) = said(model, [text], depth)
        assert np.array_equal(codes, spoken.of(number)[:depth]), text


def test_it_says_them_behind_one_another_in_any_order(model: CsmModel, spoken: SpokenCodes) -> None:
    order = [2, 0, 1]
    found = said(model, [TEXTS[number] for number in order], 4)
    for number, codes in zip(order, found, strict=True):
        assert np.array_equal(codes, spoken.of(number)), TEXTS[number]


def test_with_one_code_per_frame_it_says_them_too_but_cannot_say_that_it_is_over(
    model: CsmModel, spoken: SpokenCodes
) -> None:
    assert not is_end_frame([0])
    (codes,) = said(model, [TEXTS[0]], 1)
    assert np.array_equal(codes[:, :6], spoken.of(0)[:1])
    assert codes[0, 6] == 0
