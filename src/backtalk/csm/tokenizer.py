"""The text tokenizer of a CSM checkpoint, Llama 3.2's."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from backtalk.errors import ModelError

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"


class CsmTokenizer:
    """Reads `tokenizer.json` and puts both marks around every text, which the file itself does not.

    Args:
        path: `tokenizer.json`, or the folder it is in.
    Raises:
        ModelError: there is none, it cannot be read, or it lacks the marks.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise ModelError(
                f"there is no tokenizer at {file}; CSM uses that of Llama 3.2 1B, whose "
                "tokenizer.json belongs beside the checkpoint"
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{file} is no tokenizer: {error}") from error
        begin, end = self._tokenizer.token_to_id(BEGIN), self._tokenizer.token_to_id(END)
        if begin is None or end is None:
            raise ModelError(f"{file} has no {BEGIN} and {END}; use the one of Llama 3.2 1B")
        self._begin, self._end = begin, end

    def encode(self, text: str) -> list[int]:
        """Ids of a text between begin and end of text."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [self._begin, *ids, self._end]


class ByteTokenizer:
    """A stand-in for trying out random weights: one id per byte, begin 128000 and end 128001.

    Args:
        text_vocab: of the model; ids and marks stay below it.
    """

    def __init__(self, text_vocab: int = 128_256) -> None:
        marks = min(256, text_vocab // 2)  # Llama keeps its last 256 ids for marks
        self._bytes = min(256, text_vocab - marks)
        self._begin, self._end = text_vocab - marks, text_vocab - marks + 1

    def encode(self, text: str) -> list[int]:
        """Ids of a text between begin and end of text."""
        return [self._begin, *(byte % self._bytes for byte in text.encode()), self._end]


class StandInTokenizer:
    """For trying out random weights: as many ids as Llama's would give plain English, meaningless.

    An id per word of up to eight letters and per mark of punctuation, so that reading a text takes
    the time that it will take with the real files.

    Args:
        text_vocab: of the model; ids and marks stay below it.
    """

    _PIECES = re.compile(r"\w{1,8}|[^\w\s]")

    def __init__(self, text_vocab: int) -> None:
        self._pieces = text_vocab - min(256, text_vocab // 2)  # Llama keeps its last 256 for marks

    def encode(self, text: str) -> list[int]:
        """Ids of a text between begin and end of text."""
        pieces = self._PIECES.findall(text)
        ids = [zlib.crc32(piece.encode()) % self._pieces for piece in pieces]
        return [self._pieces, *ids, self._pieces + 1]
