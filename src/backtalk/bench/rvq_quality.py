"""How good speech is at several depths: held-out sentences, judged as `backtalk eval` judges.

Beside each depth stands what the codec alone leaves of the corpus's own recordings at that depth: a
voice cannot sound better than its codec.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.audio.wada_snr import wada_snr_db
from backtalk.bench.rvq import SAMPLE_RATE, Spoken
from backtalk.errors import ConfigError
from backtalk.eval.judges import Judgement, Judges
from backtalk.eval.replies import Reply, audible, true_replies
from backtalk.eval.scores import reply_wer
from backtalk.latency.percentiles import percentiles
from backtalk.train.minitalk.corpus import Corpus
from backtalk.train.minitalk.shard_file import read_shard

if TYPE_CHECKING:
    from backtalk.codecs.mimi.mimi_model import MimiModel

Heard = Mapping[int | str, Sequence[Reply]]
"""Replies by depth."""


def held_out_answers(folder: Path, count: int) -> list[Reply]:
    """The corpus's own recordings of answers that are nowhere in what there is to learn from.

    Raises:
        ConfigError: fewer than one is asked for, or there are fewer.
        CorpusError: the folder is no corpus, a test shard is missing, or a shard is damaged.
    """
    corpus = Corpus(folder)
    learnt = {
        spoken.turn.answer
        for plan in corpus.made("train")
        for item in read_shard(corpus.path_of(plan), with_audio=False)
        for spoken in item.turns
    }
    found: dict[str, Reply] = {}
    for reply in true_replies(list(corpus.items("test"))):
        if reply.spoken.turn.answer not in learnt and len(found) < count:
            found.setdefault(reply.spoken.turn.answer, reply)
    if not 1 <= count <= len(found):
        raise ConfigError(
            f"--sentences {count}: {folder} has {len(found)} answers that are only in its test "
            "split; give 1 to that many"
        )
    return list(found.values())


def spoken_replies(true: Sequence[Reply], spoken: Mapping[int | str, Sequence[Spoken]]) -> Heard:
    """What was spoken of those sentences, at every depth."""
    return {
        depth: [_with_pcm(reply, one.pcm) for reply, one in zip(true, row, strict=True)]
        for depth, row in spoken.items()
    }


def codec_replies(mimi: MimiModel, true: Sequence[Reply], depths: Sequence[int | str]) -> Heard:
    """What the codec leaves of the recordings with the first codes of each frame alone."""
    from backtalk.codecs.mimi.mimi_codec import MimiCodec

    codec = MimiCodec(mimi, mimi.config.total_codebooks)
    codes = [codec.encode(reply.pcm, reply.sample_rate) for reply in true]
    return {
        depth: [
            _with_pcm(reply, codec.decode(one[:depth]))
            for reply, one in zip(true, codes, strict=True)
        ]
        for depth in depths
        if isinstance(depth, int)
    }


def judge_all(
    judges: Judges, replies: Sequence[Reply], show: Callable[[], None]
) -> list[Judgement]:
    """Judge one by one; `show` is told after each."""
    judgements = []
    for reply in replies:
        judgements.append(judges.judge(reply))
        show()
    return judgements


def quality_row(depth: int | str, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Word errors over all words, and medians over sentences, for JSON."""
    qualities = [one.quality for one in judgements if one.quality is not None]
    alike = [one.similarity for one in judgements if one.similarity is not None]
    spread = {
        "dnsmos": percentiles(quality.overall for quality in qualities),
        "similarity": percentiles(alike),
        "wada_snr_db": percentiles(
            wada_snr_db(one.reply.pcm) for one in judgements if one.reply.pcm.size
        ),
        "seconds": percentiles(len(one.reply.pcm) / one.reply.sample_rate for one in judgements),
    }
    wer = reply_wer(judgements)
    return {
        "depth": depth,
        "n": len(judgements),
        "silent": len(judgements) - len(qualities),
        "wer": None if wer is None else round(wer, 4),
        **{name: None if found is None else round(found.p50, 3) for name, found in spread.items()},
    }


def _with_pcm(reply: Reply, pcm: Any) -> Reply:
    return Reply(
        reply.name,
        reply.voice,
        reply.spoken,
        reply.spoken.turn.answer,
        audible(pcm, SAMPLE_RATE),
        SAMPLE_RATE,
    )
