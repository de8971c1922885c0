"""As much of the sounddevice package as is used, with devices that do what the test says."""

from __future__ import annotations

import types

import numpy as np

RATE = 16_000


class PortAudioError(Exception):
    pass


class FakeStream:
    """A stream whose device does what the test says."""

    latency = 0.05

    def __init__(self, sounddevice, **settings):
        if sounddevice.open_gate is not None:
            sounddevice.open_gate.wait(5)
        if sounddevice.open_error is not None:
            raise sounddevice.open_error
        self.settings = settings
        self.start_error = sounddevice.start_error
        self.is_running = False
        self.is_closed = False
        sounddevice.streams.append(self)

    def start(self):
        if self.start_error is not None:
            raise self.start_error
        self.is_running = True

    def abort(self):
        self.device_stops()

    def close(self):
        self.is_closed = True

    def device_stops(self):
        if self.is_running:
            self.is_running = False
            self.settings["finished_callback"]()

    def hear(self, pcm, status=None):
        """The microphone recorded `pcm`."""
        self.settings["callback"](pcm[:, np.newaxis], len(pcm), None, status)

    def need(self, frames, status=None):
        """The loudspeaker plays `frames` samples; returns what it was given."""
        buffer = np.full((frames, 1), np.nan, np.float32)
        self.settings["callback"](buffer, frames, None, status)
        return buffer[:, 0].copy()


class FakeSounddevice(types.ModuleType):
    """As much of the sounddevice package as is used, with one microphone and one loudspeaker."""

    def __init__(self):
        super().__init__("sounddevice")
        self.PortAudioError = PortAudioError
        self.default = types.SimpleNamespace(device=(0, 1))
        self.streams = []
        self.rates = {RATE, 48_000}
        self.open_error = self.start_error = self.open_gate = None
        self.rescans = 0

    def query_hostapis(self):
        return ({"name": "ALSA"}, {"name": "JACK"})

    def query_devices(self, device=None, kind=None):
        entries = [self._entry("Mic", 0, 2, 0), self._entry("Loudspeaker", 1, 0, 2)]
        if kind is None:
            return entries
        return entries[0 if kind == "input" else 1]

    def check_input_settings(self, device, channels, dtype, samplerate):
        if device not in (None, 0, "Mic"):
            raise ValueError(f"No input device matching {device!r}")
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def check_output_settings(self, device, channels, dtype, samplerate):
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def InputStream(self, **settings):  # noqa: N802
        return FakeStream(self, **settings)

    def OutputStream(self, **settings):  # noqa: N802
        return FakeStream(self, **settings)

    def _entry(self, name, host_api, inputs, outputs):
        return {
            "name": name,
            "hostapi": host_api,
            "max_input_channels": inputs,
            "max_output_channels": outputs,
            "default_samplerate": 48_000.0,
        }

    def _terminate(self):
        assert all(stream.is_closed for stream in self.streams)

    def _initialize(self):
        self.rescans += 1
