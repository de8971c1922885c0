"""What the backbone reads: frames and masks against hand-built ones, and the tokenizer's marks."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from backtalk.csm.prompt import Segment, segment_positions, text_positions  # noqa: E402
from backtalk.csm.tokenizer import ByteTokenizer, CsmTokenizer, StandInTokenizer  # noqa: E402
from backtalk.errors import ConfigError, ModelError  # noqa: E402


class Letters:
    """One id per letter."""

    def encode(self, text: str) -> list[int]:
        return [100, *(ord(letter) for letter in text), 101]


def test_a_segment_is_its_text_its_sound_and_a_frame_of_zeros() -> None:
    codes = torch.tensor([[5, 6], [7, 8]])
    positions = segment_positions(Letters(), Segment(3, "ab", codes), 2)
    assert positions.frames.tolist() == [
        [0, 0, 100],
        [0, 0, ord("[")],
        [0, 0, ord("3")],
        [0, 0, ord("]")],
        [0, 0, ord("a")],
        [0, 0, ord("b")],
        [0, 0, 101],
        [5, 7, 0],
        [6, 8, 0],
        [0, 0, 0],
    ]
    text, sound = [False, False, True], [True, True, False]
    assert positions.mask.tolist() == [text] * 7 + [sound] * 3


def test_codebooks_that_were_not_written_do_not_count() -> None:
    positions = segment_positions(Letters(), Segment(0, "", torch.tensor([[5], [7]])), 4)
    assert positions.mask[-1].tolist() == [True, True, False, False, False]


def test_a_speaker_has_any_number_but_none_below_0() -> None:
    ids = text_positions(Letters(), 12_345, "Hi", 2).frames[:, -1].tolist()
    assert "".join(map(chr, ids[1:-1])) == "[12345]Hi"
    with pytest.raises(ConfigError, match="speaker -1"):
        text_positions(Letters(), -1, "Hi", 2)


def test_the_stand_in_tokenizer_has_the_published_marks() -> None:
    ids = ByteTokenizer().encode("[0]Hi")
    assert (ids[0], ids[-1]) == (128_000, 128_001)
    assert max(ByteTokenizer(160).encode("Grüße")) < 160


def test_random_weights_read_as_many_ids_as_real_ones_would() -> None:
    ids = StandInTokenizer(128_256).encode("[0]The quick brown fox jumps over the lazy dog.")
    assert len(ids) == 2 + 3 + 10  # the marks, "[0]", nine words and a full stop
    assert (ids[0], ids[-1]) == (128_000, 128_001)
    assert max(StandInTokenizer(160).encode("Grüße")[1:-1]) < 80


def write_tokenizer(path: Path, marks: list[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"[UNK]": 0, "[0]": 1, "Hi": 2}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(marks)
    tokenizer.save(str(path))


def test_the_checkpoints_tokenizer_gets_both_marks(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer.json", ["<|begin_of_text|>", "<|end_of_text|>"])
    ids = CsmTokenizer(tmp_path).encode("Hi")
    assert ids == [3, 2, 4]


def test_a_tokenizer_that_is_missing_damaged_or_anothers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Llama 3\.2 1B"):
        CsmTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="is no tokenizer"):
        CsmTokenizer(tmp_path)
    write_tokenizer(tmp_path / "tokenizer.json", [])
    with pytest.raises(ModelError, match="begin_of_text"):
        CsmTokenizer(tmp_path)
