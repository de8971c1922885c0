"""Every error Backtalk raises on purpose: what was wrong, the value, and what to do."""

from __future__ import annotations


class BacktalkError(Exception):
    """Base of all errors a caller may want to catch; its text is one line fit to show a person."""


class AudioError(BacktalkError):
    """An audio file, chunk or device cannot be used."""


class ConfigError(BacktalkError):
    """A setting, option or plug-in name is wrong."""


class ModelError(BacktalkError):
    """A model file is missing, damaged or cannot be fetched."""


class StageError(BacktalkError):
    """A stage of a running session (ASR, LLM, TTS) failed; the session itself goes on.

    Attributes:
        stage: which one, in the words of the latency clock (`asr`, `llm`, `tts`, `turn_detector`).
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class SessionClosedError(BacktalkError):
    """Audio was fed to a session that has been closed."""


class CapacityError(BacktalkError):
    """All slots are taken; try again later.

    Attributes:
        retry_after_s: when it may be worth it.
    """

    def __init__(self, message: str, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProtocolError(BacktalkError):
    """A client said something the protocol does not allow; the session goes on.

    Attributes:
        code: short machine-readable name, as in the `error` event.
        param: the field that is wrong, None if it is no single field.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
