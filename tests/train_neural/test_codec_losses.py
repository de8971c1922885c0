"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from backtalk.nn.adversarial_losses import (  # noqa: E402
    deceiving_loss,
    feature_distance,
    judging_loss,
)
from backtalk.nn.mel_distance import MelDistance, mel_filters  # noqa: E402
from backtalk.nn.stft_discriminator import MultiScaleDiscriminator  # noqa: E402
from backtalk.train.learning_rate import rate_share  # noqa: E402
from backtalk.train.mimi_in_training import meaning_loss  # noqa: E402


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_judges_want_real_sound_above_one_and_made_sound_below_minus_one() -> None:
    real = [[tensor(0.0), tensor(2.0, 0.0)], [tensor(1.0)]]
    made = [[tensor(0.0), tensor(-3.0, 1.0)], [tensor(-1.0)]]
    # First scale: (0 + 1) / 2 + (0 + 2) / 2; second: nothing.
    assert judging_loss(real, made) == pytest.approx((0.5 + 1.0 + 0.0) / 2)


def test_the_generator_wants_verdicts_above_one() -> None:
    made = [[tensor(9.0), tensor(-3.0, 1.0)], [tensor(0.5)]]
    assert deceiving_loss(made) == pytest.approx((2.0 + 0.5) / 2)


def test_feature_distance_is_relative_and_leaves_the_verdict_out() -> None:
    real = [[tensor(2.0, -2.0), tensor(4.0), tensor(100.0)]]
    made = [[tensor(1.0, -2.0), tensor(5.0), tensor(-100.0)]]
    assert feature_distance(real, made) == pytest.approx((0.5 / 2 + 1 / 4) / 2)


def test_features_of_real_sound_get_no_gradient() -> None:
    real, made = tensor(1.0, 2.0).requires_grad_(), tensor(0.0, 0.0).requires_grad_()
    feature_distance([[real, tensor(0.0)]], [[made, tensor(0.0)]]).backward()
    assert real.grad is None
    assert made.grad.abs().min() > 0


def test_meaning_is_the_cosine_distance() -> None:
    guessed = torch.tensor([[[2.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]])
    states = torch.tensor([[[1.0, 0.0], [5.0, 0.0], [3.0, 0.0]]])
    assert meaning_loss(guessed, states) == pytest.approx(1 - (1 + math.sqrt(0.5) - 1) / 3)


def test_a_sound_half_as_loud_is_the_logarithm_of_two_away() -> None:
    pcm = 0.3 * torch.randn(2, 6000, generator=torch.manual_seed(0))
    distance = MelDistance(24_000, (1024, 256))(pcm, pcm / 2)
    assert distance == pytest.approx(math.log10(2), abs=0.002)


def test_a_sound_has_no_distance_from_itself_and_silence_none_from_silence() -> None:
    mel = MelDistance(24_000, (512,))
    pcm = torch.randn(1, 2000)
    assert mel(pcm, pcm) == 0
    assert mel(torch.zeros(1, 2000), 1e-6 * pcm) < 0.01


def test_the_gradient_of_silence_is_finite() -> None:
    pcm = torch.zeros(1, 2000, requires_grad=True)
    MelDistance(24_000, (512,))(pcm, torch.randn(1, 2000)).backward()
    assert torch.isfinite(pcm.grad).all()


@pytest.mark.parametrize("window", [256, 512, 1024, 2048])
def test_mel_bands_cover_everything_and_each_adds_up_to_one(window: int) -> None:
    filters = mel_filters(24_000, window, window // 16)
    torch.testing.assert_close(filters.sum(1), torch.ones(window // 16))
    assert (filters[:, 1:-1].sum(0) > 0).all()


def test_judges_see_both_channels_of_every_scale() -> None:
    torch.manual_seed(0)
    judges = MultiScaleDiscriminator((256, 128), 4)
    seen = judges(torch.randn(3, 1920))
    assert [len(scale) for scale in seen] == [6, 6]
    assert seen[0][-1].shape[:2] == (3, 1)
    # Three convolutions halve the 129 bins; frames stay.
    assert seen[0][3].shape == (3, 4, 1920 // 64 + 1, 17)


def test_judges_learn_to_tell_noise_from_a_tone() -> None:
    torch.manual_seed(0)
    judges = MultiScaleDiscriminator((256,), 4)
    optimizer = torch.optim.AdamW(judges.parameters(), 0.01)
    time_s = torch.arange(1920) / 24_000
    losses = []
    for _ in range(60):
        real = 0.3 * torch.sin(2 * math.pi * (300 + 300 * torch.rand(4, 1)) * time_s)
        loss = judging_loss(judges(real), judges(0.2 * torch.randn(4, 1920)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1.5
    assert losses[-1] < 0.5


def test_the_rate_goes_up_in_a_line_and_down_along_a_cosine() -> None:
    shares = [rate_share(step, 100, 4, 0.1) for step in range(101)]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shares[52] == pytest.approx(0.55)
    assert shares[100] == pytest.approx(0.1)
