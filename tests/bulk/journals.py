"""A journal of a run with everything that a report shows, written without a service."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Final

from yagrpc import _pb
from yagrpc.journal.changes import Accepted, Again, Ended, Fixed, GetsRefused, Intent, Noted, Refused, Result
from yagrpc.journal.journal import JournalWriter

BEGIN: Final = 1_790_000_000.0

HOSTILE: Final = "<img src=x onerror=\"document.title='hacked'\"></td><script>document.title='hacked'</script>"

ROWS: Final = 900
PAUSE: Final = 7200.0
"""Seconds between the first run and the one that resumed it."""


def write_journal(path: Path) -> None:
    """Write it: 900 rows of 1,000, one refusal in 30 submits, one failure in 20, and a pause of two hours."""
    rng = random.Random(12)
    options = {"task": "completion", "mode": "async", "model": "yandexgpt-5.1", "table": False}
    facts = {
        "options": options,
        "expected": 1000,
        "starts": [BEGIN - 0.5, BEGIN + ROWS / 18 + PAUSE - 0.5],
        "submit_limits": [10, 5000],
    }
    with contextlib.closing(JournalWriter(path)) as journal:
        journal.commit([Noted(name, json.dumps(value)) for name, value in facts.items()])
        for number in range(ROWS):
            _write_row(journal, number, rng)


def _write_row(journal: JournalWriter, number: int, rng: random.Random) -> None:
    at = BEGIN + number / 9 + (PAUSE if number >= ROWS // 2 else 0.0)
    text = f"Отзыв {number}: доставили вовремя, но коробка была мятая. Спасибо продавцу!"
    row = {"id": f"review-{number}", "text": HOSTILE if number == 40 else text}
    source = json.dumps(row, ensure_ascii=False).encode()
    fixed = Fixed(number, row["id"], number + 1, b"%d" % number, source)
    if number % 20 == 13:
        error = f"an empty text: line {number + 1}" if number % 40 == 13 else f"text is 100,0{number} characters long"
        journal.commit([Ended(Result(number, at, "invalid", None, error), fixed)])
        return
    attempt = 1
    if number % 30 == 7:
        refused = Intent(fixed, attempt, 0, "r", at - 0.5)
        code = "RESOURCE_EXHAUSTED" if number % 60 == 7 else "UNAVAILABLE"
        journal.commit([refused, Refused(number, at - 0.4, code), GetsRefused(int(at), "RESOURCE_EXHAUSTED", 2)])
    seconds = rng.lognormvariate(2.3, 0.5)
    tokens_in, tokens_out = int(rng.gauss(60, 12)), int(rng.lognormvariate(4, 0.6))
    cost = (tokens_in + tokens_out) * 0.0004
    operation = f"d7q{number:017}"
    if number % 50 == 3:
        again = Result(number, at + 3, "failed", None, "INTERNAL: the model is busy")
        journal.commit([Intent(fixed, 1, 0, "r", at), Accepted(number, operation), Again(again, False)])
        attempt, at = 2, at + 3.5
    journal.commit([Intent(fixed, attempt, 0, "r", at), Accepted(number, operation)])
    if number > ROWS - 30:
        return  # it still runs
    outcome, error = "done", ""
    response: bytes | None = _answer(tokens_in, tokens_out)
    if number % 60 == 20:
        outcome, error = "filtered", "the service's content filter stopped the answer"
    elif number % 70 == 30:
        outcome, error, response = "failed", f"INTERNAL: node {number} <b>failed</b> (request 4fe1-{number})", None
        tokens_in = tokens_out = 0
    elif number == 40:
        outcome, error = "truncated", HOSTILE
    result = Result(number, at + seconds, outcome, response, error, tokens_in, tokens_out, cost if tokens_in else None)
    journal.commit([Ended(result)])


def _answer(tokens_in: int, tokens_out: int) -> bytes:
    response = _pb.text_generation_service_pb2.CompletionResponse(model_version="2026-11")
    response.usage.input_text_tokens, response.usage.completion_tokens = tokens_in, tokens_out
    response.alternatives.add().message.text = HOSTILE
    return response.SerializeToString()
