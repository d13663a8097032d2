"""One process of an engine: answers a batch, and writes the columns that it got."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yagrpc
from yagrpc.integrations.batches import Completions


def main(journals: str, rows: str, output: str) -> None:
    """Answer the rows of a file."""
    quota = yagrpc.Quota(submit_per_second=40, submit_per_hour=None)
    client: dict[str, Any] = {"quota": quota, "polling": yagrpc.Polling(0.05), "share": None}
    completions = Completions(journals, client=client, system="Is it praise?")
    Path(output).write_text(json.dumps(completions(json.loads(Path(rows).read_text("utf-8")))), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
