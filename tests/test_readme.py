"""Every command and the program in README.md do what they say."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backtalk.audio.files import read_audio, write_wav
from backtalk.models.store import ModelStore

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
COMMANDS = [
    line.split("  #")[0].strip()
    for language, block in BLOCKS
    if language == ""
    for line in block.splitlines()
    if line.startswith("backtalk ")
]

pytestmark = [pytest.mark.models, pytest.mark.timeout(180)]


class _Endpoint(BaseHTTPRequestHandler):
    """Answers every chat completion with the same sentence."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for word in ("Good ", "question, ", "I ", "will ", "think."):
            chunk = {"choices": [{"index": 0, "delta": {"content": word}}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a newcomer stands: some recordings and a model of their own."""
    questions = ROOT / "benchmarks" / "questions" / "plain"
    for name, start in (("question", "03"), ("q1", "22"), ("q2", "03")):
        audio = read_audio(next(questions.glob(f"{start}-*.flac")))
        write_wav(tmp_path / f"{name}.wav", audio.pcm, audio.sample_rate)
    gguf = next(ModelStore.default().require("smollm2-135m").glob("*.gguf"))
    shutil.copyfile(gguf, tmp_path / "model.gguf")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, "BACKTALK_OFFLINE": "1"},
        check=False,
    )


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(command: str, folder: Path, endpoint: str) -> None:
    words = shlex.split(command.replace("http://localhost:8080/v1", endpoint))
    if words[1] == "talk" and any(word.endswith(".wav") for word in words[2:]):
        words.append("--fast")
    result = run([sys.executable, "-m", "backtalk", *words[1:]], folder)
    if words[1:] == ["talk"]:  # there is no microphone where tests run
        if result.returncode == 2:
            assert "use audio files instead" in result.stderr
        return
    assert result.returncode == 0, result.stderr
    for name in ("conversation.wav", "hello.wav"):
        if name in words:
            assert (folder / name).stat().st_size > 10_000
    if "--json" in words:
        report = json.loads(result.stdout)
        turn = report["turns"][0]
        assert turn["ttfa_ms"] == pytest.approx(sum(turn["stages"].values()), abs=1)
        assert set(report) >= {"system", "turns", "machine"}
        assert set(turn) >= {"transcript", "reply", "ttfa_ms", "stages", "rtf", "interrupted"}


def test_the_program_of_the_readme_works(folder: Path) -> None:
    (program,) = [block for language, block in BLOCKS if language == "python"]
    result = run([sys.executable, "-c", program], folder)
    assert result.returncode == 0, result.stderr
    for event in ("UserTranscript", "UserTurnEnded", "ReplyAudio", "TurnMeasured"):
        assert event in result.stdout, result.stdout[-2000:]
