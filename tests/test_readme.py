"""Every command and the program in README.md do what they say."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from backtalk.audio.files import read_audio, write_wav
from backtalk.models.store import ModelStore

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
SERVED = "localhost:8765"
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


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """`backtalk serve` on a free port, ready; ended as a person would."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "backtalk", "serve", *options, "--port", str(port)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BACKTALK_OFFLINE": "1"},
    )
    try:
        deadline_s = time.monotonic() + 90
        while server.poll() is None and time.monotonic() < deadline_s:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield f"localhost:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=20)
    assert server.returncode == 0, said
    assert f"http://localhost:{port}/" in said


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ("--system", "cascade", "--system", "echo")
    with serving(tmp_path_factory.mktemp("served"), *options) as address:
        yield address


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.split()[1] == "serve"])
def test_a_server_of_the_readme_starts_gives_the_page_and_stops(command: str, folder: Path) -> None:
    with serving(folder, *shlex.split(command)[2:]) as address:
        page = httpx.get(f"http://{address}/")
        assert "<title>Backtalk" in page.text


@pytest.mark.parametrize("command", [c for c in COMMANDS if SERVED in c])
def test_a_measurement_of_a_server_in_the_readme_works(
    command: str, folder: Path, served: str
) -> None:
    (folder / "questions").mkdir()
    shutil.copyfile(folder / "question.wav", folder / "questions" / "question.wav")
    words = shlex.split(command.replace(SERVED, served))
    result = run([sys.executable, "-m", "backtalk", *words[1:]], folder)
    # A busy machine may be slower than the load bench allows, which it says with exit code 1.
    assert result.returncode in ((0, 1) if "load" in words else (0,)), result.stderr
    assert " ms" in result.stdout or "p50" in result.stdout


def test_the_client_of_the_readme_gets_an_answer(folder: Path, served: str) -> None:
    programs = [block for language, block in BLOCKS if language == "python"]
    (program,) = [program for program in programs if SERVED in program]
    result = run([sys.executable, "-c", program.replace(SERVED, served)], folder)
    assert result.returncode == 0, result.stderr
    # What the default model answers is drawn, and not always Paris.
    assert len(result.stdout.split()) >= 2


def _marked(command: str) -> object:
    """CSM at full size takes gigabytes and a minute, for noise."""
    return pytest.param(command, marks=[pytest.mark.slow] if "--system csm " in command else [])


@pytest.mark.parametrize(
    "command", [_marked(c) for c in COMMANDS if SERVED not in c and c.split()[1] != "serve"]
)
def test_a_command_of_the_readme_works(command: str, folder: Path, endpoint: str) -> None:
    words = shlex.split(command.replace("http://localhost:8080/v1", endpoint))
    if words[1] == "talk" and any(word.endswith(".wav") for word in words[2:]):
        words.append("--fast")
    if words[1:3] == ["codec", "decode"]:  # the line before it in the README
        encode = next(c for c in COMMANDS if "codec encode" in c and words[3] in c.split())
        run([sys.executable, "-m", "backtalk", *shlex.split(encode)[1:]], folder)
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
    programs = [block for language, block in BLOCKS if language == "python"]
    (program,) = [program for program in programs if SERVED not in program]
    result = run([sys.executable, "-c", program], folder)
    assert result.returncode == 0, result.stderr
    for event in ("UserTranscript", "UserTurnEnded", "ReplyAudio", "TurnMeasured"):
        assert event in result.stdout, result.stdout[-2000:]
