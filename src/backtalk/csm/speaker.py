"""One voice speaking one text after the other: frames drawn, decoded and handed out as they come.

Every text is a segment of one growing past: what was said before is in the cache, so that a reply
that arrives in pieces is spoken in one voice, at the cost of reading each piece once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from backtalk.csm.context import RowContext, Snapshot
from backtalk.csm.depth_policy import DepthPolicy
from backtalk.csm.feedback import Feedback, Padding, feedback_fill, pad_codes
from backtalk.csm.model import CsmModel
from backtalk.csm.playback import PlaybackBuffer
from backtalk.csm.prompt import (
    Segment,
    TextTokens,
    joined,
    segment_positions,
    sound_positions,
    text_positions,
)
from backtalk.csm.stopping import SilenceStop, frame_cap, is_end_frame
from backtalk.errors import ConfigError
from backtalk.nn.cuda_graph import CudaGraphs
from backtalk.nn.sampling import fill_gumbel

SAMPLE_RATE = 24_000
FRAME_SIZE = 1920


class CodecDecoder(Protocol):
    """Mimi's decoder: codes int64 [slots, N, frames] to float [slots, frames * 1920]."""

    def alloc(self, slots: int) -> Any:
        """State of streams that have not begun."""
        ...

    def step(self, state: Any, x: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
        """The sound of the next frames."""
        ...


@dataclass(frozen=True, slots=True)
class SpeakerSettings:
    """How a voice speaks.

    Attributes:
        speaker: its number in the text.
        temperature, top_k: of every draw; temperature 0 is greedy, for comparisons only.
        seed: of the draws.
        feedback: what the backbone hears of missing codebooks.
        padding: what the codec gets in their place.
        end_bias: see `CsmState`; above 0 for a model that does not stop, below for one that
            swallows its last sound.
        graphs: record CUDA graphs.
    """

    speaker: int = 0
    temperature: float = 0.9
    top_k: int = 50
    seed: int = 0
    feedback: Feedback = "mean"
    padding: Padding = "none"
    end_bias: float = 0.0
    graphs: bool = True


class CsmSpeaker:
    """A conversation of one voice.

    Args:
        model: shared with others, read-only.
        decoder: of the codec, likewise.
        tokens: text to ids.
        settings: how it speaks.
        new_depth: makes the depth policy of a reply.
        clock_s: seconds that pass; other than the default for tests.
    """

    def __init__(
        self,
        model: CsmModel,
        decoder: CodecDecoder,
        tokens: TextTokens,
        settings: SpeakerSettings,
        new_depth: Callable[[PlaybackBuffer], DepthPolicy],
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model, self._decoder, self._tokens = model, decoder, tokens
        self._settings, self._new_depth = settings, new_depth
        self._clock_s = clock_s
        with torch.inference_mode():
            self._fill = feedback_fill(model, settings.feedback)
            self._context = RowContext(model, self._fill)
            self._context.state.temperature.fill_(settings.temperature)
            self._context.state.end_bias.fill_(settings.end_bias)
        self._graphs = CudaGraphs(model.device, enabled=settings.graphs)
        self._voice: Snapshot | None = None
        self.begin_reply()

    def begin_reply(self) -> None:
        """Forget what was said, but not the voice."""
        self._said: list[Segment] = []
        self._open: tuple[str, list[list[int]]] = ("", [])
        self._buffer = PlaybackBuffer(self._clock_s)
        self._depth = self._new_depth(self._buffer)
        self._generator = torch.Generator(self._model.device).manual_seed(self._settings.seed)
        self._sound = self._decoder.alloc(1)
        with torch.inference_mode():
            self._begin_past()

    def hear(self, segments: Sequence[Segment]) -> None:
        """Take a voice prompt or earlier turns as the past that every reply begins from.

        Raises:
            ConfigError: they leave too little room to speak in, or have codes the model lacks.
        """
        codebooks = self._model.config.codebooks
        for segment in segments:
            _check_codes(segment.codes, codebooks, self._model.config.card)
        positions = joined([segment_positions(self._tokens, s, codebooks) for s in segments])
        most = self._model.config.backbone.max_positions // 2
        if len(positions) > most:
            raise ConfigError(
                f"the voice prompt has {len(positions)} positions, but {most} at most leave room "
                f"to speak; 12.5 positions are a second of sound"
            )
        with torch.inference_mode():
            self._context.forget()
            self._context.take(positions)
            self._voice = self._context.snapshot()

    def say(self, text: str) -> Iterator[np.ndarray]:
        """Speak a text after all earlier ones of this reply.

        Args:
            text: not empty; a sentence or a clause of it.
        Yields:
            float32 [T] at 24 kHz, pieces of 1, 2, 4 or 8 frames, growing with what is left to play.
        """
        cap = frame_cap(text)
        text = text if text.rstrip()[-1:] in ".!?,;:" else text.rstrip() + "."
        with torch.inference_mode():
            self._finish()
            cap = self._read(text, cap)
        frames: list[list[int]] = []
        self._open = (text, frames)
        yield from self._speak(frames, cap)

    def _read(self, text: str, cap: int) -> int:
        """Take the text in, after making room for it; returns the frames that may follow."""
        codebooks = self._model.config.codebooks
        positions = text_positions(self._tokens, self._settings.speaker, text, codebooks)
        if self._context.room < len(positions) + cap + 1:
            self._make_room(len(positions) + cap + 1)
        cap = min(cap, self._context.room - len(positions) - 1)
        if cap < 1:
            raise ConfigError(f"a text of {len(text)} characters is too long to be spoken at once")
        self._context.take(positions)
        return cap

    def _make_room(self, wanted: int) -> None:
        """Keep the voice and the latest that was said, as much as leaves `wanted` positions."""
        self._begin_past()
        codebooks = self._model.config.codebooks
        kept: list[Segment] = []
        room = self._context.room - wanted
        for segment in reversed(self._said):
            room -= len(segment_positions(self._tokens, segment, codebooks))
            if room < 0:
                break
            kept.insert(0, segment)
        self._said = kept
        if kept:
            pieces = [segment_positions(self._tokens, segment, codebooks) for segment in kept]
            self._context.take(joined(pieces))

    def _begin_past(self) -> None:
        if self._voice is None:
            self._context.forget()
        else:
            self._context.restore(self._voice)

    def _speak(self, frames: list[list[int]], cap: int) -> Iterator[np.ndarray]:
        size = self._buffer.chunk_frames()
        silence = SilenceStop(SAMPLE_RATE)
        waiting: list[torch.Tensor] = []
        is_over = False
        while not is_over:
            codes = self._frame()
            frames.append(codes[0].tolist())
            is_over = is_end_frame(frames[-1])
            if not is_over:
                waiting.append(codes)
            is_over = is_over or len(frames) >= cap
            if waiting and (len(waiting) >= size or is_over):
                pcm = self._decode(waiting)
                is_over = is_over or silence.hear(pcm)
                self._buffer.add(1000 * pcm.size / SAMPLE_RATE)
                waiting, size = [], self._buffer.chunk_frames()
                yield pcm

    @torch.inference_mode()
    def _frame(self) -> torch.Tensor:
        """Int64 [1, N], the next frame."""
        began_s = self._clock_s()
        context, state = self._context, self._context.state
        depth = self._depth.next_depth()
        span = context.span(context.length + 1)
        fill_gumbel(state.noise[:, :depth], [self._generator])
        codes = self._graphs.run(
            (depth, span),
            lambda: self._model.step(
                state, context.active, depth, self._settings.top_k, self._fill, span
            ),
            context.active,
        ).clone()
        context.frame_was_drawn()
        self._depth.frame_took(depth, 1000 * (self._clock_s() - began_s))
        return codes

    @torch.inference_mode()
    def _decode(self, frames: list[torch.Tensor]) -> np.ndarray:
        """Float32 [T] of the frames; the codec gets those of one depth together."""
        active = torch.ones(1, dtype=torch.bool, device=frames[0].device)
        pieces = []
        for same in _runs_of_one_depth(frames):
            codes = torch.stack(same, dim=2)
            codes = pad_codes(codes, self._model.config.codebooks, self._settings.padding)
            pieces.append(self._decoder.step(self._sound, codes, active)[0])
        return torch.cat(pieces).float().cpu().numpy()

    def _finish(self) -> None:
        """Close the last segment as in training: with an end frame, unless the model drew it.

        Only when another follows: nobody should wait for the end of a reply that is over.
        """
        (text, frames), self._open = self._open, ("", [])
        if not frames:
            return
        codebooks = self._model.config.codebooks
        if is_end_frame(frames[-1]):
            frames = frames[:-1]
        elif self._context.room > 0:
            depth = codebooks if self._fill is not None else len(frames[-1])
            end = torch.zeros(depth, 0, dtype=torch.int64)
            self._context.take(sound_positions(end, codebooks))
        if frames:
            depth = min(len(frame) for frame in frames)
            codes = torch.tensor([frame[:depth] for frame in frames]).t()
            self._said.append(Segment(self._settings.speaker, text, codes))


def _check_codes(codes: torch.Tensor, codebooks: int, card: int) -> None:
    if codes.ndim != 2 or not 1 <= codes.shape[0] <= codebooks:
        raise ConfigError(
            f"the voice prompt has codes of shape {list(codes.shape)}, but it must be [1 to "
            f"{codebooks} codebooks, frames]"
        )
    if unknown := codes[(codes < 0) | (codes >= card)].tolist():
        raise ConfigError(
            f"the voice prompt has code {unknown[0]}, but the model knows 0 to {card - 1}"
        )


def _runs_of_one_depth(frames: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    run: list[torch.Tensor] = []
    for frame in frames:
        if run and frame.shape != run[-1].shape:
            yield run
            run = []
        run.append(frame)
    if run:
        yield run
