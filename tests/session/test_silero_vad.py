"""Silero's VAD: what the model gives by hand, one slot per session, speech from everything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtalk.errors import AudioError, ConfigError, ModelError
from backtalk.models.store import ModelStore
from backtalk.session.silero_vad import MODEL_ID, SileroState, SileroVad, build_silero_vad

FRAME = SileroVad.frame_size


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return build_silero_vad(ModelStore.default())


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    import soxr
    from hibari import Hibari

    pcm = Hibari(threads=1)("Could you tell me what the weather will be like tomorrow?", seed=1)
    return soxr.resample(pcm, 24000, 16000).astype(np.float32)


def frames(pcm: np.ndarray) -> np.ndarray:
    return pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)


def probabilities(vad: SileroVad, pcm: np.ndarray) -> np.ndarray:
    state, heard = vad.new_state(), []
    for frame in frames(pcm):
        probability, state = vad.step(state, frame)
        heard.append(probability)
    return np.array(heard)


def noise(seed: int, seconds: float, level: float) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(16000 * seconds))
    return (level * samples).astype(np.float32)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.onnx is missing"):
        SileroVad(tmp_path / "nothing.onnx")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "silero_vad.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"silero_vad\.onnx cannot be loaded"):
        SileroVad(path)


def test_it_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="threads"):
        build_silero_vad(ModelStore(tmp_path), threads=2)


@pytest.mark.models
def test_the_result_is_that_of_the_model_called_by_hand(vad: SileroVad, spoken: np.ndarray) -> None:
    import onnxruntime as ort

    path = ModelStore.default().require(MODEL_ID) / "silero_vad.onnx"
    model = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    recurrent, context, by_hand = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for frame in frames(spoken):
        heard = np.concatenate([context, frame])[None]
        inputs = {"input": heard, "state": recurrent, "sr": np.array(16000, np.int64)}
        probability, recurrent = model.run(None, inputs)
        by_hand.append(probability[0, 0])
        context = frame[-64:]
    np.testing.assert_allclose(probabilities(vad, spoken), by_hand, atol=1e-6)


@pytest.mark.models
def test_a_step_leaves_its_state_and_its_frame_as_they_were(
    vad: SileroVad, spoken: np.ndarray
) -> None:
    _, state = vad.step(vad.new_state(), frames(spoken)[10])
    recurrent, context, frame = state.recurrent.copy(), state.context.copy(), frames(spoken)[11]
    kept = frame.copy()
    first, second = vad.step(state, frame), vad.step(state, frame)
    assert first[0] == second[0]
    np.testing.assert_array_equal(state.recurrent, recurrent)
    np.testing.assert_array_equal(state.context, context)
    np.testing.assert_array_equal(frame, kept)


@pytest.mark.models
def test_a_state_does_not_change_when_its_frame_is_reused(
    vad: SileroVad, spoken: np.ndarray
) -> None:
    buffer = frames(spoken)[12].copy()
    _, state = vad.step(vad.new_state(), buffer)
    before = state.context.copy()
    buffer[:] = 0.0
    np.testing.assert_array_equal(state.context, before)


@pytest.mark.models
def test_interleaved_sessions_hear_what_they_would_hear_alone(
    vad: SileroVad, spoken: np.ndarray
) -> None:
    signals = [frames(spoken), frames(noise(2, len(spoken) / 16000, 0.05))]
    alone = [probabilities(vad, signal.reshape(-1)) for signal in signals]
    states: list[SileroState] = [vad.new_state() for _ in signals]
    heard: list[list[float]] = [[] for _ in signals]
    turns = np.random.default_rng(0).permutation(np.repeat([0, 1], [len(one) for one in alone]))
    for slot in turns:
        frame = signals[slot][len(heard[slot])]
        probability, states[slot] = vad.step(states[slot], frame)
        heard[slot].append(probability)
    for slot, expected in enumerate(alone):
        np.testing.assert_allclose(heard[slot], expected, atol=1e-6)


@pytest.mark.models
def test_speech_is_told_from_silence_and_noise(vad: SileroVad, spoken: np.ndarray) -> None:
    silence = np.zeros(8000, np.float32)
    heard = probabilities(vad, np.concatenate([silence, spoken, silence]))
    within = heard[16 : len(heard) - 16]
    assert np.mean(within > 0.5) > 0.7
    assert heard[:12].max() < 0.3
    assert heard[-6:].max() < 0.35
    assert probabilities(vad, np.zeros(32000, np.float32)).max() < 0.3
    assert np.mean(probabilities(vad, noise(1, 3.0, 0.05)) > 0.5) < 0.05


@pytest.mark.models
def test_a_broken_frame_does_not_deafen_the_session(vad: SileroVad, spoken: np.ndarray) -> None:
    state = vad.new_state()
    probability, state = vad.step(state, np.full(FRAME, np.nan, np.float32))
    assert np.isfinite(probability)
    assert np.isfinite(state.recurrent).all()
    heard = []
    for frame in frames(spoken):
        probability, state = vad.step(state, frame)
        heard.append(probability)
    assert max(heard) > 0.8


@pytest.mark.models
@pytest.mark.parametrize("shape", [(0,), (511,), (576,), (1, 512)])
def test_a_frame_of_another_size_is_refused(vad: SileroVad, shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match="512"):
        vad.step(vad.new_state(), np.zeros(shape, np.float32))
