"""The options of a connection, which every command that calls has, and the clients that they become.

Rules: what is not given is not passed on, so that the client's own defaults hold; values that the client checks are
not checked here. There is no option for a credential: other users of a machine can read its command lines.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec

import click

from yagrpc.cli.options import with_options

if TYPE_CHECKING:
    from yagrpc import CallParameters, Client

__all__ = ["Connection", "connected"]

P = ParamSpec("P")

LONGEST: Final = 10_000_000.0
"""Seconds that a timeout may have, 115 days: far above the three days for which results are kept, and far below
what overflows a clock."""


def _seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= LONGEST:  # written so that NaN is refused too
        raise click.BadParameter(f"{value} is not a number of seconds from 0 to {LONGEST:.0f}.", ctx, param)
    return value


@dataclass(frozen=True)
class Connection:
    """Where calls go, and how."""

    folder_id: str | None
    endpoint: str | None
    operation_endpoint: str | None
    plaintext: bool
    timeout: float | None
    data_logging: bool | None
    request_id: str | None

    def client(self) -> Client:
        """A client, with credentials from the environment."""
        from yagrpc import Client  # with gRPC, which takes long to import and help needs not

        return Client(
            folder_id=self.folder_id,
            endpoint=self.endpoint,
            operation_endpoint=self.operation_endpoint,
            plaintext=self.plaintext,
            data_logging=self.data_logging,
        )

    def calling(self) -> CallParameters:
        """Parameters of each call."""
        given: CallParameters = {}
        if self.timeout is not None:
            given["timeout"] = self.timeout
        if self.request_id is not None:
            given["request_id"] = self.request_id
        return given


def connected(
    timeout_help: str, *, request_id: bool = True
) -> Callable[[Callable[Concatenate[Connection, P], None]], Callable[..., None]]:
    """Give a command the options of its connection; it takes them as a `Connection`, its first argument.

    Args:
        timeout_help: What the timeout is over, and its default.
        request_id: Whether a request id of the user's own can be sent along.
    """

    def decorate(function: Callable[Concatenate[Connection, P], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(
            *args: Any,
            folder_id: str | None,
            endpoint: str | None,
            operation_endpoint: str | None,
            plaintext: bool,
            timeout: float | None,
            no_data_logging: bool,
            request_id: str | None = None,
            **kwargs: Any,
        ) -> None:
            data_logging = False if no_data_logging else None
            connection = Connection(
                folder_id, endpoint, operation_endpoint, plaintext, timeout, data_logging, request_id
            )
            function(connection, *args, **kwargs)

        options = [
            click.option("--folder-id", metavar="ID", help="The folder of short model names.  [default: YC_FOLDER_ID]"),
            click.option(
                "--endpoint", metavar="HOST:PORT", help="The model service's endpoint, in place of Yandex Cloud's."
            ),
            click.option(
                "--operation-endpoint", metavar="HOST:PORT", help="The operation service's endpoint, likewise."
            ),
            click.option("--plaintext", is_flag=True, help="Connect without TLS; to loopback only."),
            click.option("--timeout", type=float, callback=_seconds, metavar="SECONDS", help=timeout_help),
            click.option("--no-data-logging", is_flag=True, help="Ask the service not to store requests and answers."),
        ]
        if request_id:
            text = "Sent as x-client-request-id.  [default: a new UUID]"
            options.append(click.option("--request-id", metavar="ID", help=text))
        return with_options(command, *options)

    return decorate
