"""The ONNX graph in steps: as the authors compute it, in any chunk size, rows apart."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_llvc import GOLDEN, SMALL, noise, small_engine

from backtalk.errors import ConfigError
from backtalk.llvc.config import LlvcConfig, published_config
from backtalk.llvc.engine import LlvcEngine
from backtalk.llvc.graph import WeightFormat
from backtalk.llvc.random_voice import random_voice
from backtalk.llvc.row import CYCLE
from backtalk.llvc.voice_file import Voice

FACTORS = [1, 2, 4, 5]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load_file(GOLDEN)


def golden_voice(golden: dict[str, np.ndarray], variant: str) -> Voice:
    prefix = "weights."
    weights = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    voice = Voice("golden", SMALL, weights)
    return voice if variant == "prenet" else voice.without_prenet()


def stepped(engine: LlvcEngine, pcm: np.ndarray) -> np.ndarray:
    row = engine.open_row()
    return np.concatenate([row.step(piece).copy() for piece in pcm.reshape(-1, engine.frame_size)])


@pytest.mark.parametrize("variant", ["prenet", "nc"])
@pytest.mark.parametrize("chunk_factor", FACTORS)
def test_steps_give_what_the_authors_code_gives(
    golden: dict[str, np.ndarray], variant: str, chunk_factor: int
) -> None:
    engine = LlvcEngine(golden_voice(golden, variant), chunk_factor=chunk_factor)
    expected = golden[f"late.{variant}"]
    found = stepped(engine, golden["pcm"])
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("variant", ["prenet", "nc"])
def test_a_row_that_is_reset_is_as_good_as_new(golden: dict[str, np.ndarray], variant: str) -> None:
    engine = LlvcEngine(golden_voice(golden, variant))
    pcm = golden["pcm"]
    row = engine.open_row()
    for used_steps in (1, CYCLE - 1, CYCLE + 3):
        for _ in range(used_steps):
            row.step(np.full(engine.frame_size, np.nan, np.float32))
        row.reset()
        again = [row.step(piece).copy() for piece in pcm.reshape(-1, engine.frame_size)]
        assert np.array_equal(np.concatenate(again), stepped(engine, pcm))


def test_what_is_not_a_number_is_forgotten_with_the_sound_it_came_in() -> None:
    engine = small_engine()
    row = engine.open_row()
    row.step(np.full(engine.frame_size, np.nan, np.float32))
    for _ in range(40):
        last = row.step(np.zeros(engine.frame_size, np.float32))
    assert np.isfinite(last).all()


@pytest.mark.parametrize("chunk_factor", [1, 2])
def test_later_sound_changes_nothing_that_was_given_out(chunk_factor: int) -> None:
    engine = small_engine(chunk_factor)
    before, after = noise(8 * engine.frame_size), noise(8 * engine.frame_size)
    after[5 * engine.frame_size :] = 0.9
    same = 5 * engine.frame_size
    assert np.array_equal(stepped(engine, before)[:same], stepped(engine, after)[:same])


def test_a_context_of_another_length_than_the_chunk_works_in_any_chunk_size() -> None:
    config = LlvcConfig(hop=4, width=16, encoder_layers=3, decoder_width=8, chunk_frames=4)
    voice = random_voice(3, config)
    pcm = noise(12 * config.chunk_size)
    once = stepped(LlvcEngine(voice), pcm)
    for chunk_factor in (2, 3, 6):
        again = stepped(LlvcEngine(voice, chunk_factor=chunk_factor), pcm)
        assert np.abs(again - once).max() < 1e-6


@pytest.mark.parametrize("variant", ["prenet", "nc"])
def test_eight_bits_are_nearly_as_exact(golden: dict[str, np.ndarray], variant: str) -> None:
    expected = golden[f"late.{variant}"]
    engine = LlvcEngine(golden_voice(golden, variant), weight_format="int8")
    error = stepped(engine, golden["pcm"]) - expected
    assert 10 * np.log10((expected**2).sum() / (error**2).sum()) > 20


def test_the_published_sizes_run_and_wait_for_one_millisecond() -> None:
    engine = LlvcEngine(random_voice(0, published_config("llvc")))
    assert (engine.frame_size, engine.lookahead_samples, engine.sample_rate) == (208, 16, 16_000)
    row = engine.open_row()
    converted = np.concatenate([row.step(0.1 * noise(208, seed)).copy() for seed in range(4)])
    assert np.isfinite(converted).all()
    assert 0.001 < np.abs(converted).max() < 1.0


@pytest.mark.parametrize(("chunk_factor", "weights"), [(0, "float32"), (65, "int8"), (1, "int4")])
def test_an_option_out_of_range_is_refused(chunk_factor: int, weights: WeightFormat) -> None:
    with pytest.raises(ConfigError):
        LlvcEngine(random_voice(0, SMALL), chunk_factor=chunk_factor, weight_format=weights)
