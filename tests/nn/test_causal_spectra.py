"""Spectra of a running stream: as torch computes them offline, in any schedule, rows apart."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from backtalk.nn.causal_spectra import (  # noqa: E402
    CausalSpectrumAnalysis,
    CausalSpectrumSynthesis,
)
from backtalk.nn.spectrum_synthesis import SpectrumSynthesis  # noqa: E402
from backtalk.stream.check import check_rows, check_schedules  # noqa: E402
from nn.layer_stream import LayerStream  # noqa: E402
from slotted_part import SlottedPart  # noqa: E402

HOP = 6
WINDOW = 4 * HOP
ANALYSIS = CausalSpectrumAnalysis(HOP).double()
SYNTHESIS = CausalSpectrumSynthesis(HOP).double()
BOTH = pytest.mark.parametrize(
    ("layer", "shape"), [(ANALYSIS, (HOP, 1)), (SYNTHESIS, (1, SYNTHESIS.features))]
)


def normal(*shape: int) -> Any:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.manual_seed(sum(shape)))


def test_analysis_is_the_logarithm_of_torchs_magnitudes() -> None:
    pcm = normal(1, 20 * HOP)
    window = torch.hann_window(WINDOW, dtype=torch.float64)
    spectra = torch.stft(
        functional.pad(pcm, (WINDOW - HOP, 0)),
        WINDOW,
        HOP,
        window=window,
        center=False,
        normalized=True,
        return_complex=True,
    )
    found = ANALYSIS(pcm[..., None])[0]
    # The quietest is 60 dB below full scale, and weighs where a bin has almost nothing.
    torch.testing.assert_close((found - 3).exp(), spectra[0].abs().T, atol=1.1e-3, rtol=1e-4)


def test_synthesis_is_what_spectra_sound_like_one_and_a_half_hops_later() -> None:
    x = normal(1, 20, SYNTHESIS.features)
    offline = SpectrumSynthesis(HOP).double()
    centred = offline(*offline.polar(x.transpose(1, 2)))[0, 0]
    late = (WINDOW - HOP) // 2
    torch.testing.assert_close(SYNTHESIS(x)[0, late:, 0], centred[:-late], atol=1e-6, rtol=0)


@BOTH
@torch.inference_mode()
def test_any_chunk_schedule_gives_the_offline_result(layer: Any, shape: tuple[int, int]) -> None:
    x = normal(30, *shape)
    expected = layer(x.flatten(0, 1)[None])[0].unflatten(0, (len(x), -1))
    check_schedules(lambda: LayerStream(layer), x, offline=expected.numpy(), axis=0, atol=1e-9)


@BOTH
@torch.inference_mode()
def test_rows_do_not_touch_each_other(layer: Any, shape: tuple[int, int]) -> None:
    inputs = [normal(3, *shape).flatten(0, 1) + i for i in range(4)]
    check_rows(SlottedPart(layer), inputs, atol=1e-9)


@BOTH
@torch.inference_mode()
def test_before_a_stream_begins_there_is_silence(layer: Any, shape: tuple[int, int]) -> None:
    x = normal(2, *shape).flatten(0, 1)[None]
    begun = layer.step(layer.alloc(1), x, torch.tensor([True]))
    torch.testing.assert_close(begun, layer(x), atol=1e-9, rtol=0)
    assert begun.isfinite().all()
