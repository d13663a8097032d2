"""`yagrpc limits`: what the processes that share a folder's quotas have used of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from yagrpc.cli.io.output import print_json, print_text
from yagrpc.cli.options import examples, json_option

if TYPE_CHECKING:
    from yagrpc import Used

__all__ = ["limits"]

_EVERY: Final = 1.0
"""Seconds between two views with `--watch`."""


@click.command(
    epilog=examples(
        "yagrpc limits --folder-id b1g...",
        "yagrpc limits --share redis://127.0.0.1:6379/0 --watch",
        "yagrpc limits --json | jq '.quotas[] | select(.left == 0)'",
    )
)
@json_option("Print the quotas as JSON.")
@click.option("--folder-id", metavar="ID", help="The folder.  [default: YC_FOLDER_ID]")
@click.option(
    "--share", metavar="PLACE", help="Where it is counted: auto, a file, redis://...  [default: YAGRPC_SHARE]"
)
@click.option("--watch", is_flag=True, help="Show it again every second, until it is interrupted.")
@click.option("--times", type=click.IntRange(1), help="With --watch: how often it is shown.  [default: no limit]")
def limits(folder_id: str | None, share: str | None, watch: bool, times: int | None, as_json: bool) -> None:
    """Show what is used of a folder's quotas, and by whom.

    The count is that of the clients that were created with the same `share`. The command reads it and changes nothing.
    """
    from yagrpc import quota_use  # this loads gRPC, which help does not need

    shown = 0
    while True:
        rows = quota_use(folder_id, share=share)
        if as_json:
            print_json({"quotas": list(_quotas(rows).values())}, one_line=watch)
        else:
            print_text("\n".join(_lines(rows)))
        shown += 1
        if not watch or shown == times:
            return
        time.sleep(_EVERY)


def _quotas(rows: list[Used]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        quota = found.setdefault(row.quota, {"quota": row.quota, "limit": row.limit, "used": 0, "by": {}})
        quota["used"] += row.slots
        if row.slots:
            quota["by"][row.participant] = row.slots
    for quota in found.values():
        quota["left"] = max(0, int(quota["limit"]) - quota["used"])
    return found


def _lines(rows: list[Used]) -> list[str]:
    quotas = _quotas(rows)
    if not quotas:
        return ["no process shares quotas there"]
    lines = [f"{'quota':26} {'limit':>7} {'used':>6} {'left':>6}  by"]
    for quota in quotas.values():
        by = ", ".join(f"{name} {slots}" for name, slots in quota["by"].items())
        lines.append(f"{quota['quota']:26} {quota['limit']:7g} {quota['used']:6} {quota['left']:6}  {by}".rstrip())
    return lines
