"""csm-mini as a voice of the cascade: the same as CSM-1B, with what suits the miniature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtalk.csm.csm_tts import CsmTts, build_csm_tts

if TYPE_CHECKING:
    from backtalk.models.store import ModelStore


def build_csm_mini(
    store: ModelStore | None = None,
    *,
    model: str | None = None,
    codec: str | None = None,
    rvq: int | str = 8,
    weights: str = "float32",
    threads: int | None = None,
    temperature: float = 0.5,
    top_k: int = 50,
    seed: int = 0,
    end_bias: float = 0.0,
    replies: int = 4,
) -> CsmTts:
    """Make the `csm-mini` plug-in. It has one voice and needs no prompt.

    Args:
        model: file that `backtalk train csm-mini` ended in; by default the shipped one.
        codec: the mimi-mini that it was trained with; by default the shipped one.
        rvq: codes per frame, 1 to 8, or `auto`; it was trained with all of them.
        Others as in `build_csm_tts`.
    Raises:
        ConfigError: a value is out of range.
        ModelError: a file is missing or damaged, or the codec is another one.
    """
    from backtalk.models.miniatures import miniature_path

    return build_csm_tts(
        store,
        model=model or str(miniature_path("csm-mini")),
        codec=codec,
        rvq=rvq,
        weights=weights,
        threads=threads,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        end_bias=end_bias,
        feedback="truncate",  # as it was trained
        replies=replies,
    )
