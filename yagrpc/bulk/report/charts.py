"""The charts of a report, as SVG with labels in HTML beside it: so they are legible at any width.

Rules: pure. Shapes are stretched to the width of the page; texts are not. Colours are classes of the style sheet, since
the page's security policy allows no other styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

_WIDTH: Final = 1000
_HEIGHT: Final = 200


class Series(NamedTuple):
    """Values that are drawn in one colour.

    Args:
        name: What they are.
        kind: The class of their colour.
        values: One for each column.
    """

    name: str
    kind: str
    values: Sequence[float]


class Labels(NamedTuple):
    """What stands along a chart.

    Args:
        title: What the chart shows, for those who do not see it.
        top: The largest value.
        bottom: What stands along the lower side, from left to right.
        columns: What each column is, for its tooltip.
    """

    title: str
    top: str
    bottom: Sequence[str]
    columns: Sequence[str]


def columns(
    series: Sequence[Series],
    labels: Labels,
    top: float,
    *,
    line: float | None = None,
    marks: Sequence[tuple[float, str]] = (),
    gap: float = 0.15,
) -> str:
    """Columns, one series on the other.

    Args:
        series: What is drawn, from below.
        labels: What stands along it.
        top: The value at the upper side.
        line: A value at which a line is drawn, such as a quota.
        marks: Places, from 0 to 1, where a line is drawn from top to bottom, and what each is.
        gap: The part of a column that is left free.
    """
    shapes = []
    step = _WIDTH / max(1, len(labels.columns))
    for number, column in enumerate(labels.columns):
        base, parts = 0.0, []
        for each in series:
            value = each.values[number]
            if value > 0:
                height = value / top * _HEIGHT
                parts.append(
                    f'<rect class="{each.kind}" x="{number * step:.1f}" y="{_HEIGHT - base - height:.1f}"'
                    f' width="{step * (1 - gap):.1f}" height="{height:.1f}"/>'
                )
                base += height
        if parts:
            said = ", ".join(f"{each.values[number]:,.4g} {each.name}" for each in series if each.values[number] > 0)
            shapes.append(f"<g><title>{escape(f'{column}: {said}')}</title>{''.join(parts)}</g>")
    return _chart("".join(shapes) + _lines(line, top, marks), labels)


def areas(series: Sequence[Series], labels: Labels, top: float, *, marks: Sequence[tuple[float, str]] = ()) -> str:
    """Areas, one series on the other; a value is that at the right end of its column.

    Args:
        series: What is drawn, from below.
        labels: What stands along it.
        top: The value at the upper side.
        marks: Places, from 0 to 1, where a line is drawn from top to bottom, and what each is.
    """
    count = len(labels.columns)
    step = _WIDTH / max(1, count)
    below = [0.0] * (count + 1)
    shapes = []
    for each in series:
        if not any(each.values):
            continue
        above = [base + value for base, value in zip(below, (0.0, *each.values), strict=True)]
        points = [*enumerate(above), *reversed([*enumerate(below)])]
        drawn = " ".join(f"{place * step:.1f},{_HEIGHT - value / top * _HEIGHT:.1f}" for place, value in points)
        title = f"{each.values[-1]:,.0f} {each.name}"
        shapes.append(f'<polygon class="{each.kind}" points="{drawn}"><title>{escape(title)}</title></polygon>')
        below = above
    return _chart("".join(shapes) + _lines(None, top, marks), labels)


def legend(series: Sequence[tuple[str, str]]) -> str:
    """What the colours are: names, and the classes of their colours."""
    items = "".join(
        f'<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="{kind}" width="10" height="10"/>'
        f"</svg>{escape(name)}</li>"
        for name, kind in series
    )
    return f'<ul class="legend">{items}</ul>'


def meter(part: float, kind: str) -> str:
    """A bar that is filled in part."""
    width = round(min(1.0, max(0.0, part)) * 100, 1)
    return (
        '<svg class="meter" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="ground" width="100" height="1"/><rect class="{kind}" width="{width}" height="1"/></svg>'
    )


def _lines(line: float | None, top: float, marks: Sequence[tuple[float, str]]) -> str:
    found = [
        f'<g><title>{escape(name)}</title><line class="mark" x1="{place * _WIDTH:.1f}" x2="{place * _WIDTH:.1f}"'
        f' y1="0" y2="{_HEIGHT}"/></g>'
        for place, name in marks
    ]
    if line is not None and line <= top:
        height = _HEIGHT - line / top * _HEIGHT
        found.append(f'<line class="limit" x1="0" x2="{_WIDTH}" y1="{height:.1f}" y2="{height:.1f}"/>')
    return "".join(found)


def _chart(shapes: str, labels: Labels) -> str:
    grid = "".join(
        f'<line class="grid" x1="0" x2="{_WIDTH}" y1="{height}" y2="{height}"/>'
        for height in (0, _HEIGHT // 2, _HEIGHT)
    )
    bottom = "".join(f"<span>{escape(text)}</span>" for text in labels.bottom)
    return (
        f'<div class="chart"><div class="side"><span>{escape(labels.top)}</span><span>0</span></div>'
        f'<svg role="img" aria-label="{escape(labels.title)}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' preserveAspectRatio="none">{grid}{shapes}</svg><div class="foot">{bottom}</div></div>'
    )
