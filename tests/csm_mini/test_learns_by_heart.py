"""The recipe on twenty spoken sentences, as it is run: corpus, codec, training, file, plug-in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors.torch import save_file  # noqa: E402

from backtalk.codecs.mimi.config import MimiConfig  # noqa: E402
from backtalk.codecs.mimi.mimi_codec import MimiCodec  # noqa: E402
from backtalk.codecs.mimi.new_mimi import new_mimi  # noqa: E402
from backtalk.codecs.mimi.save import mimi_tensors  # noqa: E402
from backtalk.codecs.mimi.sizes_in_file import sizes_metadata  # noqa: E402
from backtalk.csm.depth_policy import FixedDepth  # noqa: E402
from backtalk.csm.files import CsmParts, load_parts  # noqa: E402
from backtalk.csm.speaker import CsmSpeaker, SpeakerSettings  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402
from backtalk.train.harness import Hardware, train  # noqa: E402
from backtalk.train.mimi_in_training import MimiInTraining  # noqa: E402
from backtalk.train.minitalk.answer_voice import AnswerVoice  # noqa: E402
from backtalk.train.minitalk.corpus import Corpus, begin_corpus  # noqa: E402
from backtalk.train.minitalk.plan import MiniTalkSettings, plan_dialogues  # noqa: E402
from backtalk.train.minitalk.shard_file import ShardWriter  # noqa: E402
from backtalk.train.recipes.table import RECIPES  # noqa: E402

STEPS = 400
CODEC = MimiConfig(
    channels=8,
    width=64,
    transformer_layers=1,
    heads=2,
    hidden=128,
    codebook_dim=32,
    cardinality=128,
    total_codebooks=8,
)
CHANGES = (
    *("layers=3", "width=128", "hidden=256", "heads=4", "kv_heads=4", "depth_width=64"),
    *("depth_layers=1", "depth_hidden=128", "hours=1", "batch_size=8", "positions=160"),
    *("later_share=0.5", f"steps={STEPS}", "score_every=1000", "checkpoint_every=1000"),
    *("workers=0", "warm_up_steps=20", "weight_decay=0.0", "average_decay=0.95"),
)


class Silent:
    def begin(self, first_step: int, steps: int) -> None: ...
    def stepped(self, step: int, values: Mapping[str, float]) -> None: ...


class Keeping:
    """Mimi's decoder, and the codes that it was given."""

    def __init__(self, decoder: Any) -> None:
        self.decoder, self.codes = decoder, []

    def alloc(self, slots: int) -> Any:
        return self.decoder.alloc(slots)

    def step(self, state: Any, x: Any, active: Any) -> Any:
        self.codes.append(x[0].numpy())
        return self.decoder.step(state, x, active)


def write_corpus(folder: Path) -> Corpus:
    """About twenty training answers in the answer voice; questions are silent."""
    corpus = begin_corpus(folder, MiniTalkSettings(hours=0.02))
    voice = AnswerVoice()
    for plan in corpus.plans:
        with ShardWriter(corpus.path_of(plan)) as shard:
            for name, dialogue, _ in plan_dialogues(plan):
                answers = [voice.speak(turn.answer, 0) for turn in dialogue.turns]
                turns = [
                    (turn, answer.resampled(16_000), answer, False)
                    for turn, answer in zip(dialogue.turns, answers, strict=True)
                ]
                shard.add(name, plan.split, dialogue.voice, {}, turns)
    return corpus


def write_codec(path: Path, corpus: Corpus) -> None:
    """Random weights; the centroids are where these recordings are."""
    torch.manual_seed(0)
    codec = MimiInTraining(new_mimi(CODEC), 8, 0.99)
    pcm = np.concatenate([t.answer.pcm()[0] for i in corpus.items("train") for t in i.turns])
    windows = torch.from_numpy(pcm[: len(pcm) // 19_200 * 19_200]).view(-1, 19_200)
    codec.begin_codebooks(list(windows.split(16)))
    save_file(mimi_tensors(codec.model), path, sizes_metadata(CODEC))


def said(parts: CsmParts, text: str, depth: int) -> np.ndarray:
    """Int64 [N, frames], likeliest first."""
    keeping = Keeping(parts.mimi.decoder)
    settings = SpeakerSettings(temperature=0.0, feedback=parts.feedback)
    speaker = CsmSpeaker(parts.csm, keeping, parts.tokens, settings, lambda _: FixedDepth(depth))
    list(speaker.say(text))
    return np.concatenate(keeping.codes, axis=1)


@pytest.mark.slow
def test_it_says_what_it_has_learned_by_heart_at_every_depth(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    codec = tmp_path / "codec.safetensors"
    write_codec(codec, corpus)
    out = tmp_path / "out"
    settings = RECIPES["csm-mini"].read_settings([*CHANGES, f"codec={codec}"])
    train(RECIPES["csm-mini"], settings, corpus.folder, out, Hardware("cpu"), Silent())
    model = str(out / "model.safetensors")
    parts = load_parts(ModelStore(tmp_path), model, str(codec), "float32", "cpu")
    sentences = {
        turn.answer.text: MimiCodec(parts.mimi, 8).encode(turn.answer.pcm()[0])
        for item in corpus.items("train")
        for turn in item.turns
    }
    assert len(sentences) >= 15
    for depth in (2, 4, 8):
        same = frames = 0
        for text, codes in sentences.items():
            mine = said(parts, text, depth)
            length = min(mine.shape[1], codes.shape[1])
            same += int((mine[:, :length] == codes[:depth, :length]).sum())
            frames += max(mine.shape[1], codes.shape[1])
        assert same >= 0.95 * depth * frames, (depth, same / depth / frames)
