"""`backtalk models`: list, fetch and check the model files on this machine."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer

from backtalk.errors import ModelError
from backtalk.models.disk import size_text
from backtalk.models.progress import Silent
from backtalk.models.store import Fetched, ModelStore

app = typer.Typer(
    name="models",
    help="List, fetch and check the model files on this machine.",
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@app.command("list", epilog="Example: backtalk models list --json")
def list_models(as_json: JsonOption = False) -> None:
    """Show which models there are and which of them are in the store."""
    store = ModelStore.default()
    rows = [
        {
            "id": model.id,
            "description": model.description,
            "licence": model.licence,
            "homepage": model.homepage,
            "size_bytes": model.size_bytes,
            "sets": [name for name, members in store.manifest.sets.items() if model.id in members],
            "present": store.is_present(model.id),
            "path": str(store.root / model.id),
        }
        for model in store.manifest.models.values()
    ]
    if as_json:
        typer.echo(json.dumps({"store": str(store.root), "models": rows}, indent=2))
        return
    _print_table(store, rows)


@app.command("get", epilog="Example: backtalk models get whisper-tiny.en silero-vad")
def get_models(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Model ids; the default set if none is named.")
    ] = None,
    set_name: Annotated[
        str | None, typer.Option("--set", help="A named set of models, such as default or eval.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not touch the network; fail if a file is missing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch models that are missing or damaged; leave the rest as it is."""
    from backtalk.cli.models_progress import progress_on_stderr

    store = ModelStore.default()
    wanted = list(ids or [])
    if set_name is not None or not wanted:
        wanted += store.manifest.set_members(set_name or "default")
    began_s = time.monotonic()
    if as_json:
        fetched = store.get_many(wanted, offline=offline, progress=Silent())
    else:
        with progress_on_stderr() as progress:
            fetched = store.get_many(wanted, offline=offline, progress=progress)
    elapsed_s = time.monotonic() - began_s
    if as_json:
        typer.echo(json.dumps(_report(store, fetched, elapsed_s), indent=2))
        return
    for line in dict.fromkeys(line for model in fetched for line in model.passed_over):
        typer.echo(f"note: {line}; the next source was used", err=True)
    total_bytes = sum(store.manifest.model(model.model_id).size_bytes for model in fetched)
    new = sum(bool(model.sources) for model in fetched)
    typer.echo(
        f"{_count(len(fetched), 'model')} in {store.root}, {size_text(total_bytes)} "
        f"({new} fetched, {len(fetched) - new} already there), {elapsed_s:.1f} s"
    )


@app.command("check", epilog="Example: backtalk models check whisper-tiny.en")
def check_models(
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Model ids; every model in the store if none is named."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read model files in full and compare their sha256; exit with 2 if any is wrong."""
    store = ModelStore.default()
    wanted = ids or [id for id in store.manifest.models if store.has_any_file(id)]
    if not wanted:
        raise ModelError(f"the model store {store.root} is empty; run `backtalk models get`")
    problems = {model_id: store.check(model_id) for model_id in wanted}
    if as_json:
        rows = [
            {
                "id": model_id,
                "ok": not found,
                "problems": [
                    {"file": p.file, "expected": p.expected, "found": p.found} for p in found
                ],
            }
            for model_id, found in problems.items()
        ]
        typer.echo(json.dumps({"store": str(store.root), "models": rows}, indent=2))
    else:
        for model_id, found in problems.items():
            for line in map(str, found) if found else ["ok"]:
                typer.echo(f"{model_id}: {line}")
    bad = [model_id for model_id, found in problems.items() if found]
    if bad:
        raise ModelError(
            f"{_count(len(bad), 'model')} of {len(problems)} incomplete or damaged; "
            f"run `backtalk models get {' '.join(bad)}`"
        )


def _print_table(store: ModelStore, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("what for")
    for row in rows:
        if row["present"]:
            here = "yes"
        else:
            here = "partly" if store.has_any_file(row["id"]) else "no"
        size = size_text(row["size_bytes"])
        table.add_row(row["id"], size, row["licence"], here, row["description"])
    # Wide when nobody looks, so that a pipe gets one line per model.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)
    console.print(table)
    typer.echo(f"\nstore: {store.root}")
    for name, members in store.manifest.sets.items():
        typer.echo(f"set {name}: {' '.join(members)}")


def _report(store: ModelStore, fetched: list[Fetched], elapsed_s: float) -> dict[str, Any]:
    return {
        "store": str(store.root),
        "elapsed_s": round(elapsed_s, 3),
        "models": [
            {
                "id": model.model_id,
                "path": str(model.path),
                "files": [
                    {
                        "name": file.name,
                        "size_bytes": file.size_bytes,
                        "source": model.sources.get(file.name, "already there"),
                    }
                    for file in store.manifest.model(model.model_id).files
                ],
                "passed_over": list(model.passed_over),
            }
            for model in fetched
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
