"""Speaking: the cache kept from text to text, ends, caps, room, depth and feedback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backtalk.csm.config import csm_tiny  # noqa: E402
from backtalk.csm.context import RowContext  # noqa: E402
from backtalk.csm.csm_tts import CsmTts  # noqa: E402
from backtalk.csm.depth_policy import FixedDepth  # noqa: E402
from backtalk.csm.feedback import FEEDBACKS, feedback_fill, pad_codes  # noqa: E402
from backtalk.csm.load import build_csm  # noqa: E402
from backtalk.csm.model import CsmModel  # noqa: E402
from backtalk.csm.prompt import Segment, joined, segment_positions, text_positions  # noqa: E402
from backtalk.csm.speaker import CsmSpeaker, SpeakerSettings  # noqa: E402
from backtalk.csm.stopping import SilenceStop, frame_cap, is_end_frame  # noqa: E402
from backtalk.csm.tokenizer import ByteTokenizer  # noqa: E402
from backtalk.errors import ConfigError  # noqa: E402
from backtalk.stream.cancel import CancelToken  # noqa: E402
from csm.fake_decoder import FRAME, FakeDecoder  # noqa: E402
from csm.golden_weights import golden_codes, golden_tensors  # noqa: E402

CONFIG = csm_tiny()
TOKENS = ByteTokenizer(CONFIG.text_vocab)


@pytest.fixture(scope="module")
def model() -> CsmModel:
    tensors = golden_tensors(CONFIG)
    return build_csm(CONFIG, lambda entry: tensors[entry.original], "original")


def new_speaker(
    model: CsmModel, decoder: FakeDecoder | None = None, depth: int = 8, **settings: Any
) -> CsmSpeaker:
    chosen = SpeakerSettings(**settings)
    return CsmSpeaker(
        model, decoder or FakeDecoder(), TOKENS, chosen, lambda _: FixedDepth(depth), lambda: 0.0
    )


def frames_of(pieces: Iterable[np.ndarray]) -> list[int]:
    return [pcm.size // FRAME for pcm in pieces]


def test_sound_comes_in_growing_pieces_and_ends_at_the_cap(model: CsmModel) -> None:
    sizes = frames_of(new_speaker(model).say("Hello there."))
    assert sizes[:9] == [1, 1, 1, 1, 2, 2, 4, 4, 8]
    assert sum(sizes) == frame_cap("Hello there.")


def test_the_same_seed_says_the_same_and_another_seed_does_not(model: CsmModel) -> None:
    said = []
    for seed in (1, 1, 2):
        decoder = FakeDecoder()
        list(new_speaker(model, decoder, seed=seed).say("Hello."))
        said.append(torch.cat(decoder.codes, dim=2))
    assert torch.equal(said[0], said[1])
    assert not torch.equal(said[0], said[2])


@torch.inference_mode()
def test_a_kept_cache_gives_what_reading_everything_again_gives(model: CsmModel) -> None:
    speaker = new_speaker(model, temperature=0.0)
    list(speaker.say("One."))
    speaker._finish()
    (said,) = speaker._said
    speaker._read("Two.", 5)
    again = RowContext(model, feedback_fill(model, "mean"))
    past = segment_positions(TOKENS, said, CONFIG.codebooks)
    again.take(joined([past, text_positions(TOKENS, 0, "Two.", CONFIG.codebooks)]))
    assert again.length == speaker._context.length
    kept = model.step(speaker._context.state, speaker._context.active, 8)
    assert torch.equal(kept, model.step(again.state, again.active, 8))
    assert torch.allclose(speaker._context.state.pending, again.state.pending)


@torch.inference_mode()
def test_a_voice_prompt_is_read_once_and_every_reply_begins_from_it(model: CsmModel) -> None:
    prompt = Segment(0, "A voice.", golden_codes(CONFIG))
    speaker, other = new_speaker(model), new_speaker(model)
    speaker.hear([prompt])
    length = speaker._context.length
    list(speaker.say("Hi."))
    speaker.begin_reply()
    assert speaker._context.length == length
    list(speaker.say("Hi."))
    other.hear([prompt])
    list(other.say("Hi."))
    for ours, theirs in zip(
        speaker._context.state.backbone.caches, other._context.state.backbone.caches, strict=True
    ):
        end = speaker._context.length
        assert torch.equal(ours.keys[:, :end], theirs.keys[:, :end])


def test_the_oldest_is_forgotten_when_there_is_no_room_but_the_voice_stays(
    model: CsmModel,
) -> None:
    speaker = new_speaker(model)
    speaker.hear([Segment(0, "A voice.", golden_codes(CONFIG))])
    for number in range(12):
        assert list(speaker.say(f"Text number {number}."))
        assert speaker._context.length <= CONFIG.backbone.max_positions
    assert 0 < len(speaker._said) < 12
    assert speaker._said[-1].text == "Text number 10."


def test_a_voice_prompt_that_leaves_no_room_is_refused(model: CsmModel) -> None:
    with pytest.raises(ConfigError, match="leave room to speak"):
        new_speaker(model).hear([Segment(0, "x", torch.zeros(8, 200, dtype=torch.int64))])


@pytest.mark.parametrize(
    ("codes", "complaint"),
    [
        (torch.full((8, 3), 64), "code 64, but the model knows 0 to 63"),
        (torch.full((8, 3), -1), "code -1, but the model knows 0 to 63"),
        (torch.zeros(9, 3, dtype=torch.int64), r"\[9, 3\].*1 to 8 codebooks"),
        (torch.zeros(0, 3, dtype=torch.int64), r"\[0, 3\].*1 to 8 codebooks"),
        (torch.zeros(8, dtype=torch.int64), r"\[8\].*1 to 8 codebooks"),
    ],
)
def test_a_voice_prompt_of_codes_that_cannot_be_is_refused(
    model: CsmModel, codes: Any, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        new_speaker(model).hear([Segment(0, "x", codes)])


def test_a_page_without_a_full_stop_is_spoken_to_its_end(model: CsmModel) -> None:
    class OneLoudFrame(FakeDecoder):
        def step(self, state: None, x: Any, active: Any) -> Any:
            sound = super().step(state, x, active)
            self.loudness = 0.0
            return sound

    decoder = OneLoudFrame()
    speaker = new_speaker(model, decoder, depth=2)
    tts = CsmTts(lambda: speaker, replies=1, description="csm")
    shown = ""
    for chunk in tts.speak("x" * 4000, CancelToken()):
        shown += chunk.text
        if chunk.text:
            decoder.loudness = 0.5
    assert shown == "x" * 4000


def test_a_text_that_can_never_fit_is_refused(model: CsmModel) -> None:
    with pytest.raises(ConfigError, match="too long to be spoken at once"):
        list(new_speaker(model).say("x" * 4000))


def test_silence_after_speech_ends_a_segment(model: CsmModel) -> None:
    decoder = FakeDecoder()
    heard = 0
    for pcm in new_speaker(model, decoder).say(
        "This would be quite a long sentence, by its words."
    ):
        heard += pcm.size // FRAME
        decoder.loudness = 0.0
    assert heard < 20 < frame_cap("This would be quite a long sentence, by its words.")


def test_silence_before_any_speech_is_waited_for() -> None:
    stop = SilenceStop(24_000)
    assert not stop.hear(np.zeros(48_000, np.float32))
    assert not stop.hear(np.full(2400, 0.3, np.float32))
    assert not stop.hear(np.zeros(12_000, np.float32))
    assert stop.hear(np.zeros(12_000, np.float32))


def test_only_a_whole_frame_of_zeros_is_an_end() -> None:
    assert is_end_frame([0] * 8)
    assert not is_end_frame([0, 0, 1])
    assert not is_end_frame([0])


@torch.inference_mode()
def test_an_end_frame_ends_the_segment_and_is_not_heard(model: CsmModel) -> None:
    decoder = FakeDecoder()
    speaker = new_speaker(model, decoder)
    drawn = iter([[3] * 8, [4] * 8, [0] * 8])

    def frame() -> Any:
        speaker._context.frame_was_drawn()
        return torch.tensor([next(drawn)])

    speaker._frame = frame  # type: ignore[method-assign]
    assert sum(frames_of(speaker.say("Hi."))) == 2
    speaker._finish()
    assert speaker._said[0].codes.tolist() == [[3, 4]] * 8


@pytest.mark.parametrize("depth", [1, 2, 5, 8])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_any_depth_speaks_with_any_feedback(model: CsmModel, depth: int, feedback: Any) -> None:
    decoder = FakeDecoder()
    list(new_speaker(model, decoder, depth=depth, feedback=feedback).say("Hi."))
    assert {codes.shape[1] for codes in decoder.codes} == {depth}


def test_mean_feedback_adds_the_mean_of_each_missing_codebook(model: CsmModel) -> None:
    fill = feedback_fill(model, "mean")
    tables = model.audio_embeddings.view(8, 67, -1)[:, :64]
    assert torch.allclose(fill[5], tables[5:].mean(1).sum(0), atol=1e-5)
    assert not fill[8].any()
    often = torch.zeros(8, 64)
    often[:, 3] = 1
    assert torch.allclose(feedback_fill(model, "mean", often)[7], tables[7, 3])
    assert torch.allclose(feedback_fill(model, "zero")[7], tables[7, 0])
    assert feedback_fill(model, "truncate") is None


def test_padding_modes_fill_up_to_all_codebooks() -> None:
    codes = torch.tensor([[[2], [4]]])
    assert pad_codes(codes, 5, "none") is codes
    assert pad_codes(codes, 5, "mean")[0, :, 0].tolist() == [2, 4, 3, 3, 3]
    assert pad_codes(codes, 5, "repeat")[0, :, 0].tolist() == [2, 4, 2, 4, 2]


@torch.inference_mode()
def test_depth_may_change_from_frame_to_frame(model: CsmModel) -> None:
    depths = iter([2, 2, 8, 8, 3] * 20)
    policy = FixedDepth(1)
    policy.next_depth = lambda: next(depths)  # type: ignore[method-assign]
    decoder = FakeDecoder()
    speaker = CsmSpeaker(model, decoder, TOKENS, SpeakerSettings(), lambda _: policy, lambda: 0.0)
    sizes = frames_of(speaker.say("Hello there."))
    assert sum(sizes) == frame_cap("Hello there.")
    assert {codes.shape[1] for codes in decoder.codes} == {2, 3, 8}


@torch.inference_mode()
def test_a_text_that_was_broken_off_is_closed_before_the_next(model: CsmModel) -> None:
    speaker = new_speaker(model)
    broken_off = speaker.say("One, two, three, four.")
    next(broken_off)
    broken_off.close()
    list(speaker.say("Five."))
    assert [segment.text for segment in speaker._said] == ["One, two, three, four."]
    assert speaker._said[0].codes.shape == (8, 1)
