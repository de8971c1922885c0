"""A small driver for headless Chromium: the DevTools protocol over one WebSocket."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # containers and continuous integration run as root
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--use-fake-device-for-media-stream",
)


class PageError(Exception):
    """Something evaluated in the page threw."""


class Page:
    """One tab. What went wrong and what was fetched is collected from the first request on.

    Attributes:
        complaints: console errors and uncaught exceptions, as text.
        requests: every URL the page asked for.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and give its result."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        message = await asyncio.wait_for(answer, 30)
        if "error" in message:
            raise PageError(f"{method}: {message['error']['message']}")
        return message["result"]

    async def read(self) -> None:
        """Take in what the browser says; runs until the socket closes."""
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
                continue
            details = message["params"]
            match message["method"]:
                case "Runtime.exceptionThrown":
                    thrown = details["exceptionDetails"]
                    what = thrown.get("exception", {}).get("description", thrown["text"])
                    self.complaints.append(what)
                case "Log.entryAdded" if details["entry"]["level"] == "error":
                    self.complaints.append(
                        f"{details['entry']['text']} {details['entry'].get('url', '')}"
                    )
                case "Runtime.consoleAPICalled" if details["type"] in ("error", "assert"):
                    self.complaints.append(str([a.get("value") for a in details["args"]]))
                case "Network.requestWillBeSent":
                    self.requests.append(details["request"]["url"])
                case "Network.webSocketCreated":
                    self.requests.append(details["url"])

    async def open(self, url: str, *, before: str = "") -> None:
        """Load a page; `before` is script that runs ahead of the page's own."""
        if before:
            await self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression (awaited), as if a user's gesture had caused it."""
        result = await self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            thrown = result["exceptionDetails"]
            raise PageError(thrown.get("exception", {}).get("description", thrown["text"]))
        return result["result"].get("value")

    async def until(self, expression: str, timeout_s: float = 15.0) -> Any:
        """Wait until an expression is truthy; gives its value."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while not (value := await self.evaluate(expression)):
            if asyncio.get_running_loop().time() > deadline_s:
                text = await self.evaluate("document.body.innerText")
                raise AssertionError(f"never true: {expression}\n{self.complaints}\n{text}")
            await asyncio.sleep(0.03)
        return value

    async def text(self, selector: str) -> str:
        """What an element says, as a user sees it."""
        return await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    async def click(self, selector: str) -> None:
        """A real mouse click in the middle of an element."""
        await self.mouse(selector, "mousePressed")
        await self.mouse(selector, "mouseReleased")

    async def mouse(self, selector: str, what: str) -> None:
        """Press or release (`mousePressed`, `mouseReleased`) the mouse over an element."""
        where = f"document.querySelector({json.dumps(selector)})"
        x, y = await self.evaluate(
            f"(e => {{ e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect();"
            f" return [r.x + r.width / 2, r.y + r.height / 2]; }})({where})"
        )
        await self.call(
            "Input.dispatchMouseEvent", type=what, x=x, y=y, button="left", clickCount=1
        )

    async def key(self, code: str, key: str, what: str) -> None:
        """Press or release (`keyDown`, `keyUp`) a key."""
        text = {"text": key} if what == "keyDown" and len(key) == 1 else {}
        await self.call("Input.dispatchKeyEvent", type=what, code=code, key=key, **text)

    async def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        await self.call("Input.insertText", text=text)

    async def view(self, width: int, height: int, *, phone: bool = False) -> None:
        """Set the size of the window, CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    async def prefer(self, **features: str) -> None:
        """Emulate media features: `prefer(color_scheme="dark")`."""
        pairs = [
            {"name": f"prefers-{k.replace('_', '-')}", "value": v} for k, v in features.items()
        ]
        await self.call("Emulation.setEmulatedMedia", features=pairs)

    async def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write what can be seen (`whole`: the whole page) as a PNG."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))


@asynccontextmanager
async def chromium(*arguments: str, allow_microphone: bool = True) -> AsyncIterator[Page]:
    """Start Chromium with a fresh profile and give its one tab; skips the test without Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    permission = (
        "--use-fake-ui-for-media-stream" if allow_microphone else "--deny-permission-prompts"
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *ARGUMENTS,
            permission,
            *arguments,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile))
            async with _attached(port, ("Page", "Runtime", "Log", "Network")) as page:
                yield page
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _port(profile: Path) -> int:
    """The port that Chromium chose; it writes it into its profile."""
    for _ in range(400):
        lines = await asyncio.to_thread(_lines, profile / "DevToolsActivePort")
        if len(lines) == 2:
            return int(lines[0])
        await asyncio.sleep(0.05)
    raise AssertionError("Chromium did not start within 20 s")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@asynccontextmanager
async def _attached(port: int, domains: Sequence[str]) -> AsyncIterator[Page]:
    """Attach to the tab that is open."""
    async with connect(f"ws://127.0.0.1:{port}{await _tab_path(port)}", max_size=None) as socket:
        page = Page(socket)
        reading = asyncio.create_task(page.read())
        try:
            for domain in domains:
                await page.call(f"{domain}.enable")
            yield page
        finally:
            await socket.close()
            await reading


async def _tab_path(port: int) -> str:
    import httpx

    async with httpx.AsyncClient() as http:
        for _ in range(100):
            tabs = (await http.get(f"http://127.0.0.1:{port}/json")).json()
            for tab in tabs:
                if tab["type"] == "page":
                    return "/" + tab["webSocketDebuggerUrl"].split("/", 3)[3]
            await asyncio.sleep(0.05)
    raise AssertionError("Chromium has no tab")
