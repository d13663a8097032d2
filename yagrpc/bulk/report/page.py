"""The report as one HTML file: figures in, text out.

Rules: every text is escaped where it is put in. The security policy of the page allows its own style sheet, by its
hash, and nothing else: no script, no image, no address.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Final

from yagrpc.bulk.decisions.outcomes import RowOutcome
from yagrpc.bulk.decisions.progress import clock, span
from yagrpc.bulk.report.charts import Labels, Series, areas, columns, legend, meter
from yagrpc.bulk.report.figures import ALMOST, BINS, Figures, Histogram, Shown
from yagrpc.bulk.wording import counted

MARK: Final = "<!doctype html>\n<!-- a report of yagrpc bulk -->\n"
"""How every report begins: a file that begins so may be replaced by a newer one."""

KINDS: Final = (("done", "done"), ("answered, but not whole", "almost"), ("not answered", "failed"))
"""What is drawn of rows over time: names, and the classes of their colours."""


def page(figures: Figures) -> str:
    """The whole file."""
    style = importlib.resources.files("yagrpc.bulk.report").joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    sections = (_progress, _quota, _costs, _refusals, _latency, _tokens, _failures, _slowest)
    return (
        f'{MARK}<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(figures.name)}: report of a bulk run</title><style>{style}</style></head>"
        f"<body>{_header(figures)}{_tiles(figures)}<main>{''.join(make(figures) for make in sections)}</main></body>"
        "</html>\n"
    )


def _header(figures: Figures) -> str:
    options = figures.options
    what = f"{options.get('task', '?')} with {options.get('model', '?')}, mode {options.get('mode', '?')}"
    if figures.finished:
        state = "finished"
    else:
        waiting = ", ".join(f"{count:,} {name}" for name, count in figures.summary.unfinished.items())
        state = f"not finished{f' ({waiting})' if waiting else ''}"
    times = f"as it was on {_date(figures.now)}"
    if figures.starts:
        times = f"started on {_date(figures.starts[0])}, {times}"
    resumed = len(figures.starts) - 1
    again = f", resumed {_times(resumed)}" if resumed > 0 else ""
    return (
        f"<header><h1>{escape(figures.name)}</h1><p>{escape(what)}</p>"
        f"<p><span>{escape(state + again)}</span>; {times}</p></header>"
    )


def _tiles(figures: Figures) -> str:
    summary, totals = figures.summary, figures.summary.totals
    ended = sum(summary.outcomes.values())
    done = summary.outcomes.get(RowOutcome.DONE, 0)
    of = "" if figures.total is None else f"of {figures.total:,}"
    speed = f"{ended / figures.axis.seconds:,.1f} rows/s" if figures.axis.seconds > 1 else ""
    cost = "not known" if totals.cost is None else f"{totals.cost:,.2f} RUB"
    each = "" if totals.cost is None or not ended else f"{totals.cost / ended:.4f} for a row"
    tokens = totals.input_tokens + totals.output_tokens
    tiles = [
        ("ended", f"{ended:,}", of),
        ("done", f"{done:,}", _percent(done, ended)),
        ("not done", f"{ended - done:,}", _percent(ended - done, ended)),
        ("active time", span(figures.axis.seconds), speed),
        ("tokens", f"{tokens:,}", f"{totals.input_tokens:,} in, {totals.output_tokens:,} out"),
        ("cost", cost, each),
        ("attempts repeated", f"{totals.repeated:,}", f"{totals.doubtful:,} may be billed twice"),
    ]
    if summary.copies:
        tiles.append(("copies", f"{summary.copies:,}", "not sent: their requests equal others"))
    inner = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>" for name, value, more in tiles)
    return f'<dl class="tiles">{inner}</dl>'


def _progress(figures: Figures) -> str:
    ended = [list(itertools.accumulate(counts)) for counts in figures.ended]
    top = max(1, sum(counts[-1] for counts in ended))
    series = [Series(name, kind, values) for (name, kind), values in zip(KINDS, ended, strict=True)]
    labels = _over_time(figures.axis.seconds, BINS, "Rows that have ended, over time", f"{top:,}")
    return _section("Progress", areas(series, labels, top, marks=_marks(figures)) + legend(KINDS) + _pauses(figures))


def _quota(figures: Figures) -> str:
    use, axis = figures.use, figures.axis
    limit = use.per_second
    largest = max(map(operator.add, use.accepted, use.refused)) / axis.span
    top = max(largest, (limit or 0.0) * 1.05 if limit is None or limit <= 5 * largest else 0.0, 1e-3)
    top = math.ceil(top) if top > 1 else top
    series = [Series("accepted", "accent", use.accepted), Series("failed", "failed", use.refused)]
    whole = axis.spans * axis.span
    labels = _over_time(whole, axis.spans, "Requests that were sent in a second, over time", f"{top:,.3g}/s")
    marks = [(place * axis.seconds / whole, name) for place, name in _marks(figures)]
    names = [("accepted", "accent"), ("failed", "failed")]
    if limit is not None and limit <= top:
        names.append((f"quota, {limit:,g}/s", "limit"))
    line = None if limit is None else limit * axis.span
    meters = [
        _meter("busiest second", use.busiest_second, use.per_second),
        _meter("busiest hour", use.busiest_hour, use.per_hour),
    ]
    return _section(
        "Requests in a second",
        columns(series, labels, top * axis.span, line=line, marks=marks, gap=0.1)
        + legend(names)
        + f'<div class="meters">{"".join(meters)}</div>',
    )


def _meter(name: str, used: int, limit: float | None) -> str:
    if limit is None:
        return f"<span>{name}</span><span></span><span>{used:,}, no quota</span>"
    kind = "failed" if used > limit else "accent"
    return f"<span>{name}</span>{meter(used / limit, kind)}<span>{used:,} of {limit:,g}</span>"


def _refusals(figures: Figures) -> str:
    submits, gets = figures.refusals, figures.refused_gets
    codes = sorted({*submits, *gets}, key=lambda code: (-submits.get(code, 0) - gets.get(code, 0), code))
    rows = [(code, f"{submits.get(code, 0):,}", f"{gets.get(code, 0):,}") for code in codes]
    rows += [
        (f"attempt that ended as {outcome}", f"{count:,}", "") for outcome, count, _ in figures.repeated
    ]  # each was followed by another
    if not rows:
        return _section("Failed, and sent again", '<p class="note">No request failed.</p>', wide=False)
    return _section("Failed, and sent again", _table(("why", "requests", "Gets"), rows, "wnn"), wide=False)


def _latency(figures: Figures) -> str:
    found = figures.latency
    if found is None:
        return _section("Time to the result", '<p class="note">Nothing was sent.</p>')
    drawn = _histogram(found, "Seconds from submit to result", "accent", "s")
    return _section("Time to the result, in seconds", drawn)


def _tokens(figures: Figures) -> str:
    parts = []
    for name, found in (("Tokens of inputs", figures.input_tokens), ("Tokens of answers", figures.output_tokens)):
        drawn = '<p class="note">There are none.</p>' if found is None else _histogram(found, name, "accent", "")
        parts.append(_section(name, drawn, wide=False))
    return "".join(parts)


def _histogram(found: Histogram, title: str, kind: str, unit: str) -> str:
    top = max(found.counts)
    edges = [number * found.width for number in range(len(found.counts) + 1)]
    spans = [f"{low:,.4g} to {high:,.4g} {unit}".strip() for low, high in itertools.pairwise(edges)]
    last = edges[-1] if found.largest <= edges[-1] else found.largest
    beyond = "" if found.largest <= edges[-1] else "…"
    bottom = ("0", f"{edges[len(edges) // 2]:,.4g}", f"{beyond}{last:,.4g}")
    drawn = columns([Series("rows", kind, found.counts)], Labels(title, f"{top:,}", bottom, spans), top)
    parts = (("half", found.median), ("90 %", found.p90), ("99 %", found.p99), ("all", found.largest))
    said = ", ".join(f"{name} ≤ {value:,.4g}" for name, value in parts)
    return f'{drawn}<p class="note">{escape(said)}</p>'


def _costs(figures: Figures) -> str:
    rows = [
        (outcome, f"{count:,}", f"{tokens_in:,}", f"{tokens_out:,}", _roubles(cost))
        for outcome, count, tokens_in, tokens_out, cost in figures.costs
    ]
    rows += [
        (f"{outcome}, and repeated", f"{count:,}", "", "", _roubles(cost)) for outcome, count, cost in figures.repeated
    ]
    head = ("outcome", "rows", "tokens in", "tokens out", "RUB")
    return _section("Outcomes and cost", _table(head, rows, "onnnn"), wide=False)


def _failures(figures: Figures) -> str:
    if not figures.failures:
        return _section("Not done, by cause", '<p class="note">There are none.</p>')
    parts = []
    for each in figures.failures:
        cause = each.cause or each.outcome
        rows = [(sample.name, sample.text, sample.error) for sample in each.samples]
        parts.append(
            f'<h3><span class="{_kind(each.outcome)}">{escape(each.outcome)}</span>: {escape(cause)}'
            f"<small>{counted(each.rows, 'row')}</small></h3>"
            + _table(("row", "text", "error"), rows, "iww", stack=True)
        )
    left = figures.causes - len(figures.failures)
    more = f'<p class="note">{left:,} more {"cause is" if left == 1 else "causes are"} not shown.</p>' if left else ""
    return _section("Not done, by cause", "".join(parts) + more)


def _slowest(figures: Figures) -> str:
    if not figures.slowest:
        return ""
    rows = [_slow(each) for each in figures.slowest]
    head = ("row", "seconds", "outcome", "tokens", "text", "operation")
    return _section("Slowest rows", _table(head, rows, "inonwi", stack=True))


def _slow(row: Shown) -> tuple[str, ...]:
    seconds = "" if row.seconds is None else f"{row.seconds:,.1f}"
    return row.name, seconds, row.outcome, f"{row.tokens:,}", row.text, row.operation_id


_CELLS: Final = {"w": "words", "n": "number", "i": "name", "o": "name"}
"""The classes of columns: words, numbers, names, outcomes (in their colour)."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: str, *, stack: bool = False) -> str:
    """A table.

    Args:
        head: The names of the columns.
        rows: Texts, which are escaped here.
        kinds: One letter for each column, of `_CELLS`.
        stack: Whether the cells of a row stand below each other on a narrow page.
    """
    pairs = list(zip(head, kinds, strict=True))
    top = "".join(f'<th class="{_CELLS[kind]}">{escape(name)}</th>' for name, kind in pairs)
    body = "".join(
        f"<tr>{''.join(_cell(text, *pair) for text, pair in zip(row, pairs, strict=True))}</tr>" for row in rows
    )
    kind = " class=stack" if stack else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, name: str, kind: str) -> str:
    colour = f" {_kind(text.partition(',')[0])}" if kind == "o" else ""
    title = f' title="{escape(text)}"' if kind == "i" and text else ""
    return f'<td class="{_CELLS[kind]}{colour}" data-name="{escape(name)}"{title}>{escape(text)}</td>'


def _kind(outcome: str) -> str:
    return f"word-{'done' if outcome == RowOutcome.DONE else 'almost' if outcome in set(ALMOST) else 'failed'}"


def _section(title: str, inner: str, *, wide: bool = True) -> str:
    return f"<section{' class=wide' if wide else ''}><h2>{escape(title)}</h2>{inner}</section>"


def _over_time(seconds: float, bins: int, title: str, top: str) -> Labels:
    """The labels of a chart over time, of equal bins."""
    edges = [_clock(number * seconds / bins, seconds) for number in range(bins + 1)]
    names = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
    bottom = [_clock(seconds * quarter / 4, seconds) for quarter in range(5)]
    return Labels(title, top, bottom, names)


def _marks(figures: Figures) -> list[tuple[float, str]]:
    axis = figures.axis
    pauses = [(place, f"nothing for {span(seconds)}") for place, seconds in axis.pauses]
    resumed = [
        (axis.place(at), f"resumed on {_date(at)}") for at in figures.starts[1:] if axis.first <= at <= axis.last
    ]
    return [*pauses, *resumed]


def _pauses(figures: Figures) -> str:
    notes = []
    if figures.axis.pauses:
        left_out = sum(seconds for _, seconds in figures.axis.pauses)
        notes.append(f"{span(left_out)} are left out in which nothing happened")
    if any(figures.axis.first <= at <= figures.axis.last for at in figures.starts[1:]):
        notes.append("dotted lines are where the run was resumed")
    return f'<p class="note">{"; ".join(notes).capitalize()}.</p>' if notes else ""


def _clock(seconds: float, whole: float) -> str:
    """A time since the beginning; in seconds where the whole is short."""
    return f"{seconds:.1f} s" if whole < 60 else clock(seconds)


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _roubles(cost: float | None) -> str:
    return "" if cost is None else f"{cost:,.2f}"
