"""The page, in a real browser: what it shows, what its buttons do, and that nothing of a model becomes HTML."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import yagrpc
from yagrpc.emulator import Emulator, EmulatorQuota, paths

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

HTML = "<img src=x onerror=\"document.title='hacked'\"><b>bold</b>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser, for all tests of this file."""
    with playwright.sync_playwright() as running:
        # Root, as in a container, has no sandbox; the page is our own.
        playwright.expect.set_options(timeout=60_000)  # beside busy processes too
        opened = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator whose clock only the page moves."""
    with Emulator(rest=True, duration=30, frozen=True, quota=EmulatorQuota(submit_per_second=3)) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[yagrpc.Client]:
    """A client without quotas of its own."""
    settings: dict[str, Any] = {"endpoint": emulator.address, "operation_endpoint": emulator.address}
    credentials = yagrpc.NoCredentials()
    with yagrpc.Client(folder_id="demo", credentials=credentials, plaintext=True, quota=None, **settings) as made:
        yield made


@pytest.fixture
def page(browser: Any, emulator: Emulator) -> Iterator[Any]:
    """The page, open; it may log no error."""
    problems: list[str] = []
    context = browser.new_context()
    opened = context.new_page()
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.goto(emulator.page_url)
    expect(opened.get_by_role("status")).to_have_text("connected")
    yield opened
    context.close()
    assert [problem for problem in problems if "403" not in problem and "400" not in problem] == []


def expect(locator: Any) -> Any:
    """An assertion that waits until it holds."""
    return playwright.expect(locator)


def test_an_operation_appears_and_is_done_once_the_clock_was_advanced(
    page: Any, emulator: Emulator, client: yagrpc.Client
) -> None:
    operation = client.completion_async("Переведи отзыв", model="yandexgpt")
    row = page.locator("#operations tr")
    expect(row).to_contain_text(operation.id)
    expect(row).to_contain_text("Переведи отзыв")
    expect(row).to_contain_text("gpt://demo/yandexgpt")
    expect(row).to_contain_text("running, 30.0 s left")
    page.get_by_label("Advance the clock by").fill("30")
    page.get_by_role("button", name="Advance").click()
    expect(row).to_contain_text("done")
    expect(row.locator("td").last).to_have_text(re.compile(r"^\d+$"))
    assert "отзыв" in operation.result(timeout=60).text
    expect(page.locator("#totals")).to_have_text("0 running, 1 done")


def test_calls_refusals_and_quotas_are_shown(page: Any, emulator: Emulator, client: yagrpc.Client) -> None:
    for _ in range(3):
        client.completion_async("x")
    with pytest.raises(yagrpc.ResourceExhaustedError):
        client.completion_async("x", timeout=1)
    row = page.locator("#methods tr", has_text="TextGenerationAsyncService/Completion")
    expect(row.locator("svg rect.refusals")).to_have_count(1)
    calls = emulator.calls[paths.COMPLETION_ASYNC]
    expect(row.locator("td.number").first).to_have_text(str(calls))
    expect(row.locator("td.number").last).to_have_text(str(calls - 3))
    expect(row.get_by_role("img")).to_have_attribute("aria-label", re.compile(rf"{calls} calls, {calls - 3} refused"))
    expect(page.locator("#quotas")).to_contain_text("3 of 3")
    page.get_by_role("button", name="Advance").click()
    expect(page.locator("#quotas")).to_contain_text("0 of 3")


def test_faults_are_added_and_cleared(page: Any, emulator: Emulator, client: yagrpc.Client) -> None:
    page.get_by_label("Fault", exact=True).select_option(label="fail: INTERNAL")
    page.get_by_label("in", exact=True).select_option("TextGenerationService/Completion")
    page.get_by_label("times").fill("1")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#faults")).to_contain_text("applied 0 times")
    with pytest.raises(yagrpc.YagrpcError):
        client.completion("x")
    expect(page.locator("#faults")).to_contain_text("applied 1 times")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("#faults")).to_have_text("none")
    assert len(emulator.faults) == 0


def test_answers_are_set_and_the_emulator_is_reset(page: Any, emulator: Emulator, client: yagrpc.Client) -> None:
    for pattern, text in (("ping", "pong"), ("tick", "tock")):
        page.get_by_label("Answer").fill(pattern)
        page.get_by_label("with").fill(text)
        with page.expect_response("**/SetReplies"):
            page.get_by_role("button", name="Set", exact=True).click()
    assert [client.completion(text).text for text in ("ping", "tick")] == ["pong", "tock"]
    client.completion_async("x")
    expect(page.locator("#operations tr")).to_have_count(1)
    page.get_by_role("button", name="Reset the emulator").click()
    expect(page.locator("#operations tr")).to_have_count(0)
    assert emulator.calls.total() == 0


def test_the_clock_is_frozen_and_runs_again(page: Any, emulator: Emulator) -> None:
    expect(page.locator("#frozen")).to_have_text("frozen")
    page.get_by_role("button", name="Unfreeze").click()
    expect(page.get_by_role("button", name="Freeze", exact=True)).to_be_visible()
    assert not emulator._server.state.clock.frozen
    page.get_by_role("button", name="Freeze", exact=True).click()
    expect(page.locator("#frozen")).to_have_text("frozen")


def test_what_is_wrong_is_said(page: Any) -> None:
    page.get_by_label("Answer").fill("(")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("replies")


def test_texts_are_never_html(page: Any, client: yagrpc.Client) -> None:
    client.completion_async(HTML, model="gpt://demo/<b>x</b>")
    expect(page.locator("#operations tr")).to_contain_text("<b>bold</b>")
    assert page.locator("#operations img, #operations b").count() == 0
    assert page.title() == "yagrpc emulator"


def test_everything_is_reached_by_keyboard(page: Any, emulator: Emulator) -> None:
    now = emulator.now()
    page.get_by_label("Advance the clock by").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("5")
    with page.expect_response("**/AdvanceTime"):
        page.keyboard.press("Enter")
    assert emulator.now() == now + 5
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"freeze", "pattern", "text", "action", "method", "times", "clear", "Add", "Reset the emulator"} <= reached


def test_without_the_token_it_shows_and_changes_nothing(page: Any, browser: Any, emulator: Emulator) -> None:
    context = browser.new_context()
    other = context.new_page()
    other.goto(f"http://{emulator.rest_address}/")
    expect(other.get_by_role("status")).to_have_text("connected")
    now = emulator.now()
    other.get_by_role("button", name="Advance").click()
    expect(other.get_by_role("alert")).to_contain_text("the whole URL that was printed")
    assert emulator.now() == now
    context.close()


def test_a_page_of_another_origin_can_neither_read_nor_change(browser: Any, emulator: Emulator) -> None:
    with Emulator(rest=True) as elsewhere:
        context = browser.new_context()
        other = context.new_page()
        # Another port is another origin. This page has no policy of ours: it is a plain JSON answer.
        other.goto(f"http://{elsewhere.rest_address}/operations/x")
        base = f"http://{emulator.rest_address}"
        for path, options in (
            ("/-/events", {}),
            ("/operations/x", {}),
            ("/operations/x:cancel", {"mode": "no-cors"}),
            ("/-/control/Reset", {"method": "POST", "body": "{}", "mode": "no-cors"}),
            ("/foundationModels/v1/completionAsync", {"method": "POST", "body": "{}", "mode": "no-cors"}),
        ):
            seen = other.evaluate(
                "([url, options]) => fetch(url, options).then(a => a.type + a.status, e => 'refused')",
                [base + path, options],
            )
            assert seen in ("refused", "opaque0")
        context.close()
    assert emulator.calls.total() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_both_themes_are_legible_at_any_width(
    browser: Any, emulator: Emulator, client: yagrpc.Client, scheme: str, width: int
) -> None:
    client.completion_async("слово " * 100)
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    opened = context.new_page()
    opened.goto(emulator.page_url)
    expect(opened.locator("#operations tr")).to_have_count(1)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    colours = opened.evaluate(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    assert contrast(*colours) >= 7
    context.close()


def contrast(first: list[int], second: list[int]) -> float:
    """The contrast of two colours, as WCAG defines it."""

    def luminance(colour: list[int]) -> float:
        parts = [part / 255 for part in colour[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
