"""The package as a whole: what it costs to import, and which way imports point."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import backtalk

SOURCE = Path(backtalk.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
# A folder may import from itself and from folders to its left. The event and latency vocabularies
# are named apart, because everybody speaks them.
ORDER = [
    "errors",
    "latency",
    "audio",
    "stream",
    "models",
    "scorers",
    "watermark",
    "nn",
    "codecs",
    "session",
    "llvc",
    "cascade",
    "csm",
    "train",
    "systems",
    "realtime",
    "server",
    "cli",
]
SHARED = {"backtalk.errors", "backtalk.latency.record", "backtalk.stream.cancel"}
BESIDE_CLI = {"bench", "eval", "talk", "live_conversion", "echo", "machine", "__main__", "__init__"}


def folder_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    here = path.relative_to(SOURCE).with_suffix("").parts[0]
    if here in BESIDE_CLI or here == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("backtalk"):
            continue
        there = folder_of(node.module or "")
        if node.module in SHARED or there == here or there == "machine":
            continue
        assert there in ORDER, f"{path.name} imports {node.module}"
        assert ORDER.index(there) < ORDER.index(here), f"{path.name} imports {node.module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_file_outgrows_a_reader(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600
    assert path.stem not in ("utils", "common", "helpers", "misc")


def fastest_s(*arguments: str) -> float:
    def once() -> float:
        began_s = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - began_s

    return min(once() for _ in range(5))


def test_importing_the_package_is_quick() -> None:
    empty_s = fastest_s("-c", "pass")
    assert fastest_s("-c", "import backtalk") - empty_s < 0.15


def test_help_is_quick() -> None:
    assert fastest_s("-m", "backtalk", "--help") < 0.6  # 0.3 s where nothing else runs


def test_importing_the_commands_loads_no_model_library() -> None:
    heavy = "torch ctranslate2 onnxruntime xllamacpp soundfile matplotlib huggingface_hub numpy"
    code = (
        "import sys, backtalk.cli.main; "
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"


def test_every_public_name_can_be_had() -> None:
    for name in backtalk.__all__:
        assert getattr(backtalk, name) is not None
    with pytest.raises(AttributeError):
        _ = backtalk.no_such_name
