from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from model_fakes import build_wheel

from backtalk.models import wheels
from backtalk.models.manifest import Wheel
from backtalk.models.source_error import SourceError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    delivered, scratch = tmp_path / "delivered", tmp_path / "scratch"
    delivered.mkdir()
    scratch.mkdir()
    return delivered, scratch


def test_the_real_pip_fetches_a_wheel_as_it_is_configured(
    tmp_path: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The user's configuration: no index, a folder of wheels. The wheel asks for a Python that does
    # not exist and for a package that is nowhere; neither matters for an archive.
    path = build_wheel(
        tmp_path / "house" / "archive_only-1.0-py3-none-any.whl", "archive-only", "1.0", {"a": b"x"}
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    delivered, scratch = folders
    assert wheels.pip_download(Wheel("archive-only", "1.0", 1), delivered, scratch) is None
    assert [p.name for p in delivered.iterdir()] == [path.name]
    complaint = wheels.pip_download(Wheel("not-there", "1.0", 1), delivered, scratch)
    assert complaint == "No matching distribution found for not-there==1.0"


def test_without_pip_in_this_python_one_on_the_path_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name == "pip" else None)
    assert wheels.pip_command() == ["/bin/pip"]


def test_without_any_pip_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SourceError, match="-m ensurepip"):
        wheels.pip_command()


def test_this_pythons_own_pip_comes_first() -> None:
    assert wheels.pip_command() == [sys.executable, "-P", "-m", "pip"]


UNREACHABLE = """\
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by \
'NameResolutionError("HTTPSConnection(host='index.invalid', port=443): Failed to resolve \
'index.invalid' ([Errno -2] Name or service not known)")': /simple/p/
ERROR: Could not find a version that satisfies the requirement p==1 (from versions: none)
ERROR: No matching distribution found for p==1
"""


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (
            UNREACHABLE,
            "NameResolutionError: Failed to resolve 'index.invalid' "
            "([Errno -2] Name or service not known)",
        ),
        ("ERROR: a\nERROR: No matching distribution found for p==1\n", "No matching distribution"),
        ("ERROR: HTTP error 403 while getting p\n", "HTTP error 403"),
        (
            "ERROR: Exception:\nTraceback (most recent call last):\n  File x\n"
            "OSError: [Errno 28] No space left on device\n",
            "OSError: [Errno 28] No space left on device",
        ),
        ("something else\n", "something else"),
        ("", "pip said nothing"),
    ],
)
def test_pips_output_becomes_one_line(output: str, says: str) -> None:
    complaint = wheels.pip_complaint(output)
    assert complaint.startswith(says)
    assert "\n" not in complaint
