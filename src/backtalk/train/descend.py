"""One step downhill, the same in every recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer


def descend(
    fabric: Fabric,
    model: _FabricModule,
    optimizer: _FabricOptimizer,
    loss: Tensor,
    clip_norm: float,
) -> dict[str, Tensor]:
    """Let a model learn from a loss.

    Args:
        model, optimizer: as `fabric.setup` gave them.
        loss: scalar.
        clip_norm: longest gradient.
    Returns:
        The gradient's length before it was clipped, for the curves, if the device tells.
    """
    fabric.backward(loss)
    gradient = fabric.clip_gradients(
        model,
        optimizer,
        max_norm=clip_norm,
        error_if_nonfinite=False,  # the harness looks at the losses
    )
    optimizer.step()
    optimizer.zero_grad()
    return {} if gradient is None else {"gradient": gradient.detach()}
