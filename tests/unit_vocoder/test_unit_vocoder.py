"""The unit vocoder: what sound depends on, streaming without seams, durations."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from backtalk.codecs.unit_vocoder.config import UnitVocoderConfig  # noqa: E402
from backtalk.codecs.unit_vocoder.unit_vocoder import UnitVocoder  # noqa: E402
from backtalk.codecs.unit_vocoder.unit_vocoder_model import (  # noqa: E402
    NOTHING,
    UnitVocoderModel,
)
from backtalk.codecs.units.runs import to_runs  # noqa: E402
from backtalk.errors import AudioError, ConfigError  # noqa: E402
from backtalk.nn.spectrum_synthesis import SpectrumSynthesis  # noqa: E402
from backtalk.stream.check import check_rows, check_schedules  # noqa: E402
from unit_vocoder.small_vocoder import (  # noqa: E402
    BOTH,
    PUBLISHED_SHAPE,
    WITH_SPECTRA,
    small_vocoder,
)

ATOL = 2e-5
by_kind = pytest.mark.parametrize("config", BOTH, ids=["samples", "spectra"])


def some_units(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 20, count)


def offline(model: UnitVocoderModel, units: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(units)[None])[0].numpy()


@pytest.mark.parametrize(
    ("config", "reach"),
    [
        (UnitVocoderConfig(), 21),
        (UnitVocoderConfig(rates=(5, 4, 4, 4, 2), rate_kernels=(11, 8, 8, 8, 4)), 20),
    ],
)
def test_the_published_vocoders_reach_as_far_as_autograd_says(
    config: UnitVocoderConfig, reach: int
) -> None:
    assert config.reach == reach


@by_kind
def test_sound_depends_on_the_units_within_reach_and_on_no_others(
    config: UnitVocoderConfig,
) -> None:
    model = small_vocoder(config).double()
    count, middle = 2 * config.reach + 5, config.reach + 2
    x = torch.randn(1, config.embedding, count, dtype=torch.float64, requires_grad=True)
    hop = config.hop_samples
    pcm = model.generator(x)[0]
    pcm[middle * hop : (middle + 1) * hop].abs().sum().backward()
    assert x.grad is not None
    felt = x.grad.abs().sum((0, 1)).nonzero()[:, 0]
    # The first stages round to whole units, so one more may be counted than is felt.
    assert middle - config.reach <= felt.min() <= middle - config.reach + 1
    assert middle + config.reach - 1 <= felt.max() <= middle + config.reach


@by_kind
@pytest.mark.parametrize("count", [1, 3, 40])
def test_any_chunks_give_the_sound_of_the_whole_recording(
    config: UnitVocoderConfig, count: int
) -> None:
    model = small_vocoder(config)
    units = some_units(count)
    whole = offline(model, units)
    assert len(whole) == count * config.hop_samples
    assert np.abs(whole).max() > 0.05
    vocoder = UnitVocoder(model)
    np.testing.assert_allclose(vocoder.decode(units), whole, atol=ATOL)
    # Time is counted in units going in and in samples coming out.
    check_schedules(vocoder.open_stream, units, offline=whole, atol=ATOL)


@by_kind
def test_rows_of_a_batch_do_not_touch_each_other(config: UnitVocoderConfig) -> None:
    class Numpy:
        def __init__(self) -> None:
            self.model = small_vocoder(config)
            self.alloc = self.model.alloc

        def reset(self, state: object, mask: np.ndarray) -> None:
            self.model.reset(state, torch.from_numpy(mask))

        def step(self, state: object, x: np.ndarray, active: np.ndarray) -> np.ndarray:
            units, rows = torch.from_numpy(x), torch.from_numpy(active)
            return self.model.step(state, units, rows).numpy()

    check_rows(Numpy(), [some_units(3, seed) for seed in range(5)], atol=ATOL)


@by_kind
def test_slots_give_the_sound_of_the_whole_recording_reach_units_late(
    config: UnitVocoderConfig,
) -> None:
    model = small_vocoder(config)
    units = some_units(12)
    fed = np.concatenate([units, np.full(config.reach, NOTHING)])
    state, active = model.alloc(1), torch.ones(1, dtype=torch.bool)
    pcm = [model.step(state, torch.tensor([[int(unit)]]), active)[0].numpy() for unit in fed]
    found = np.concatenate(pcm)[config.reach * config.hop_samples :]
    np.testing.assert_allclose(found, offline(model, units), atol=ATOL)


@by_kind
def test_first_sound_comes_with_the_first_unit_whose_neighbours_are_known(
    config: UnitVocoderConfig,
) -> None:
    stream = UnitVocoder(small_vocoder(config)).open_stream()
    assert stream.push(some_units(config.reach)).size == 0
    assert stream.push(some_units(1)).size == config.hop_samples
    assert stream.push(some_units(3)).size == 3 * config.hop_samples
    assert stream.flush().size == config.reach * config.hop_samples
    assert UnitVocoder(small_vocoder(config)).decode(some_units(0)).size == 0


def test_any_chunks_give_the_same_sound_when_durations_are_guessed() -> None:
    vocoder = UnitVocoder(small_vocoder(PUBLISHED_SHAPE))
    runs, _ = to_runs(some_units(40))
    whole = vocoder.decode(runs, has_runs=False)
    assert len(whole) % vocoder.hop_samples == 0
    assert len(whole) > 1.2 * len(runs) * vocoder.hop_samples  # some last longer than one
    check_schedules(lambda: vocoder.open_stream(has_runs=False), runs, offline=whole, atol=ATOL)


def test_a_unit_repeated_across_pieces_is_one_run() -> None:
    vocoder = UnitVocoder(small_vocoder(PUBLISHED_SHAPE))
    once = vocoder.decode(np.array([3, 4, 5]), has_runs=False)
    repeated = np.array([3, 3, 4, 4, 4, 5])
    np.testing.assert_allclose(vocoder.decode(repeated, has_runs=False), once, atol=ATOL)
    stream = vocoder.open_stream(has_runs=False)
    pieces = [stream.push(repeated[at : at + 1]) for at in range(6)]
    np.testing.assert_allclose(np.concatenate([*pieces, stream.flush()]), once, atol=ATOL)


def test_every_unit_lasts_whatever_the_predictor_says() -> None:
    model = small_vocoder(PUBLISHED_SHAPE)
    units = torch.from_numpy(some_units(9))[None]
    for bias, lengths in ((-50.0, {1}), (0.0, {1}), (50.0, {100})):
        model.durations.last.weight.zero_()
        model.durations.last.bias.fill_(bias)
        assert set(model.lengths_of_middle(units)[0].tolist()) == lengths


@pytest.mark.parametrize(
    ("units", "said"),
    [
        (np.array([0, 20]), "0 to 19"),
        (np.array([-1, 3]), "0 to 19"),
        (np.array([[1, 2]]), "integers"),
        (np.array([1.0, 2.0]), "integers"),
    ],
)
def test_units_that_have_no_sound_are_refused(units: np.ndarray, said: str) -> None:
    vocoder = UnitVocoder(small_vocoder(PUBLISHED_SHAPE))
    for has_runs in (True, False):
        with pytest.raises(AudioError, match=said):
            vocoder.open_stream(has_runs=has_runs).push(units)


@pytest.mark.parametrize(
    "sizes",
    [
        {"rates": (5, 4)},
        {"rate_kernels": (10, 8, 8, 4, 4)},
        {"block_kernels": (4,)},
        {"channels": 48},
        {"spectrum_hop": 3},
    ],
)
def test_sizes_that_cannot_be_built_are_refused(sizes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError):
        UnitVocoderConfig(**sizes)  # type: ignore[arg-type]


def test_the_units_of_a_piece_are_as_in_the_whole_recording() -> None:
    model = small_vocoder(WITH_SPECTRA)
    units, reach, hop = some_units(40), WITH_SPECTRA.reach, WITH_SPECTRA.hop_samples
    with torch.inference_mode():
        piece = model.sound_of_middle(torch.from_numpy(units[10 - reach : 20 + reach])[None])[0]
    np.testing.assert_allclose(piece, offline(model, units)[10 * hop : 20 * hop], atol=ATOL)


@pytest.mark.parametrize("hop", [4, 16])
def test_spectra_of_a_sound_add_up_to_it(hop: int) -> None:
    torch.manual_seed(0)
    pcm = torch.randn(1, 50 * hop)
    window = torch.hann_window(4 * hop)
    cut = 3 * hop // 2  # so that spectrum t is centred on sample (t + 1/2) hop
    padded = F.pad(pcm, (cut, cut))
    spectra = torch.stft(
        padded, 4 * hop, hop, window=window, center=False, normalized=True, return_complex=True
    )
    made = SpectrumSynthesis(hop)(spectra.abs(), spectra.angle())[0, 0]
    assert made.shape == pcm[0].shape
    inner = slice(3 * hop, -3 * hop)
    torch.testing.assert_close(made[inner], pcm[0, inner], atol=1e-4, rtol=0)
