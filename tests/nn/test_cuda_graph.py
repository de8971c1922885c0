"""Recorded steps: without CUDA, or switched off, a step is called; with CUDA it is replayed."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from backtalk.csm.config import csm_tiny  # noqa: E402
from backtalk.csm.load import random_csm  # noqa: E402
from backtalk.nn.cuda_graph import CudaGraphs  # noqa: E402


@pytest.mark.parametrize("enabled", [True, False])
def test_without_cuda_every_run_calls_the_step(enabled: bool) -> None:
    graphs = CudaGraphs(torch.device("cpu"), enabled=enabled)
    counter = torch.zeros(1)
    active = torch.tensor([True])
    for expected in (1, 2, 3):
        assert graphs.run("step", lambda: counter.add_(1), active).item() == expected
    assert active.item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.inference_mode()
def test_replayed_frames_are_those_of_called_steps() -> None:
    model = random_csm(0, config=csm_tiny(), device="cuda")
    active = torch.ones(1, dtype=torch.bool, device="cuda")
    frames = []
    for enabled in (True, False):
        state = model.alloc(1)
        graphs = CudaGraphs(torch.device("cuda"), enabled=enabled)
        step = lambda s=state: model.step(s, active, 8)  # noqa: E731
        frames.append([graphs.run("frame", step, active).tolist() for _ in range(5)])
    assert frames[0] == frames[1]
