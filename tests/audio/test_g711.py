"""G.711 against the standard library's own, where there is one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from backtalk.audio import g711

ALL_CODES = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int16)
LAWS = {"mu": ("ulaw", g711.decode_ulaw, g711.encode_ulaw)}
LAWS["A"] = ("alaw", g711.decode_alaw, g711.encode_alaw)


@pytest.fixture(scope="module")
def audioop() -> ModuleType:
    """Python's, until 3.12."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pytest.importorskip("audioop")


@pytest.mark.parametrize("law", LAWS)
def test_every_code_means_what_it_means_to_others(audioop: ModuleType, law: str) -> None:
    name, decode, _ = LAWS[law]
    expected = getattr(audioop, f"{name}2lin")(ALL_CODES, 2)
    levels = decode(ALL_CODES) * 32768
    np.testing.assert_array_equal(levels, np.frombuffer(expected, np.int16))


@pytest.mark.parametrize("law", LAWS)
def test_every_sample_gets_a_code_as_near_as_that_of_others(audioop: ModuleType, law: str) -> None:
    name, decode, encode = LAWS[law]
    pcm = EVERY_SAMPLE.astype(np.float32) / 32768
    theirs = getattr(audioop, f"lin2{name}")(EVERY_SAMPLE.tobytes(), 2)
    error, their_error = np.abs(decode(encode(pcm)) - pcm), np.abs(decode(theirs) - pcm)
    assert np.all(error <= their_error)


@pytest.mark.parametrize("law", LAWS)
def test_encoding_what_was_decoded_gives_the_same_levels(law: str) -> None:
    _, decode, encode = LAWS[law]
    levels = decode(ALL_CODES)
    np.testing.assert_array_equal(decode(encode(levels)), levels)


@pytest.mark.parametrize("encode", [g711.encode_ulaw, g711.encode_alaw])
def test_what_is_too_loud_is_the_loudest_code(encode: Callable[[np.ndarray], bytes]) -> None:
    pcm = np.array([1.0, 7.0, np.inf, -1.0, -7.0, -np.inf], np.float32)
    codes = encode(pcm)
    assert len(set(codes[:3])) == len(set(codes[3:])) == 1
    assert encode(np.zeros(0, np.float32)) == b""
