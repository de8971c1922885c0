"""Judges of waveforms: what they see from the first step on, and that they can learn."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.nn.least_squares_losses import judging_loss  # noqa: E402
from backtalk.nn.waveform_discriminators import WaveformDiscriminators  # noqa: E402


def speech_like() -> tuple[object, object]:
    """A tone with harmonics and one without, both as loud as speech: [4, 4096] each."""
    time = torch.arange(4096) / 16_000
    pitch = torch.tensor([110.0, 140.0, 180.0, 210.0])[:, None] * 2 * torch.pi * time
    real = 0.07 * (pitch.sin() + 0.5 * (2 * pitch).sin() + 0.3 * (5 * pitch).sin())
    return real, 0.08 * pitch.sin()


def test_verdicts_of_new_judges_depend_on_what_they_hear() -> None:
    torch.manual_seed(0)
    real, _ = speech_like()
    for seen in WaveformDiscriminators(16, 0)(real):
        assert seen[-1].std() > 0.1


def test_judges_learn_within_a_hundred_steps() -> None:
    torch.manual_seed(0)
    judges = WaveformDiscriminators(16, 0)
    optimizer = torch.optim.AdamW(judges.parameters(), 1e-3, (0.8, 0.99))
    real, made = speech_like()
    for _ in range(100):
        loss = judging_loss(judges(real), judges(made))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * 2.5  # half of what five judges pay who see nothing
