"""What a row may cost at most, which is reserved before it is sent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from yagrpc import methods
from yagrpc.bulk.decisions.outcomes import DOUBTFUL
from yagrpc.bulk.decisions.spending import May, Spending
from yagrpc.bulk.engine.news import News
from yagrpc.errors import RequestError
from yagrpc.prices import cost_of

if TYPE_CHECKING:
    from yagrpc._aio.client import AsyncClient
    from yagrpc.bulk.decisions.plan import Plan
    from yagrpc.bulk.engine.stopping import Stopping
    from yagrpc.journal.journal import Journal

_CHUNK: Final = 100
"""Rows that are counted without a break for the other tasks of the event loop."""


class Budget:
    """The budget of one run.

    Args:
        client: Counts the tokens.
        plan: What the run is to do.
        spending: What it may cost.
        stopping: Stops the run where the next row could cost too much.
    """

    def __init__(self, client: AsyncClient, plan: Plan, spending: Spending, stopping: Stopping) -> None:
        self._client = client
        self._plan = plan
        self._spending = spending
        self._freed = News()
        self._stopping = stopping

    async def reserve(self, request: Any, model: str) -> float | None:
        """What a row may cost at most, which is reserved; `None` where it is not to be sent.

        Args:
            request: Its request.
            model: The URI of its model.

        Raises:
            RequestError: The price of its model is not known.
            InvalidArgumentError: The tokenizer refuses the request.
        """
        if self._spending.max_cost is None:
            return 0.0
        cost = await self._estimate(request, model)
        while (may := self._spending.may_cost(cost)) is May.LATER and not self._stopping.reason:
            await self._freed.wait()
        if may is May.YES:
            return cost
        text = f"the next row could cost more than max_cost={self._spending.max_cost:g} leaves"
        self._stopping.stop(text, finish=True)
        return None

    async def take_over(self, journal: Journal) -> None:
        """Count what earlier runs have spent: by the prices of this one, where the journal has no cost.

        An attempt that may have been billed without a result counts as what it may have cost.

        Args:
            journal: The journal.
        """
        if self._spending.max_cost is None:
            return
        self._spending.spent = journal.spent()
        for done, (number, attempt, tokens_in, tokens_out) in enumerate(journal.without_cost(DOUBTFUL)):
            if done % _CHUNK == 0:
                await asyncio.sleep(0)
            request = self._sent_before(journal, number, attempt)
            if request is None:
                continue
            if tokens_in + tokens_out:
                self._spending.spent += self._plan.cost(request.model_uri, tokens_in, tokens_out) or 0.0
            else:
                self._spending.spent += self._most(request)

    def hold(self, request: Any) -> float:
        """Reserve what a row may cost at most that an earlier run has sent; gives that.

        Args:
            request: Its request.
        """
        return 0.0 if self._spending.max_cost is None else self._spending.hold(self._most(request))

    def release(self, reserved: float) -> None:
        """A row was not sent: give back what was reserved for it."""
        self._spending.cost(reserved, 0.0, 0)
        self.wake()

    def wake(self) -> None:
        """Have the rows that wait see whether they may be sent now: less is reserved, or the run is stopped."""
        self._freed.wake()

    def _sent_before(self, journal: Journal, number: int, attempt: int) -> Any:
        """The request of an attempt of an earlier run; `None` where this version would refuse it."""
        before = journal.attempts(number)[: max(0, attempt - 1)]
        with contextlib.suppress(RequestError):
            return self._plan.request(self._plan.kept(journal.entry(number).fixed), before)[0]
        return None

    def _most(self, request: Any) -> float:
        """What a completion costs at most whose tokens are not counted: no token is shorter than a byte."""
        longest = self._spending.longest_answer(int(request.completion_options.max_tokens.value))
        return self._plan.cost(request.model_uri, request.ByteSize(), longest) or 0.0

    async def _estimate(self, request: Any, model: str) -> float:
        """What a row costs at most, by the tokens of its input and the limit of its answer.

        Raises:
            RequestError: The price of its model is not known.
        """
        price = self._plan.price(model)
        if price is None:
            raise RequestError("model", model, "max_cost needs its price, which is not known: give prices= (--prices)")
        tokens = await self._client.call(methods.TokenizerService.TokenizeCompletion, request)
        longest = self._spending.longest_answer(int(request.completion_options.max_tokens.value))
        found = cost_of(len(tokens.tokens), longest, price)
        assert found is not None
        return found
