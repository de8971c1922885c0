"""The speech encoders by name."""

from __future__ import annotations

from backtalk.codecs.units.hubert_checkpoint import load_hubert_encoder
from backtalk.codecs.units.speech_encoder import SpeechEncoder
from backtalk.codecs.units.whisper_encoder import load_whisper_encoder
from backtalk.models.store import ModelStore

_HUBERT_FILE = "model.safetensors"


def load_encoder(store: ModelStore, name: str, layer: int) -> SpeechEncoder:
    """A Whisper of the store's manifest, or a HuBERT whose file someone has put into the store.

    Args:
        name: of the model; a HuBERT is `model.safetensors` in a folder of that name.
        layer: how many layers to run, from 1.
    Raises:
        ModelError: it is not there, or damaged.
        ConfigError: the model has no such layer.
    """
    hubert = store.root / name / _HUBERT_FILE
    if hubert.is_file():
        return load_hubert_encoder(hubert, layer, name)
    return load_whisper_encoder(store.require(name), layer)
