"""The codec benchmark's bookkeeping: turns, frames that count, shares and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")


from backtalk.bench.codec import Contestant, measure_codecs, our_contestant  # noqa: E402
from backtalk.bench.codec_exactness import compare_exactness  # noqa: E402
from backtalk.bench.codec_report import codec_report, codec_table, draw_codec  # noqa: E402
from backtalk.codecs.mimi.config import mimi_small  # noqa: E402
from backtalk.codecs.mimi.random_mimi import random_mimi  # noqa: E402
from backtalk.codecs.mimi.round_weights import round_weights  # noqa: E402

SMALL = mimi_small()


def counting(name: str, log: list[tuple[str, str]]) -> Contestant:
    return Contestant(
        name,
        lambda pcm: log.append((name, f"encode {pcm.shape}")),
        lambda codes: log.append((name, f"decode {codes.shape}")),
    )


def test_contestants_take_turns_in_an_order_that_is_reversed_every_round() -> None:
    log: list[tuple[str, str]] = []
    contestants = [counting("a", log), counting("b", log)]
    measure_codecs(contestants, 4, rounds=2, block_frames=3, dropped_frames=1, warm_up_frames=1)
    turns = [name for name, _ in log[4::3]]
    assert turns == ["a", "a", "b", "b", "b", "b", "a", "a"]
    assert {what for _, what in log} == {"encode (1920,)", "decode (4,)"}
    assert all(len(times) == 4 for c in contestants for times in c.wall_ms.values())


def contestant(name: str, ms: float, read_bytes: dict[str, int]) -> Contestant:
    found = Contestant(name, lambda pcm: None, lambda codes: None, read_bytes)
    for times in (found.wall_ms, found.cpu_ms):
        for direction in times:
            times[direction] = [ms, ms, ms]
    return found


@pytest.fixture
def report() -> dict[str, Any]:
    contestants = [
        contestant("ours", 10.0, {"encode": 50_000_000, "decode": 20_000_000}),
        contestant("slow", 50.0, {}),
        contestant("slower", 80.0, {}),
    ]
    return codec_report(contestants, ["ours"], 8, {}, 12.34)


def test_we_are_compared_with_the_best_of_the_others(report: dict[str, Any]) -> None:
    assert report["share_of_the_best_other"] == {"ours": {"encode": 0.2, "decode": 0.2}}
    assert report["contestants"]["ours"]["encode"]["gb_per_s"] == 5.0
    assert report["contestants"]["ours"]["decode"]["gb_per_s"] == 2.0
    assert "gb_per_s" not in report["contestants"]["slow"]["encode"]


def test_without_others_there_is_no_share() -> None:
    alone = codec_report([contestant("ours", 10.0, {})], ["ours"], 8, {}, 1.0)
    assert alone["share_of_the_best_other"] == {}


def test_the_report_becomes_a_table_and_a_picture(report: dict[str, Any], tmp_path: Path) -> None:
    assert codec_table(report).row_count == 6
    draw_codec(tmp_path / "codec.png", report)
    assert (tmp_path / "codec.png").stat().st_size > 5000


def test_our_contestant_counts_the_weights_a_frame_reads() -> None:
    model = random_mimi(0, SMALL)
    exact = our_contestant("exact", model, 2)
    rounded = our_contestant("rounded", round_weights(random_mimi(0, SMALL), "int8"), 2)
    decoder = sum(p.nbytes for p in model.decoder.parameters())
    quantizer = sum(p.nbytes for p in model.quantizer.parameters())
    assert exact.read_bytes["decode"] == decoder - quantizer
    assert rounded.read_bytes["decode"] < 0.7 * exact.read_bytes["decode"]
    pcm = torch.zeros(SMALL.frame_size).numpy()
    codes = exact.encode(pcm)
    assert codes.shape == (1, 2, 1)
    assert exact.decode(codes[0, :, 0].numpy()).shape == (1, SMALL.frame_size)


def test_the_same_weights_are_exact_and_rounded_ones_nearly() -> None:
    model = random_mimi(0, SMALL)
    assert compare_exactness(model, model)["equal_codes"] == {"first": 1.0, "of 8": 1.0}
    found = compare_exactness(model, round_weights(random_mimi(0, SMALL), "int8"))
    assert 20 < found["sound_snr_db"] < 80
    assert found["equal_codes"]["first"] > 0.8
