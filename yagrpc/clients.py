"""`Client` and `AsyncClient` as users have them: the shells' clients, and what is built on them.

Rules: nothing is loaded here that a client without it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc._aio import client as _aio
from yagrpc._sync import client as _sync
from yagrpc.bulk.parameters import BulkParameters
from yagrpc.signatures import explicit_parameters

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc.bulk.asynchronous import AsyncBulk
    from yagrpc.bulk.blocking import Bulk
    from yagrpc.bulk.parameters import RowsInput


class AsyncClient(_aio.AsyncClient):  # noqa: D101 - its documentation is that of the shell's client
    __doc__ = _aio.AsyncClient.__doc__

    @explicit_parameters
    def bulk(self, rows: RowsInput, **parameters: Unpack[BulkParameters]) -> AsyncBulk:
        """A run of many requests under the quotas, which survives the end of its process; see docs/bulk.md.

        Nothing is sent before it is iterated: `async for result in client.bulk(...)`, or `await ....results()`.

        Args:
            rows: Texts, dicts with `text` or `messages` and parameters of their own, dialogues, whole requests; of any
                iterable, which is read as rows can be sent; or a Series or a DataFrame.
            **parameters: See `BulkParameters`.

        Raises:
            ConfigError: A setting can't work.
            RequestError: An argument of the completions is wrong.
        """
        from yagrpc.bulk.asynchronous import AsyncBulk

        return AsyncBulk(self, rows, parameters)


class Client(_sync.Client):  # noqa: D101 - its documentation is that of the shell's client
    __doc__ = _sync.Client.__doc__

    @explicit_parameters
    def bulk(self, rows: RowsInput, **parameters: Unpack[BulkParameters]) -> Bulk:
        """A run of many requests under the quotas, which survives the end of its process; see docs/bulk.md.

        Nothing is sent before it is iterated: `for result in client.bulk(...)`, or `....results()`.

        Args:
            rows: Texts, dicts with `text` or `messages` and parameters of their own, dialogues, whole requests; of any
                iterable, which is read as rows can be sent; or a Series or a DataFrame.
            **parameters: See `BulkParameters`.

        Raises:
            ConfigError: A setting can't work, or the client has channels or interceptors of its user's own.
            RequestError: An argument of the completions is wrong.
        """
        from yagrpc.bulk.blocking import Bulk

        return Bulk(self, rows, parameters)
