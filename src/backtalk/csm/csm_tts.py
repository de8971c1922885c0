"""CSM-1B as a voice of the cascade: text in as the language model writes it, sound out by frames.

A reply arrives chunk by chunk, each with the reply's cancel token; chunks of one token are spoken
as one growing conversation. Whoever calls must do so from one thread, as the cascade does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from backtalk.cascade.protocols import SpokenChunk
from backtalk.cascade.speech_pieces import split_long
from backtalk.errors import ConfigError, StageError
from backtalk.stream.cancel import CancelToken

if TYPE_CHECKING:
    import numpy as np

    from backtalk.csm.depth_policy import DepthPolicy
    from backtalk.csm.files import CsmParts
    from backtalk.csm.playback import PlaybackBuffer
    from backtalk.csm.prompt import Segment
    from backtalk.csm.speaker import CsmSpeaker
    from backtalk.models.store import ModelStore

WARM_UP_TEXT = "Hello there, it is a fine day."


class CsmTts:
    """Speaks with a CSM (`protocols.Tts`).

    Args:
        new_speaker: makes a voice that has said nothing yet.
        replies: conversations kept at the same time; the oldest is forgotten for a new one.
        description: for reports.
    """

    sample_rate = 24_000

    def __init__(
        self, new_speaker: Callable[[], CsmSpeaker], replies: int, description: str
    ) -> None:
        self._new_speaker, self._replies = new_speaker, replies
        self._idle: list[CsmSpeaker] = []
        self._speaking: OrderedDict[CancelToken, CsmSpeaker] = OrderedDict()
        self.description = description

    def speak(self, text: str, cancel: CancelToken) -> Iterator[SpokenChunk]:
        """Yield pieces of 1, 2, 4 or 8 frames of 80 ms, larger when there is more left to play.

        Raises:
            StageError: the model failed.
        """
        try:
            for piece in split_long(text):
                shown = piece
                for pcm in self._speaker_of(cancel).say(piece):
                    if cancel.is_cancelled:
                        return
                    yield SpokenChunk(pcm, shown)
                    shown = ""
                    if cancel.is_cancelled:
                        return
        except RuntimeError as error:  # what torch raises
            raise StageError("tts", f"csm could not speak {text[:60]!r}: {error}") from error

    def warm_up(self) -> None:
        """Speak something, unheard, as long as the largest piece of sound takes."""
        cancel = CancelToken()
        heard_samples = 0
        for chunk in self.speak(WARM_UP_TEXT, cancel):
            heard_samples += chunk.pcm.size
            if heard_samples > 2 * self.sample_rate:
                cancel.cancel()
        self._retire(cancel)

    def _speaker_of(self, cancel: CancelToken) -> CsmSpeaker:
        """The conversation that this reply is spoken in."""
        if cancel in self._speaking:
            self._speaking.move_to_end(cancel)
            return self._speaking[cancel]
        for token in [token for token in self._speaking if token.is_cancelled]:
            self._retire(token)
        if len(self._speaking) >= self._replies:
            self._retire(next(iter(self._speaking)))
        speaker = self._idle.pop() if self._idle else self._new_speaker()
        speaker.begin_reply()
        self._speaking[cancel] = speaker
        return speaker

    def _retire(self, cancel: CancelToken) -> None:
        self._idle.append(self._speaking.pop(cancel))


def build_csm_tts(
    store: ModelStore | None = None,
    *,
    model: str | None = None,
    codec: str | None = None,
    random_weights: int | None = None,
    size: str = "1b",
    rvq: int | str = 32,
    weights: str = "int4",
    device: str | None = None,
    threads: int | None = None,
    voice: str | None = None,
    voice_text: str = "",
    speaker: int = 0,
    temperature: float = 0.9,
    top_k: int = 50,
    seed: int = 0,
    feedback: str = "mean",
    padding: str = "none",
    end_bias: float = 0.0,
    replies: int = 4,
) -> CsmTts:
    """Make the `csm` plug-in.

    Args:
        store: where files are looked for that no option names.
        model: folder with a checkpoint of either layout and `tokenizer.json`; by default the
            folder `csm` of the store.
        codec: Mimi's file; by default the checkpoint's own, else that of the store.
        random_weights: a seed: noise at the speed of speech, to try the path without files.
        size: of random weights: 1b as published, or tiny.
        rvq: codes per frame, 1 to 32, or `auto` for depth that follows the playback buffer.
        weights: float32, bfloat16, int8 or int4.
        device: cpu or cuda; by default cuda where there is one.
        threads: of the CPU; by default torch's own choice.
        voice: a recording (WAV or FLAC) of the voice to speak with; without one, every reply has a
            voice of its own.
        voice_text: the words of the recording.
        speaker: number of the voice in the text.
        temperature, top_k, seed: of the draws.
        feedback: see `feedback.py`.
        padding: see `feedback.pad_codes`.
        end_bias: above 0 ends sooner, for a model that does not stop (+4 is much), below 0 later;
            -20 to 20. At rvq 1 a frame cannot say that it is the last.
        replies: replies that may be spoken at the same time.
    Raises:
        ConfigError: a value is out of range.
        ModelError: files are missing or damaged; the message says how to get them.
    """
    import torch

    from backtalk.csm.depth_policy import DepthFollowsBuffer, FixedDepth, FrameTimes
    from backtalk.csm.files import best_device, load_parts, random_parts
    from backtalk.csm.speaker import CsmSpeaker, SpeakerSettings

    depth = _checked_depth(rvq)
    settings = SpeakerSettings(
        speaker=_at_least("speaker", speaker, 0),
        temperature=_between("temperature", temperature, 0.0, 10.0),
        top_k=_at_least("top_k", top_k, 1),
        seed=seed,
        feedback=_one_of("feedback", feedback, ("mean", "truncate", "zero")),
        padding=_one_of("padding", padding, ("none", "mean", "repeat")),
        end_bias=_between("end_bias", end_bias, -20.0, 20.0),
    )
    format = _one_of("weights", weights, ("int4", "int8", "bfloat16", "float32"))
    _one_of("size", size, ("1b", "tiny"))
    _at_least("replies", replies, 1)
    if threads is not None:
        torch.set_num_threads(_at_least("threads", threads, 1))
    recording = _recording(voice, voice_text)
    device = best_device(device)
    if random_weights is not None:
        parts = random_parts(random_weights, size, format, device)
    else:
        parts = load_parts(store or _default_store(), model, codec, format, device)
    codebooks = parts.csm.config.codebooks
    times = FrameTimes()

    def new_depth(buffer: PlaybackBuffer) -> DepthPolicy:
        if depth is None:
            return DepthFollowsBuffer(buffer, codebooks, times=times)
        return FixedDepth(min(depth, codebooks))

    prompt = [] if recording is None else [_segment(parts, recording, voice_text, speaker)]

    def new_speaker() -> CsmSpeaker:
        made = CsmSpeaker(parts.csm, parts.mimi.decoder, parts.tokens, settings, new_depth)
        if prompt:
            made.hear(prompt)
        return made

    kind = ", random weights" if random_weights is not None else ""
    return CsmTts(new_speaker, replies, f"csm{kind}, {rvq} codebooks, {weights}, {device}")


def _checked_depth(rvq: int | str) -> int | None:
    """Codes per frame, None for `auto`."""
    if rvq == "auto":
        return None
    try:
        depth = int(rvq)
    except ValueError:
        depth = 0
    if not 1 <= depth <= 32:
        raise ConfigError(f"csm's rvq is {rvq}, but it must be 1 to 32, or auto")
    return depth


def _at_least(name: str, value: int, least: int) -> int:
    if not isinstance(value, int) or value < least:
        raise ConfigError(
            f"csm's {name} is {value}, but it must be a whole number of {least} or more"
        )
    return value


def _between(name: str, value: float, least: float, most: float) -> float:
    if not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigError(f"csm's {name} is {value}, but it must be {least:g} to {most:g}")
    return float(value)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise ConfigError(f"csm's {name} is {value!r}, but it must be one of {', '.join(known)}")
    return value


def _default_store() -> ModelStore:
    from backtalk.models.store import ModelStore

    return ModelStore.default()


def _recording(voice: str | None, text: str) -> np.ndarray | None:
    """Float32 [T] at 24 kHz of the voice to speak with, None without one."""
    from backtalk.audio.files import read_audio

    if voice is None:
        if text.strip():
            raise ConfigError("csm has voice_text, but no recording of it: give voice as well")
        return None
    if not text.strip():
        raise ConfigError(f"csm needs the words of {voice}: give voice_text")
    return read_audio(voice, CsmTts.sample_rate, max_seconds=75.0).pcm


def _segment(parts: CsmParts, recording: np.ndarray, text: str, speaker: int) -> Segment:
    """A recording and its words as a segment of the past."""
    import torch

    from backtalk.codecs.mimi.mimi_codec import MimiCodec
    from backtalk.csm.prompt import Segment

    codec = MimiCodec(parts.mimi, parts.csm.config.codebooks)
    return Segment(speaker, text.strip(), torch.from_numpy(codec.encode(recording)))
