"""The hub's own library against a small server on this machine that answers as the hub does."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_fakes import Heard, file_of

from backtalk.models import hub as hub_module
from backtalk.models.hub import Hub
from backtalk.models.manifest import HubFile, ModelFile
from backtalk.models.progress import Silent
from backtalk.models.source_error import SourceError

REVISION = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b"weights" * 20_000


class Server(http.server.ThreadingHTTPServer):
    files: dict[str, tuple[bytes, str]]
    asked: list[str]

    def put(self, path: str, content: bytes, etag: str) -> HubFile:
        source = HubFile("owner/name", REVISION, path)
        self.files[f"/owner/name/resolve/{REVISION}/{path}"] = (content, etag)
        return source

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        found = self.server.files.get(self.path)
        self.send_response(200 if found else 404)
        content, etag = found or (b"", "")
        self.send_header("Content-Length", str(len(content)))
        if found:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", REVISION)
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    made = Server(("127.0.0.1", 0), Handler)
    made.files, made.asked = {}, []
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_from_the_hub(server: Server, tmp_path: Path) -> None:
    source = server.put("sub/model.bin", CONTENT, sha256(CONTENT))
    heard = Heard()
    hub = Hub(tmp_path, server.endpoint)
    path = hub.download(source, file_of("model.bin", CONTENT, source), heard)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(hub.folder_of(source))
    assert heard.began_with == [("model.bin from the model hub", len(CONTENT))]
    assert heard.bytes[-1] == len(CONTENT)


def test_a_complete_download_of_an_interrupted_run_is_not_repeated(
    server: Server, tmp_path: Path
) -> None:
    source = server.put("model.bin", CONTENT, sha256(CONTENT))
    file = file_of("model.bin", CONTENT, source)
    Hub(tmp_path, server.endpoint).download(source, file, Silent())
    server.asked.clear()
    Hub(tmp_path, server.endpoint).download(source, file, Silent())
    assert not [line for line in server.asked if line.startswith("GET")]


def test_other_bytes_are_noticed_before_they_are_downloaded(server: Server, tmp_path: Path) -> None:
    same_size = b"W" + CONTENT[1:]
    source = server.put("model.bin", same_size, sha256(same_size))
    with pytest.raises(SourceError, match=f"expected {sha256(CONTENT)}, found {sha256(same_size)}"):
        Hub(tmp_path, server.endpoint).download(
            source, file_of("model.bin", CONTENT, source), Silent()
        )
    source = server.put("model.bin", b"short", "a" * 40)
    with pytest.raises(SourceError, match=f"expected {len(CONTENT)} bytes, found 5"):
        Hub(tmp_path, server.endpoint).download(
            source, file_of("model.bin", CONTENT, source), Silent()
        )
    assert not [line for line in server.asked if line.startswith("GET")]


def test_a_file_the_hub_lacks_does_not_count_as_an_unreachable_hub(
    server: Server, tmp_path: Path
) -> None:
    lost = HubFile("owner/name", REVISION, "lost.bin")
    there = server.put("config.json", b"{}", "b" * 40)
    hub = Hub(tmp_path, server.endpoint)
    with pytest.raises(SourceError, match=r"owner/name answers 404 for lost\.bin"):
        hub.download(lost, file_of("lost.bin", CONTENT, lost), Silent())
    assert hub.download(there, file_of("config.json", b"{}", there), Silent()).read_bytes() == b"{}"


def test_the_librarys_own_offline_switch_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    source = HubFile("owner/name", REVISION, "model.bin")
    with pytest.raises(SourceError, match=r"cannot be reached \(HF_HUB_OFFLINE is set\)"):
        Hub(tmp_path).download(source, file_of("model.bin", CONTENT, source), Silent())


def ask_twice(hub: Hub) -> list[float]:
    """How long two failing downloads take, in seconds."""
    from huggingface_hub import hf_hub_download  # noqa: F401  (its import is not the hub's fault)

    source = HubFile("owner/name", REVISION, "model.bin")
    file: ModelFile = file_of("model.bin", CONTENT, source)
    took_s = []
    for _ in range(2):
        began_s = time.monotonic()
        with pytest.raises(SourceError, match="the model hub cannot be reached"):
            hub.download(source, file, Silent())
        took_s.append(time.monotonic() - began_s)
    return took_s


def test_a_refused_connection_costs_little_and_only_once(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    first_s, second_s = ask_twice(Hub(tmp_path, f"http://127.0.0.1:{port}"))
    assert first_s < 2.5
    assert second_s < 0.05


def test_a_hub_that_never_answers_costs_little_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ANSWER_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        first_s, second_s = ask_twice(Hub(tmp_path, endpoint))
    assert first_s < 2.0
    assert second_s < 0.05


def test_a_name_lookup_that_hangs_is_not_waited_for() -> None:
    began_s = time.monotonic()
    release = threading.Event()
    value, error = hub_module._within(0.1, release.wait)
    release.set()
    assert value is None
    assert isinstance(error, TimeoutError)
    assert time.monotonic() - began_s < 2.0
