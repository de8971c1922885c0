"""Microphone and loudspeaker, by PortAudio (the sounddevice package, imported when first used).

PortAudio calls back on a thread of its own; what it brings crosses to the event loop here. A
device that cannot run at the rate asked for is run at its own rate and resampled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from backtalk.audio.framing import Framer
from backtalk.audio.pcm import check_sample_rate, sanitise, to_mono
from backtalk.audio.resample import StreamingResampler
from backtalk.errors import AudioError

_USE_FILES = "or use audio files instead of the microphone and the loudspeaker"
_DRAIN_POLL_S = 0.01

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Device:
    """One sound device, as `list_devices` finds it.

    Attributes:
        index: PortAudio's number; `Microphone` and `Speaker` take it as `device`.
        host_api: the driver family it is reached by (ALSA, Core Audio, WASAPI, ...).
        default_sample_rate: Hz.
    """

    index: int
    name: str
    host_api: str
    input_channels: int
    output_channels: int
    default_sample_rate: int
    is_default_input: bool
    is_default_output: bool


def list_devices() -> list[Device]:
    """Every sound device of this machine, possibly none.

    Raises:
        AudioError: PortAudio or sounddevice is not installed, or PortAudio fails.
    """
    sounddevice = _import_sounddevice()
    try:
        host_apis = [api["name"] for api in sounddevice.query_hostapis()]
        default_input, default_output = sounddevice.default.device
        return [
            Device(
                index=index,
                name=entry["name"],
                host_api=host_apis[entry["hostapi"]],
                input_channels=entry["max_input_channels"],
                output_channels=entry["max_output_channels"],
                default_sample_rate=round(entry["default_samplerate"]),
                is_default_input=index == default_input,
                is_default_output=index == default_output,
            )
            for index, entry in enumerate(sounddevice.query_devices())
        ]
    except sounddevice.PortAudioError as error:
        raise AudioError(
            f"sound devices cannot be listed ({_reason(error)}); check the sound driver"
        ) from error


def rescan_devices() -> None:
    """Look for devices again: PortAudio sees those that are there when it starts, and no others.

    No stream may be open. sounddevice has no public name for this.
    """
    sounddevice = _import_sounddevice()
    sounddevice._terminate()
    sounddevice._initialize()


class Microphone:
    """The microphone as an asynchronous stream of blocks.

    ```
    async with Microphone(16_000) as microphone:
        async for block in microphone:
            ...
    ```

    A reader that lags loses the oldest blocks, so that what it hears is never old.

    Args:
        sample_rate: Hz of the blocks.
        block_ms: length of a block.
        device: PortAudio's number or part of a name; by default the system's microphone.
        max_queued_ms: audio kept for a reader that lags.
        stall_ms: silence from the driver after which the device is taken for gone.

    Attributes:
        dropped_blocks: blocks the reader was too slow for.
        overflows: times the driver lost audio because this process was too slow for it.
    """

    def __init__(
        self,
        sample_rate: int,
        block_ms: float = 20,
        device: int | str | None = None,
        *,
        max_queued_ms: float = 2000,
        stall_ms: float = 5000,
    ) -> None:
        self.sample_rate = check_sample_rate(sample_rate)
        self.block_ms = block_ms
        self.device = device
        self.dropped_blocks = 0
        self.overflows = 0
        self._stall_s = stall_ms / 1000
        self._framer = Framer(max(1, round(self.sample_rate * block_ms / 1000)))
        self._resampler = StreamingResampler(self.sample_rate, self.sample_rate)
        queued_blocks = max(1, int(max_queued_ms // block_ms))
        self._queue: asyncio.Queue[np.ndarray | None] = asyncio.Queue(queued_blocks)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stream: Any = None
        self._is_closing = False
        self._failure: str | None = None

    async def __aenter__(self) -> Self:
        """Start recording.

        Raises:
            AudioError: no such device, it is taken, or sound is not installed.
        """
        self._loop = asyncio.get_running_loop()
        self._stream = await _start_on_thread(self._start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closing = True
        stream, self._stream = self._stream, None
        if stream is not None:
            await asyncio.to_thread(_close, stream)
        self._end()

    @property
    def latency_ms(self) -> float:
        """Time a sample takes from the air to its block: the driver's, by its own word, and
        resampling's."""
        if self._stream is None:
            return 0.0
        resampling_s = self._resampler.delay_samples / self.sample_rate
        return 1000.0 * (float(self._stream.latency) + resampling_s)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> np.ndarray:
        """The next block, float32 [block_ms], -1..1; the stream ends when it is closed.

        Raises:
            AudioError: the device stopped.
        """
        if self._queue.empty() and (self._is_closing or self._failure is not None):
            self._stop_iteration()
        try:
            async with asyncio.timeout(self._stall_s):
                block = await self._queue.get()
        except TimeoutError as error:
            raise AudioError(
                f"the microphone has sent nothing for {self._stall_s:g} s; "
                f"check that it is plugged in, {_USE_FILES}"
            ) from error
        if block is None:
            self._stop_iteration()
        assert block is not None
        return block

    def _start(self) -> Any:
        sounddevice = _import_sounddevice()

        def open_at(rate: int) -> Any:
            self._resampler = StreamingResampler(rate, self.sample_rate)
            return sounddevice.InputStream(
                samplerate=rate,
                blocksize=max(1, round(rate * self.block_ms / 1000)),
                device=self.device,
                channels=1,
                dtype="float32",
                latency="low",
                callback=self._on_audio,
                finished_callback=self._on_finished,
            )

        return _open(sounddevice, "input", self.device, self.sample_rate, open_at)

    def _on_audio(self, indata: np.ndarray, frames: int, time: Any, status: Any) -> None:
        """PortAudio's thread: must neither block nor raise."""
        if status and getattr(status, "input_overflow", False):
            self.overflows += 1
        pcm, _ = sanitise(to_mono(indata))
        for block in self._framer.push(self._resampler.push(pcm)):
            self._call_loop(self._put, block)

    def _on_finished(self) -> None:
        """PortAudio's thread: the stream is over, by us or by the device."""
        if not self._is_closing:
            self._call_loop(self._fail)

    def _call_loop(self, function: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(function, *args)

    def _put(self, block: np.ndarray | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped_blocks += 1
        self._queue.put_nowait(block)

    def _fail(self) -> None:
        self._failure = f"the microphone stopped; check that it is plugged in, {_USE_FILES}"
        self._end()

    def _end(self) -> None:
        """Wake up a reader that waits; one that is behind still gets its blocks."""
        if not self._queue.full():
            self._queue.put_nowait(None)

    def _stop_iteration(self) -> None:
        if self._failure is not None:
            raise AudioError(self._failure)
        raise StopAsyncIteration


class Speaker:
    """The loudspeaker: a queue of sound that can be thrown away at once.

    Args:
        sample_rate: Hz of what is played.
        device: PortAudio's number or part of a name; by default the system's loudspeaker.

    Attributes:
        underruns: times everything had been played before `end_of_reply` was called.
        device_underflows: times the driver ran dry because this process was too slow for it.
    """

    def __init__(self, sample_rate: int, device: int | str | None = None) -> None:
        self.sample_rate = check_sample_rate(sample_rate)
        self.device = device
        self.underruns = 0
        self.device_underflows = 0
        self._device_rate = self.sample_rate
        self._resampler = StreamingResampler(self.sample_rate, self.sample_rate)
        self._lock = threading.Lock()
        self._queue: deque[np.ndarray] = deque()
        self._queued_samples = 0  # this and the next at the device's rate
        self._device_samples = 0
        self._accepted_samples = 0  # at `sample_rate`, those dropped not counted
        self._expects_more = False
        self._is_dry = False
        self._stream: Any = None
        self._is_closing = False
        self._failure: str | None = None

    async def __aenter__(self) -> Self:
        """Start the device, which plays silence until `play`.

        Raises:
            AudioError: no such device, it is taken, or sound is not installed.
        """
        self._stream = await _start_on_thread(self._start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closing = True
        stream, self._stream = self._stream, None
        if stream is not None:
            await asyncio.to_thread(_close, stream)

    @property
    def played_samples(self) -> int:
        """Samples of sound handed to the device so far, at `sample_rate`; silence not counted."""
        return round(self._device_samples * self.sample_rate / self._device_rate)

    @property
    def queued_samples(self) -> int:
        """Samples given to `play` that the device has not taken yet, at `sample_rate`."""
        return max(0, self._accepted_samples - self.played_samples)

    @property
    def latency_ms(self) -> float:
        """Time a sample takes from the device to the air, as the driver reports it."""
        return 1000.0 * float(self._stream.latency) if self._stream is not None else 0.0

    def play(self, pcm: np.ndarray) -> None:
        """Add sound to the end of the queue; never waits.

        Args:
            pcm: float32 [T] at `sample_rate`, -1..1.
        Raises:
            AudioError: the device stopped, or the speaker is not open.
        """
        self._check_running()
        clean, _ = sanitise(pcm)
        with self._lock:
            self._enqueue(self._resampler.push(clean))
            self._accepted_samples += clean.size
            self._expects_more = True
            self._is_dry = False

    def end_of_reply(self) -> None:
        """Nothing of this reply follows: running dry from now on is not an underrun."""
        with self._lock:
            self._enqueue(self._resampler.flush())
            self._expects_more = False

    def drop(self) -> int:
        """Throw away all that has not gone to the device (barge-in).

        Returns:
            How many samples that was, at `sample_rate`.
        """
        with self._lock:
            self._resampler.flush()
            dropped = self.queued_samples
            self._queue.clear()
            self._queued_samples = 0
            self._accepted_samples = self.played_samples
            self._expects_more = False
        return dropped

    async def drain(self) -> None:
        """Wait until everything has been played and has left the loudspeaker.

        Raises:
            AudioError: the device stopped.
        """
        self.end_of_reply()
        while self._queued_samples:
            self._check_running()
            await asyncio.sleep(_DRAIN_POLL_S)
        await asyncio.sleep(self.latency_ms / 1000)

    def _start(self) -> Any:
        sounddevice = _import_sounddevice()

        def open_at(rate: int) -> Any:
            self._device_rate = rate
            self._resampler = StreamingResampler(self.sample_rate, rate)
            return sounddevice.OutputStream(
                samplerate=rate,
                device=self.device,
                channels=1,
                dtype="float32",
                latency="low",
                callback=self._on_need,
                finished_callback=self._on_finished,
            )

        return _open(sounddevice, "output", self.device, self.sample_rate, open_at)

    def _on_need(self, outdata: np.ndarray, frames: int, time: Any, status: Any) -> None:
        """PortAudio's thread: must neither block nor raise."""
        if status and getattr(status, "output_underflow", False):
            self.device_underflows += 1
        outdata.fill(0.0)
        filled = 0
        with self._lock:
            while filled < frames and self._queue:
                piece = self._queue.popleft()
                taken = min(piece.size, frames - filled)
                outdata[filled : filled + taken] = piece[:taken, np.newaxis]
                filled += taken
                if taken < piece.size:
                    self._queue.appendleft(piece[taken:])
            self._queued_samples -= filled
            self._device_samples += filled
            if not self._queue and not self._expects_more:
                self._accepted_samples = self.played_samples  # let no rounding pile up
            elif filled < frames and not self._is_dry:
                self.underruns += 1
                self._is_dry = True  # one dry spell counts once

    def _on_finished(self) -> None:
        """PortAudio's thread: the stream is over, by us or by the device."""
        if not self._is_closing:
            self._failure = f"the loudspeaker stopped; check that it is plugged in, {_USE_FILES}"

    def _enqueue(self, pcm: np.ndarray) -> None:
        if pcm.size:
            self._queue.append(pcm)
            self._queued_samples += pcm.size

    def _check_running(self) -> None:
        if self._failure is not None:
            raise AudioError(self._failure)
        if self._stream is None:
            raise AudioError("the loudspeaker is not open; use it inside `async with Speaker(...)`")


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:
        raise AudioError(
            "sound devices cannot be used: the PortAudio library is missing; install it "
            "(Debian and Ubuntu: apt install libportaudio2; macOS: brew install portaudio), "
            f"{_USE_FILES}"
        ) from error
    except ImportError as error:
        raise AudioError(
            f"sound devices cannot be used: run pip install sounddevice, {_USE_FILES}"
        ) from error
    return sounddevice


def _open(
    sounddevice: Any,
    kind: str,
    device: int | str | None,
    sample_rate: int,
    open_at: Callable[[int], Any],
) -> Any:
    """Open and start a stream at the rate asked for, or else at the device's own."""
    label = "microphone" if kind == "input" else "loudspeaker"
    which = f"no {label} could be opened" if device is None else f"{label} {device!r} fails"
    try:
        rate = sample_rate
        if not _takes_rate(sounddevice, kind, device, sample_rate):
            rate = round(sounddevice.query_devices(device, kind)["default_samplerate"])
        stream = open_at(rate)
        try:
            stream.start()
        except BaseException:
            stream.close()
            raise
    except (sounddevice.PortAudioError, ValueError, TypeError) as error:
        raise AudioError(
            f"{which} ({_reason(error)}); plug one in or choose another device, {_USE_FILES}"
        ) from error
    return stream


async def _start_on_thread(start: Callable[[], Any]) -> Any:
    """Open a device off the event loop; if cancelled meanwhile, it is closed once it is open."""
    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(
            lambda done: None if done.exception() is not None else _close(done.result())
        )
        raise


def _takes_rate(sounddevice: Any, kind: str, device: int | str | None, rate: int) -> bool:
    check = getattr(sounddevice, f"check_{kind}_settings")
    try:
        check(device=device, channels=1, dtype="float32", samplerate=rate)
    except sounddevice.PortAudioError:
        return False
    return True


def _close(stream: Any) -> None:
    """Stop at once; a device that is gone may complain, which no longer matters."""
    try:
        stream.abort()
        stream.close()
    except Exception as error:
        _log.warning("a sound device did not close: %s", _reason(error))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
