"""The report of a run: what it counts, that it can be written while the run is on, and how it looks in a browser."""

from __future__ import annotations

import contextlib
import html
import random
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import yagrpc
from tests.bulk.conftest import settings
from tests.bulk.journals import HOSTILE, PAUSE, write_journal
from yagrpc.bulk.report.charts import Labels, Series, columns
from yagrpc.bulk.report.figures import BINS, Axis, Figures, busiest, figures_of, histogram, outline
from yagrpc.bulk.report.page import page
from yagrpc.cli.bulk.journals import write_report
from yagrpc.emulator import Emulator, EmulatorQuota
from yagrpc.errors import ConfigError
from yagrpc.journal.changes import Accepted, Ended, Fixed, Intent, Result
from yagrpc.journal.journal import Journal, JournalWriter

if TYPE_CHECKING:
    from tests.bulk.conftest import Runs

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "reviews.jsonl.journal"
    write_journal(path)
    return path


@pytest.fixture(scope="module")
def report(journal: Path) -> Path:
    path = journal.with_name("report.html")
    write_report(journal, path)
    return path


def figures(path: Path) -> Figures:
    with contextlib.closing(Journal(path)) as opened:
        return figures_of(opened)


def test_figures_count_each_row_and_refusal_once(journal: Path) -> None:
    found = figures(journal)
    done, almost, failed = (sum(counts) for counts in found.ended)
    outcomes = found.summary.outcomes
    assert done == outcomes["done"]
    assert almost == outcomes["filtered"] + outcomes["truncated"]
    assert failed == outcomes["invalid"] + outcomes["failed"]
    assert done + almost + failed == sum(row[1] for row in found.costs)
    assert found.refusals == {"RESOURCE_EXHAUSTED": 15, "UNAVAILABLE": 15}
    assert sum(found.use.refused) == 30
    assert found.refused_gets == {"RESOURCE_EXHAUSTED": 60}
    with contextlib.closing(Journal(journal)) as opened:
        sent = sum(1 for moment in opened.moments() if moment.submitted is not None)
    repeated = sum(count for _, count, _ in found.repeated)
    assert sum(found.use.accepted) == sent + repeated + found.summary.unfinished["running"]
    assert found.latency is not None
    assert sum(found.latency.counts) == sent
    assert (found.total, found.finished) == (1000, False)
    assert (found.use.per_second, found.use.per_hour) == (10, 5000)
    assert found.use.busiest_second <= 10


def test_failures_are_grouped_without_their_numbers(journal: Path) -> None:
    found = {(each.outcome, each.cause): each for each in figures(journal).failures}
    cause = found["failed", "INTERNAL: node … <b>failed</b> (request …)"]
    assert cause.rows == figures(journal).summary.outcomes["failed"]
    assert [sample.name for sample in cause.samples] == ["review-30", "review-100", "review-170"]
    assert all(sample.text.startswith("Отзыв") for sample in cause.samples)


def test_the_slowest_rows_come_first(journal: Path) -> None:
    seconds = [row.seconds or 0.0 for row in figures(journal).slowest]
    assert len(seconds) == 10
    assert seconds == sorted(seconds, reverse=True)
    found = figures(journal).latency
    assert found is not None
    assert seconds[0] == found.largest


def test_a_pause_is_left_out_of_the_time(journal: Path) -> None:
    axis = figures(journal).axis
    assert axis.last - axis.first > PAUSE
    assert axis.seconds < 300
    ((place, seconds),) = axis.pauses
    assert 0.3 < place < 0.7
    assert seconds < PAUSE
    assert axis.place(axis.first + PAUSE / 2) == pytest.approx(place, abs=0.01)


def test_the_outline_of_moments_has_the_same_pauses() -> None:
    rng = random.Random(4)
    for _ in range(200):
        moments, at = [], 1_790_000_000.0
        for _ in range(rng.randrange(40)):
            at += rng.choice((0.1, 5.0, 59.0, 61.0, 300.0)) * rng.random() * 2
            moments += [at, at + rng.random() * 100]
        sparse = outline(rng.sample(moments, len(moments)))
        assert vars(Axis(sparse)) == vars(Axis(sorted(moments)))
    assert len(outline(1_790_000_000.0 + n / 1000 for n in range(100_000))) <= 6


def test_errors_that_are_all_different_are_counted_together_beyond_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yagrpc.bulk.report.figures.MOST_CAUSES", 3)
    words = ["one", "two", "three", "four", "five", "one"]
    rows = [Fixed(number, None, number + 1, b"f", b'"row"') for number in range(len(words))]
    with contextlib.closing(JournalWriter(tmp_path / "journal")) as opened:
        opened.commit([Ended(Result(row.number, 1.0, "failed", None, words[row.number]), row) for row in rows])
        found = figures_of(opened)
    assert {each.cause: each.rows for each in found.failures} == {"one": 2, "two": 1, "three": 1, "other causes": 2}


def test_an_axis_of_nothing_and_of_one_moment() -> None:
    assert Axis([]).counts([]) == [0] * BINS
    assert Axis([5.0]).counts([5.0])[0] == 1
    assert Axis([5.0, 6.0]).counts([5.0, 6.0]) == [1, *[0] * (BINS - 2), 1]


def test_requests_of_a_short_run_are_those_of_whole_seconds(tmp_path: Path) -> None:
    assert Axis([5.0, 5.3]).counts_in_spans([5.0, 5.2, 5.3]) == [3]
    assert Axis([0.0, 2.5]).counts_in_spans([0.0, 0.9, 1.0, 2.5]) == [2, 1, 1]
    axis = Axis([0.0, 30.0, 61.0])
    assert (axis.span, axis.counts_in_spans([0.0, 1.9, 2.1, 61.0])) == (2, [2, 1, *[0] * 28, 1])
    rows = [Fixed(number, None, number + 1, b"f", b'"row"') for number in range(20)]
    with contextlib.closing(JournalWriter(tmp_path / "journal")) as opened:
        opened.commit([Intent(row, 1, 0, "request", 100 + row.number / 100) for row in rows])
        opened.commit([Accepted(row.number, "operation") for row in rows])
        text = page(figures_of(opened))
    assert "<title>0.0 s to 1.0 s: 20 accepted</title>" in text
    assert "<span>20/s</span>" in text


@pytest.mark.parametrize(
    ("moments", "span", "most"), [([], 1.0, 0), ([1.0, 1.5, 1.9, 2.0], 1.0, 3), ([0.0, 1.0, 2.0], 1.0, 1)]
)
def test_the_busiest_second_is_a_sliding_one(moments: list[float], span: float, most: int) -> None:
    assert busiest(moments, span) == most


def test_a_histogram_has_all_values_in_bars_of_a_round_width() -> None:
    found = histogram([0.5, 1.0, 2.0, 100.0] * 25)
    assert found is not None
    assert sum(found.counts) == 100
    assert (found.width, found.median, found.largest) == (5, 2.0, 100.0)
    assert histogram([]) is None
    whole = histogram([1, 2, 3], whole=True)
    assert whole is not None
    assert (whole.width, whole.counts) == (1, [0, 1, 1, 1])
    tail = histogram([1.0] * 999 + [10_000.0])
    assert tail is not None
    assert (tail.width, len(tail.counts), tail.counts[-1]) == (0.05, 24, 1)


def test_an_empty_journal_has_a_report(tmp_path: Path) -> None:
    with contextlib.closing(JournalWriter(tmp_path / "journal")) as opened:
        text = page(figures_of(opened))
    assert "Nothing was sent." in text
    assert "No request failed." in text


def test_tooltips_are_escaped() -> None:
    drawn = columns([Series("<b>", "done", [1])], Labels("<i>", "<u>", ["<s>"], ["<a>"]), 1)
    assert not re.search("<[biusa]>", drawn)


def test_a_report_is_its_users_alone_and_replaces_reports_only(journal: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    write_report(journal, output)
    write_report(journal, output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    output.write_text("my notes", "utf-8")
    with pytest.raises(ConfigError, match="exists, and is no report: name another, or remove it"):
        write_report(journal, output)
    assert output.read_text("utf-8") == "my notes"


def test_a_report_loads_and_runs_nothing(report: Path) -> None:
    text = report.read_text("utf-8")
    assert html.escape(HOSTILE) in text
    assert not re.search(r"<script|<img|<b>|\bstyle=|\bsrc=\"|href=|url\(|@import|\bhttps?:", text.replace("</b>", ""))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'", policy)


def test_a_report_is_written_while_another_process_runs(runs: Runs, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f'"row {number}"\n' for number in range(30)), "utf-8")
    with Emulator(duration=0.2, quota=EmulatorQuota(submit_per_second=5)) as emulator:
        quota = ("--quota", "submit_per_second=50,submit_per_hour=none")  # more than the service allows
        process = runs.start(emulator.address, source, *quota)
        found = None
        while process.poll() is None and (found is None or not found.refusals or not found.latency):
            with contextlib.suppress(ConfigError):  # it is not there yet
                found = figures(runs.journal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
        write_report(runs.journal, tmp_path / "during.html")
        assert process.wait() == 0
    assert found is not None
    assert "not finished" in (tmp_path / "during.html").read_text("utf-8")
    assert found.use.per_second == 50
    assert found.refusals["RESOURCE_EXHAUSTED"]
    after = figures(runs.journal)
    assert (after.finished, after.total, sum(after.use.accepted)) == (True, 30, 30)
    assert len(after.starts) == 1


def test_runs_that_resume_are_counted(tmp_path: Path) -> None:
    with Emulator(duration=0) as emulator:
        for rows in (["a"], ["a", "b"]):
            with yagrpc.Client(**settings(emulator)) as client:
                client.bulk(rows, journal=tmp_path / "journal").run()
    found = figures(tmp_path / "journal")
    assert (len(found.starts), found.total, found.finished) == (2, 2, True)
    assert "resumed once" in page(found)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("there is no Chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        # Root, as in a container, has no sandbox; the page is our own.
        opened = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_in_a_browser(browser: Any, report: Path, scheme: str, width: int) -> None:
    problems: list[str] = []
    requests: list[str] = []
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    shown = context.new_page()
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("console", lambda message: problems.append(message.text))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(report.as_uri())
    assert (problems, requests) == ([], [report.as_uri()])
    assert shown.title() == "reviews.jsonl.journal: report of a bulk run"
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 27)"}[scheme]
    names = ["Progress", "Requests in a second", "Outcomes and cost", "Failed, and sent again"]
    names += ["Time to the result, in seconds", "Tokens of inputs", "Tokens of answers"]
    assert shown.locator("h2").all_inner_texts() == [*names, "Not done, by cause", "Slowest rows"]
    charts = shown.get_by_role("img")
    assert charts.count() == 5
    for chart in charts.all():
        box = chart.bounding_box()
        assert box["width"] > width / 4
        assert chart.locator("polygon, rect").count() > 2
    # No text is smaller than 12 px, and none is cut off at the side; tables may scroll.
    small = "e => [...e.querySelectorAll('*')].filter(x => x.children.length === 0 && x.textContent.trim()"
    assert shown.locator("body").evaluate(f"{small} && parseFloat(getComputedStyle(x).fontSize) < 12).length") == 0
    outside = f"{small} && !x.closest('.scroll, svg') && x.getBoundingClientRect().right > innerWidth).length"
    assert shown.locator("body").evaluate(outside) == 0
    if width == 360:
        scrolled = "e => e.scrollWidth > e.clientWidth"
        assert not any(each.evaluate(scrolled) for each in shown.locator(".scroll:has(.stack)").all())
    context.close()
