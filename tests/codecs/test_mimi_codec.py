"""Mimi as the rest of Backtalk sees it: any chunks, any rate, and codes that cannot be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")


from backtalk.audio.resample import resample  # noqa: E402
from backtalk.codecs.mimi.config import mimi_small  # noqa: E402
from backtalk.codecs.mimi.mimi_codec import MimiCodec  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi  # noqa: E402
from backtalk.codecs.mimi.round_weights import round_weights  # noqa: E402
from backtalk.errors import AudioError, ConfigError  # noqa: E402
from backtalk.stream.check import check_schedules  # noqa: E402

SMALL = mimi_small()


@pytest.fixture(scope="module")
def codec() -> MimiCodec:
    return MimiCodec(random_mimi(1, SMALL), num_codebooks=3)


def noise(samples: int) -> Any:
    rng = np.random.default_rng(0)
    return (0.3 * rng.standard_normal(samples)).clip(-1, 1).astype(np.float32)


def test_any_chunks_of_sound_give_the_codes_of_the_whole(codec: MimiCodec) -> None:
    pcm = noise(30 * SMALL.frame_size + 5)
    codes = codec.encode(pcm)
    assert codes.shape == (3, 31)
    check_schedules(codec.open_encoder, pcm, offline=codes)


def test_sound_of_another_rate_is_resampled_at_the_edge(codec: MimiCodec) -> None:
    pcm = noise(4000)
    codes = codec.encode(pcm, sample_rate=16_000)
    assert np.array_equal(codes, codec.encode(resample(pcm, 16_000, codec.sample_rate)))
    assert codes.shape[1] == -(-6000 // SMALL.frame_size)
    check_schedules(
        lambda: codec.open_encoder(16_000), pcm, offline=codes, schedules=[[160] * 25, [1, 3999]]
    )


def test_any_chunks_of_codes_give_the_sound_of_the_whole(codec: MimiCodec) -> None:
    codes = codec.encode(noise(40 * SMALL.frame_size))
    pcm = codec.decode(codes)
    assert pcm.shape == (40 * SMALL.frame_size,)
    assert pcm.dtype == np.float32

    class ByFrame:
        """Frames on the time axis, so that the checker may cut between them."""

        def __init__(self) -> None:
            self.stream = codec.open_decoder()

        def push(self, x: Any) -> Any:
            return self.stream.push(x).reshape(-1, SMALL.frame_size).T

        def flush(self) -> Any:
            return self.stream.flush().reshape(-1, SMALL.frame_size).T

    atol = 1e-5 * float(np.abs(pcm).max())
    check_schedules(ByFrame, codes, offline=pcm.reshape(-1, SMALL.frame_size).T, atol=atol)


def test_codes_decode_at_another_rate(codec: MimiCodec) -> None:
    codes = codec.encode(noise(20 * SMALL.frame_size))
    pcm = codec.decode(codes).clip(-1, 1)
    expected = resample(codec.decode(codes), codec.sample_rate, 8000)
    assert np.array_equal(codec.decode(codes, sample_rate=8000), expected)
    assert expected.size == round(pcm.size / 3)


def test_two_streams_of_one_codec_do_not_hear_each_other(codec: MimiCodec) -> None:
    pcm = noise(8 * SMALL.frame_size)
    first, second = codec.open_encoder(), codec.open_encoder()
    pieces = []
    for at in range(0, pcm.size, SMALL.frame_size):
        pieces.append(first.push(pcm[at : at + SMALL.frame_size]))
        second.push(noise(SMALL.frame_size))
    assert np.array_equal(np.concatenate(pieces, axis=1), codec.encode(pcm))


def test_nothing_encodes_as_nothing(codec: MimiCodec) -> None:
    assert codec.encode(np.zeros(0, np.float32)).shape == (3, 0)
    assert codec.decode(np.zeros((3, 0), np.int64)).shape == (0,)


@pytest.mark.parametrize("codebooks", [0, 5, -1])
def test_a_number_of_codebooks_that_cannot_be_had_is_refused(codebooks: int) -> None:
    with pytest.raises(ConfigError, match="1 to 4"):
        MimiCodec(random_mimi(1, SMALL), codebooks)


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        (np.full((2, 3), 32), "0 to 31"),
        (np.full((2, 3), -1), "0 to 31"),
        (np.zeros((5, 3), np.int64), "1 to 4 codebooks"),
        (np.zeros((0, 3), np.int64), "1 to 4 codebooks"),
        (np.zeros(3, np.int64), "(3,)"),
        (np.zeros((2, 3), np.float32), "integers"),
    ],
)
def test_codes_that_cannot_be_are_refused(codec: MimiCodec, codes: Any, says: str) -> None:
    with pytest.raises(AudioError, match=re.escape(says)):
        codec.decode(codes)


@torch.inference_mode()
def test_part_of_a_frame_is_refused_by_a_step(codec: MimiCodec) -> None:
    part = codec.model.encoder
    active = torch.tensor([True])
    for samples in (0, SMALL.frame_size - 1, SMALL.frame_size + 1):
        with pytest.raises(ValueError, match="whole frames"):
            part.step(part.alloc(1), torch.zeros(1, samples), active)


def test_weights_of_8_bits_sound_nearly_the_same() -> None:
    codes = np.random.default_rng(0).integers(0, 32, (4, 30))
    right = MimiCodec(random_mimi(1, SMALL), 4).decode(codes)
    rounded = MimiCodec(round_weights(random_mimi(1, SMALL), "int8"), 4).decode(codes)
    noise_energy = np.square(rounded - right).sum()
    assert 0 < noise_energy < 1e-2 * np.square(right).sum()
