"""`backtalk doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict, dataclass

import typer

from backtalk.cli.agent_options import JsonOption
from backtalk.errors import BacktalkError, ConfigError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        is_needed: without it the default agent does not run.
    """

    name: str
    is_ok: bool
    says: str
    is_needed: bool = True


def doctor(json: JsonOption = False) -> None:
    """Check this machine: packages, models, plug-ins, sound devices, speed.

    Example: backtalk doctor --json
    """
    from backtalk.machine import describe_machine

    findings = [
        *_packages(),
        *_models(),
        *_plugins(),
        _sound_devices(),
        _bandwidth(),
    ]
    machine = describe_machine()
    if json:
        rows = [asdict(finding) for finding in findings]
        typer.echo(json_text.dumps({"machine": machine, "findings": rows}))
    else:
        _print(machine, findings)
    missing = [f for f in findings if f.is_needed and not f.is_ok]
    if missing:
        raise ConfigError(f"the default agent cannot run here yet: {missing[0].says}")


def _packages() -> list[Finding]:
    from importlib import import_module

    needed = ("numpy", "soundfile", "soxr", "onnxruntime", "ctranslate2", "xllamacpp", "hibari")
    findings = []
    for name in needed:
        try:
            module = import_module(name)
            says = str(getattr(module, "__version__", "installed"))
            findings.append(Finding(f"package {name}", True, says))
        except Exception as error:  # a broken binary wheel fails in many ways
            findings.append(
                Finding(f"package {name}", False, f"{name} cannot be imported: {error}")
            )
    return findings


def _models() -> list[Finding]:
    from backtalk.models.manifest import shipped_manifest
    from backtalk.models.store import ModelStore

    store, manifest = ModelStore.default(), shipped_manifest()
    needed = manifest.sets["default"]
    findings = []
    for model_id in manifest.models:
        try:
            says = str(store.require(model_id))
            findings.append(Finding(f"model {model_id}", True, says, model_id in needed))
        except BacktalkError as error:
            findings.append(Finding(f"model {model_id}", False, str(error), model_id in needed))
    return findings


def _plugins() -> list[Finding]:
    from backtalk.cascade.plugins import names

    groups = ("systems", "vad", "asr", "llm", "tts", "segmenter")
    return [
        Finding(f"plug-ins {group}", bool(found), ", ".join(found) or "none installed")
        for group in groups
        for found in [names(f"backtalk.{group}")]
    ]


def _sound_devices() -> Finding:
    from backtalk.audio.device import list_devices

    try:
        devices = list_devices()
    except BacktalkError as error:
        return Finding("sound devices", False, str(error), is_needed=False)
    inputs = sum(device.input_channels > 0 for device in devices)
    says = f"{inputs} to hear with, {len(devices)} in all"
    return Finding("sound devices", inputs > 0, says, is_needed=False)


def _bandwidth() -> Finding:
    """Memory bandwidth bounds how fast a language model can write: measure it."""
    import time

    import numpy as np

    source = np.ones(64 * 2**20, np.uint8)
    target = np.empty_like(source)
    best_s = float("inf")
    for _ in range(5):
        began_s = time.perf_counter()
        np.copyto(target, source)
        best_s = min(best_s, time.perf_counter() - began_s)
    return Finding("memory copy", True, f"{2 * source.nbytes / best_s / 1e9:.1f} GB/s, one thread")


def _print(machine: dict[str, object], findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}",
        highlight=False,
    )
    table = Table(show_header=False, box=None)
    for finding in findings:
        mark = "[green]ok[/]" if finding.is_ok else ("[red]no[/]" if finding.is_needed else "-")
        table.add_row(mark, finding.name, finding.says)
    console.print(table, highlight=False)
