"""What a journal notes of its run: the options, which a later run of the same journal has to share, and facts.

Rules: options are what changes the requests, or whom they are sent to. The pace, the limits and the retries of a run
may be others each time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yagrpc.bulk.decisions.plan import Plan
from yagrpc.bulk.decisions.rows import plain
from yagrpc.bulk.recording.notes import notes_of
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown
from yagrpc.journal.changes import Noted
from yagrpc.journal.journal import JournalWriter

if TYPE_CHECKING:
    from yagrpc._aio.client import AsyncClient


def options_of(own: Mapping[str, Any], plan: Plan, client: AsyncClient) -> dict[str, Any]:
    """The options of a run, as JSON values.

    Args:
        own: The arguments of `bulk` that are its own.
        plan: What the run is to do.
        client: What sends the requests.
    """
    key, recipe = own.get("key"), plan.recipe
    options = {
        "task": own["task"],
        "mode": own["mode"],
        "model": recipe.model,
        "folder_id": client._core.folder_id,
        "service": client._core.endpoints.model.rpartition(":")[0],
        "table": recipe.table or None,
        "text": own["text"] if recipe.table else None,
        "key": "a function" if callable(key) else key,
        "template": own.get("template"),
        **recipe.parameters,
    }
    found: dict[str, Any] = json.loads(json.dumps(options, default=plain))
    return {name: value for name, value in found.items() if value is not None}


def open_journal(path: Path, options: Mapping[str, Any], plan: Plan) -> JournalWriter:
    """The journal of a run, with the options of that.

    Args:
        path: The file.
        options: The options of the run.
        plan: What the run is to do.

    Raises:
        ConfigError: It is of a run with other options, or can't be used.
    """
    writer = JournalWriter(path)
    try:
        if before := notes_of(writer).options:
            _check_same(path, before, options)
        else:
            writer.commit([Noted("options", json.dumps(options, sort_keys=True))])
        if plan.dedupe:
            writer.keep_copies()
    except BaseException:
        writer.close()
        raise
    return writer


def _check_same(path: Path, before: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Compare the options of two runs.

    Raises:
        ConfigError: They differ.
    """
    names = sorted(name for name in before.keys() | options.keys() if before.get(name) != options.get(name))
    if names:
        changes = "; ".join(
            f"{name} was {shown(before.get(name))}, and is {shown(options.get(name))}" for name in names
        )
        raise ConfigError(
            f"journal {path} is of a run with other options: {changes}; give the same, or name another journal"
        )


def note_start(writer: JournalWriter, plan: Plan, client: AsyncClient) -> None:
    """Note what a report shows of a run that starts, beside its rows.

    Args:
        writer: The journal.
        plan: What the run is to do.
        client: What sends the requests.
    """
    use = client.limits
    limits = (use.submit_per_second.limit, use.submit_per_hour.limit) if plan.mode == "async" else (None, None)
    starts = [*notes_of(writer).starts, time.time()]
    facts = {"starts": starts, "expected": plan.total, "submit_limits": limits, "total": None}
    writer.commit([Noted(name, json.dumps(value)) for name, value in facts.items()])
