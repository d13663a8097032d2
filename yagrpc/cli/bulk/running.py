"""`yagrpc bulk run`: a run from a file to a file, its signals, and what it says in the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from yagrpc.bulk.asynchronous import AsyncBulk
from yagrpc.bulk.decisions.rows import Raw, digest_of, parameters_of, plan, request_of
from yagrpc.bulk.files.inputs import Input, format_of, open_input
from yagrpc.bulk.files.outputs import FinalOutput, GrowingOutput, check_free
from yagrpc.bulk.results import summary_of
from yagrpc.bulk.source import Source
from yagrpc.bulk.wording import counted
from yagrpc.cli.bulk.show import Shown
from yagrpc.cli.io.failures import FAILED, InterruptedByUser, ProblemsError, report
from yagrpc.cli.io.inputs import read_json
from yagrpc.cli.io.output import note, print_text
from yagrpc.config import Quota
from yagrpc.errors import ConfigError, JournalError, RequestError, YagrpcError
from yagrpc.journal.journal import Journal
from yagrpc.prices import cost_of

if TYPE_CHECKING:
    from yagrpc import AsyncClient
    from yagrpc.cli.options import Connection

__all__ = ["Files", "parse_quota", "run_bulk"]

SHOWN: Final = 10
"""Invalid rows that are shown at most, before anything is sent."""

SAMPLE: Final = 20
"""Rows whose tokens are counted for an estimate."""


class Files:
    """The files of a run.

    Args:
        source: The input; `-` for standard input.
        output: The output.
        journal: The journal; `None` for one beside the output.
        source_format: The format of the input; `None` for what its name says, and JSONL for standard input.
        encoding: The encoding of a CSV; `None` to find it out.
        separator: What separates the columns of a CSV; `None` to find it out.
    """

    def __init__(
        self,
        source: str,
        output: str,
        journal: str | None,
        source_format: str | None,
        encoding: str | None,
        separator: str | None,
    ) -> None:
        self.output = Path(output)
        self.journal = Path(f"{output}.journal" if journal is None else journal)
        self.output_kind = format_of(self.output)
        self._source = source
        self._kind = source_format or (None if source != "-" else "jsonl")
        self._encoding = encoding
        self._separator = separator
        if self.journal.absolute() == self.output.absolute():
            raise click.UsageError(f"{self.journal} is the output: name another journal.")
        for path in (self.output, self.journal):
            if source != "-" and path.absolute() == Path(source).absolute():
                raise click.UsageError(f"{path} is the input: name another.")
        if not os.path.isdir(self.output.absolute().parent):
            raise click.UsageError(f"{self.output.parent} is not a folder.")

    def check_output(self) -> None:
        """Check that the output of a run that begins can be there.

        Raises:
            ConfigError: It can't.
        """
        if not os.path.exists(self.journal):
            check_free(self.output)

    @contextlib.contextmanager
    def input(self) -> Iterator[Input]:
        """The input; what comes by standard input is read to its end first.

        Raises:
            ConfigError: It can't be read.
        """
        if self._source != "-":
            path = Path(self._source)
            yield open_input(path, format_of(path, self._kind), encoding=self._encoding, separator=self._separator)
            return
        with tempfile.NamedTemporaryFile(prefix="yagrpc-bulk-") as copy:
            if sys.stdin is None:  # Python starts so when stdin is closed
                raise ConfigError("standard input is closed: name a file")
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
            yield open_input(Path(copy.name), str(self._kind), encoding=self._encoding, separator=self._separator)


def run_bulk(
    files: Files,
    connection: Connection,
    parameters: Mapping[str, Any],
    *,
    quota: Quota,
    ordered: bool,
    strict: bool,
    dry_run: bool,
) -> None:
    """Run, and say in the end what became of the rows.

    Args:
        files: The files.
        connection: The settings of the client.
        parameters: The keyword arguments of `bulk`.
        quota: How much of the service's quotas is used.
        ordered: Whether the output is in the order of the input.
        strict: Whether an invalid row stops the run before anything is sent.
        dry_run: Whether nothing is sent but the tokens of some rows counted.

    Raises:
        ProblemsError: Rows are invalid, with `strict`.
    """
    with files.input() as found, Shown() as shown:
        if found.found:
            shown.say(f"yagrpc: {found.found}")
        code = asyncio.run(_run(files, found, connection, parameters, quota, shown, ordered, strict, dry_run))
    click.get_current_context().exit(code)


async def _run(
    files: Files,
    found: Input,
    connection: Connection,
    parameters: Mapping[str, Any],
    quota: Quota,
    shown: Shown,
    ordered: bool,
    strict: bool,
    dry_run: bool,
) -> int:
    from yagrpc import AsyncClient

    given = {**parameters, **connection.call_parameters()}
    source = Source(found.rows, table=found.table, total=found.total, columns=found.columns)
    async with AsyncClient(**connection.settings(), quota=quota) as client:
        bulk = AsyncBulk(client, source, {**given, "journal": files.journal, "progress": shown})
        if strict or dry_run:
            settled = _settled(files.journal) if dry_run else frozenset()
            problems, copies = _checked(bulk, found, settled)
            if dry_run:
                return await _estimate(client, bulk, found, settled, problems, copies)
            if problems:
                left = len(problems) - SHOWN
                more = [f"{left:,} more {'row is' if left == 1 else 'rows are'} invalid"] if left > 0 else []
                raise ProblemsError([*problems[:SHOWN], *more])
        files.check_output()
        task = bulk.plan.recipe.task
        output: GrowingOutput | FinalOutput
        if files.output_kind == "jsonl":
            output = GrowingOutput(files.output, task, table=found.table, ordered=ordered)
        else:
            output = FinalOutput(files.output, files.output_kind, task, table=found.table)
        bulk.output = output
        lost: JournalError | None = None
        with _signals(bulk, shown) as came:
            try:
                try:
                    await bulk.run()
                except asyncio.CancelledError:
                    if not came:
                        raise
                except JournalError as error:
                    if bulk.engine is None:
                        raise
                    lost = error
                finally:
                    if isinstance(output, FinalOutput) and output.mine and len(came) < 2:
                        with contextlib.closing(Journal(files.journal)) as journal:
                            output.write(journal)
            except YagrpcError:
                raise  # some are OSError, too
            except OSError as error:
                if lost is not None:  # the same disk is full: the next run writes the output
                    return _said(files, bulk, came, lost)
                remedy = "the journal has all results: make room, and run the same again"
                raise OSError(
                    error.errno, f"output {files.output} can't be written: {error.strerror}; {remedy}"
                ) from error
    return _said(files, bulk, came, lost)


def _said(files: Files, bulk: AsyncBulk, came: Sequence[int], lost: JournalError | None) -> int:
    """Say what became of the rows; gives the exit code.

    Args:
        files: The files.
        bulk: The run, which has ended.
        came: The signals that have come.
        lost: Why the journal could not be written; `None` where it was.
    """
    if lost is not None:
        report(lost)
    with contextlib.closing(Journal(files.journal)) as journal:
        summary = summary_of(journal)
    engine = bulk.engine
    assert engine is not None
    if came:
        running = summary.unfinished.get("running", 0)
        waits = f"; {counted(running, 'operation')} still {'runs' if running == 1 else 'run'}" if running else ""
        resume = f"resume with: {_command()}"
        ended = sum(summary.outcomes.values())
        rows = f"{counted(ended, 'row')} {'has' if ended == 1 else 'have'} ended"
        text = f"interrupted; {rows}{waits}; {resume}"
        report(InterruptedByUser(text))
        return 128 + came[0]  # as shells report it
    for line in summary.lines():
        note(line)
    if lost is not None:
        note(f"yagrpc: resume with: {_command()}")
        return FAILED
    if engine.stopped:
        note(f"yagrpc: stopped: {engine.stopped}; resume with: {_command()}")
        return FAILED
    return 0 if set(summary.outcomes) <= {"done"} else FAILED


def _command() -> str:
    return shlex.join(["yagrpc", *sys.argv[1:]])


@contextlib.contextmanager
def _signals(bulk: AsyncBulk, shown: Shown) -> Iterator[list[int]]:
    """In the block, the first signal stops the run, and a second one ends it at once; gives those that have come."""
    came: list[int] = []
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        came.append(number)
        if bulk.engine is None:
            return
        if len(came) > 1:
            bulk.engine.abort()
            return
        shown.say("yagrpc: stopping: operations that are near their end are waited for; Ctrl-C again leaves at once")
        bulk.engine.stop("interrupted")

    before = {}
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.getsignal(number)
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; another thread
                loop.add_signal_handler(number, stop, number)
    try:
        yield came
    finally:
        for number, handler in before.items():
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                if loop.remove_signal_handler(number):
                    signal.signal(number, handler)


def _settled(journal: Path) -> Collection[int]:
    """The rows that the run would not send: its journal has them.

    Raises:
        ConfigError: The journal can't be read.
    """
    if not os.path.exists(journal):
        return frozenset()
    with contextlib.closing(Journal(journal)) as opened:
        opened.check()
        return frozenset(opened.settled())


def _rows(bulk: AsyncBulk, found: Input) -> Iterator[tuple[int, Raw]]:
    """The rows that the run takes, with their numbers."""
    return enumerate(itertools.islice(found.rows(), bulk.plan.limit))


def _checked(bulk: AsyncBulk, found: Input, settled: Collection[int]) -> tuple[list[str], int]:
    """What is wrong with the rows, as far as that is known without sending them, and how many would be copies.

    Args:
        bulk: The run.
        found: The input.
        settled: The rows that are not sent again, whatever is wrong with them.
    """
    recipe, problems, copies = bulk.plan.recipe, [], 0
    ids, digests = set[str | None](), set[bytes]()
    for number, raw in _rows(bulk, found):
        planned = plan(number, raw, recipe)
        problem = planned.problem
        if not problem and planned.fixed.id is not None and planned.fixed.id in ids:
            problem = f"another row has its id, {planned.fixed.id!r}"
        ids.add(planned.fixed.id)
        if not problem:
            try:
                request = request_of(planned.value, recipe, parameters_of(planned.value, recipe))
                if bulk.plan.dedupe:
                    copies += (digest := digest_of(request)) in digests and number not in settled
                    digests.add(digest)
            except RequestError as error:
                problem = str(error)
        if problem and number not in settled:
            problems.append(f"line {raw.line}: {problem}")
    return problems, copies


async def _estimate(
    client: AsyncClient, bulk: AsyncBulk, found: Input, settled: Collection[int], problems: Sequence[str], copies: int
) -> int:
    """Print what a run would send, and what that costs; gives the exit code."""
    from yagrpc import methods

    recipe = bulk.plan.recipe
    total = found.total if bulk.plan.limit is None else min(found.total, bulk.plan.limit)
    for problem in problems[:SHOWN]:
        note(f"yagrpc: {problem}")
    of_copies = f", {copies:,} {'copy' if copies == 1 else 'copies'}" if copies else ""
    of_settled = f"{len(settled):,} of them not sent again, " if settled else ""
    print_text(f"{counted(total, 'row')}, {of_settled}{len(problems):,} of them invalid{of_copies}")
    if recipe.task != "completion":
        return FAILED if problems else 0
    sizes: list[int] = []
    for number, raw in _rows(bulk, found):
        if len(sizes) == SAMPLE:
            break
        if number in settled:
            continue
        planned = plan(number, raw, recipe)
        with contextlib.suppress(RequestError):
            if not planned.problem:
                request: Any = request_of(planned.value, recipe, parameters_of(planned.value, recipe))
                answer = await client.call(methods.TokenizerService.TokenizeCompletion, request)
                sizes.append(len(answer.tokens))
    if sizes:
        sent = total - len(settled) - len(problems) - copies
        tokens = sum(sizes) / len(sizes) * sent
        print_text(f"about {tokens:,.0f} tokens of input, by {counted(len(sizes), 'row')}")
        most = int(recipe.parameters.get("max_tokens") or 0)
        price = bulk.plan.price(recipe.model)
        least, longest = cost_of(int(tokens), 0, price), cost_of(int(tokens), most * sent, price)
        if least is None or longest is None:
            print_text(f"the price of {recipe.model} is not known: --prices FILE gives one")
        else:
            answers = f", {longest:,.2f} RUB with the longest answers" if most else ""
            print_text(f"about {least:,.2f} RUB for the input{answers}")
    return FAILED if problems else 0


def parse_quota(text: str | None) -> Quota:
    """The quotas of a run: `submit_per_second=50,submit_per_hour=none`; the others are the documented ones.

    Raises:
        click.UsageError: A name or a number is none.
    """
    quota = Quota()
    for pair in (text or "").split(","):
        name, _, value = (part.strip() for part in pair.partition("="))
        if not name and text is None:
            continue
        try:
            if name not in Quota._fields:
                raise ValueError
            number = None if value.lower() == "none" else float(value)
            whole = int(number) if number is not None and name == "concurrent_completions" else number
            quota = quota._replace(**{name: whole})  # type: ignore[arg-type]
        except ValueError:
            names = ", ".join(Quota._fields)
            raise click.UsageError(
                f"--quota has {pair!r}: it takes NAME=NUMBER or NAME=none; names: {names}."
            ) from None
    return quota


def parse_retry_on(given: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """What is tried again, of `--retry-on`: `truncated:max_tokens=x2`, `filtered:model=yandexgpt-lite`, `failed`."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        outcome, _, rest = text.partition(":")
        changes: dict[str, Any] = {}
        for pair in filter(None, rest.split(",")):
            name, _, value = pair.partition("=")
            with contextlib.suppress(ValueError):
                value = json.loads(value)
            changes[name] = value
        found[outcome] = changes
    return found or None


def read_prices(path: str | None) -> dict[str, Any] | None:
    """The prices of `--prices`."""
    return None if path is None else read_json(path)
