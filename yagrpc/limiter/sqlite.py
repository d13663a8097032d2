"""The count in a SQLite file, for the processes of one machine.

Rules: each batch is one transaction, which takes the file's lock at once. The time is that of the machine since it was
started, which no change of the wall clock moves, plus an offset that the file keeps; after a restart of the machine
the offset is renewed from the wall clock, and never goes back behind what the file has seen. The file and those beside
it are the user's alone (mode 0600). A file that is no limiter's is refused before anything in it is changed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from yagrpc._core.quota.grants import Granted, Later
from yagrpc._core.quota.windows import Rule
from yagrpc._grpc import fork
from yagrpc.hiding import shown_path
from yagrpc.limiter.store import (
    HORIZON,
    LEASE,
    PRESENT,
    RETRY,
    Ask,
    Batch,
    Refusal,
    Reply,
    StoreError,
    size_of,
    span_of,
)
from yagrpc.quotas import Used
from yagrpc.sqlitefile import Format, open_file, transaction

APPLICATION: Final = 0x79616C6D
"""What marks a file as a limiter's (SQLite's `application_id`)."""

VERSION: Final = 1
"""The version of the schema."""

BUSY: Final = 2.0
"""Seconds to wait for the file's lock, which is held for less than a millisecond where all is well."""

_SCHEMA: Final = (
    "CREATE TABLE clock (boot TEXT, shift REAL, last REAL)",
    "CREATE TABLE participant (id TEXT PRIMARY KEY, label TEXT, expires REAL) WITHOUT ROWID",
    "CREATE TABLE rule (quota TEXT, participant TEXT, amount REAL, seconds REAL, PRIMARY KEY (quota, participant))"
    " WITHOUT ROWID",
    "CREATE TABLE used (quota TEXT, participant TEXT, key INTEGER, at REAL, PRIMARY KEY (participant, key, quota))"
    " WITHOUT ROWID",
    "CREATE INDEX used_at ON used (quota, at)",
    "CREATE TABLE pause (quota TEXT PRIMARY KEY, until REAL, refusal TEXT) WITHOUT ROWID",
    "CREATE TABLE waiting (quota TEXT, participant TEXT, since REAL, seen REAL, PRIMARY KEY (quota, participant))"
    " WITHOUT ROWID",
    "INSERT INTO clock VALUES ('', 0, 0)",
)

FORMAT: Final = Format("limiter's", APPLICATION, VERSION, _SCHEMA)


_PAUSED: Final = "SELECT until, refusal FROM pause WHERE quota = ? AND until > ?"
"""Until when nothing is sent under a quota that the service refuses by."""


class SqliteStore:
    """The count in a file.

    Args:
        path: The file; it is created where it is not there, its folder is not.
        monotonic: Gives the seconds since the machine was started.
        wall: Gives the seconds since the epoch.

    Raises:
        ConfigError: The file can't be used: its folder is not there or can't be written to, it is something else, or of
            a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = shown_path(str(path))
        self._path = path
        self._monotonic = monotonic
        self._wall = wall
        self._boot = _boot()
        self._connection: sqlite3.Connection | None = self._open()

    def join(self, participant: str, label: str, rules: list[Rule]) -> None:
        """Take part; see `Store.join`."""
        with self._step() as (cursor, now):
            cursor.execute("INSERT OR REPLACE INTO participant VALUES (?, ?, ?)", (participant, label, now + LEASE))
            cursor.executemany(
                "INSERT OR REPLACE INTO rule VALUES (?, ?, ?, ?)",
                [(rule.name, participant, rule.limit, rule.seconds) for rule in rules],
            )

    def apply(self, participant: str, batch: Batch) -> Reply:
        """Take a batch in one step; see `Store.apply`."""
        with self._step() as (cursor, now):
            if batch.beat:
                _renew(cursor, participant, batch, now)
                _clean(cursor, now)
            for key in batch.counted:
                cursor.execute(
                    "UPDATE used SET at = max(at, ?) WHERE participant = ? AND key = ?"
                    " AND quota IN (SELECT quota FROM rule WHERE seconds > 0)",
                    (now, participant, key),
                )
            cursor.executemany(
                "DELETE FROM used WHERE participant = ? AND key = ?", [(participant, key) for key in batch.given_back]
            )
            for refusal in batch.refused:
                _pause(cursor, refusal, now)
            answers = {ask.key: _answer(cursor, participant, ask, now) for ask in batch.asks}
            if not batch.beat:
                return Reply(answers, 0, {})
            smaller = dict(
                cursor.execute(
                    "SELECT quota, min(amount) FROM rule JOIN participant ON id = participant AND expires > ?"
                    " GROUP BY quota",
                    (now,),
                )
            )
            (participants,) = cursor.execute("SELECT count(*) FROM participant WHERE expires > ?", (now,)).fetchone()
            return Reply(answers, participants, smaller)

    def used(self) -> list[Used]:
        """What is used, by whom; see `Store.used`."""
        with self._step() as (cursor, now):
            found = []
            rules = cursor.execute(  # of the processes that live; where none does, of those that did
                "SELECT quota, coalesce(min(CASE WHEN expires > ? THEN amount END), min(amount)), max(seconds)"
                " FROM rule JOIN participant ON id = participant GROUP BY quota",
                (now,),
            ).fetchall()
            for quota, limit, seconds in rules:
                since = now - span_of(seconds, limit) if seconds else now
                counts = cursor.execute(
                    "SELECT coalesce(label, '(gone)'), count(*) FROM used LEFT JOIN participant ON id = participant"
                    " WHERE quota = ? AND at > ? GROUP BY 1 ORDER BY 1",
                    (quota, since),
                ).fetchall()
                left = int(limit) - sum(slots for _, slots in counts)
                if left > 0 and cursor.execute(_PAUSED, (quota, now)).fetchone() is not None:
                    counts.append(("(others)", left))
                found += [Used(quota, label, slots, limit) for label, slots in counts or [("", 0)]]
            return found

    def leave(self, participant: str) -> None:
        """Take part no longer; see `Store.leave`."""
        with self._step() as (cursor, now):
            cursor.execute("UPDATE participant SET expires = ? WHERE id = ?", (now, participant))
            cursor.execute("DELETE FROM waiting WHERE participant = ?", (participant,))
            cursor.execute(
                "DELETE FROM used WHERE participant = ? AND quota IN (SELECT quota FROM rule WHERE seconds = 0)",
                (participant,),
            )

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def forked(self, *, interrupted: bool) -> None:
        """Forget the connection; see `Store.forked`.

        SQLite has to close the file, or it takes the locks of the parent for its own: another process would then remove
        what is counted here. In the middle of a step nothing can close it.
        """
        if not interrupted:
            self.close()
        fork.keep(self._connection)
        self._connection = None

    def _open(self) -> sqlite3.Connection:
        # A crash of the system may lose the last counts.
        return open_file(self._path, f"share={self.name}", FORMAT, busy=BUSY, synchronous="NORMAL")

    @contextlib.contextmanager
    def _step(self) -> Iterator[tuple[sqlite3.Cursor, float]]:
        """One transaction, and its time."""
        try:
            self._connection = self._connection or self._open()
            with transaction(self._connection) as cursor:
                yield cursor, self._now(cursor)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from None

    def _now(self, cursor: sqlite3.Cursor) -> float:
        boot, shift, last = cursor.execute("SELECT boot, shift, last FROM clock").fetchone()
        now = self._monotonic() + shift
        if boot != self._boot or now < last - 1.0:
            shift = max(self._wall(), last) - self._monotonic()
            now = self._monotonic() + shift
        now = max(now, last)
        cursor.execute("UPDATE clock SET boot = ?, shift = ?, last = ?", (self._boot, shift, now))
        return float(now)


def _boot() -> str:
    """A name of this start of the machine, which no other has; empty where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def _renew(cursor: sqlite3.Cursor, participant: str, batch: Batch, now: float) -> None:
    """The calls that run still have their slots, also where the file had forgotten them."""
    cursor.executemany(
        "INSERT INTO used VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET at = excluded.at",
        [(quota, participant, key, now + LEASE) for key, quota in batch.held],
    )


def _clean(cursor: sqlite3.Cursor, now: float) -> None:
    """Forget what counts no longer."""
    for quota, limit, seconds in cursor.execute(
        "SELECT quota, min(amount), max(seconds) FROM rule GROUP BY quota"
    ).fetchall():
        since = now - span_of(seconds, limit) if seconds else now
        cursor.execute("DELETE FROM used WHERE quota = ? AND at < ?", (quota, since))
    cursor.execute("DELETE FROM waiting WHERE seen < ?", (now - LEASE,))
    day = 24 * 3600.0  # its calls of the day still count, under its rules
    cursor.execute("DELETE FROM rule WHERE participant IN (SELECT id FROM participant WHERE expires < ?)", (now - day,))
    cursor.execute("DELETE FROM participant WHERE expires < ?", (now - day,))


def _pause(cursor: sqlite3.Cursor, refusal: Refusal, now: float) -> None:
    cursor.execute(
        "INSERT INTO pause VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = max(until, excluded.until),"
        " refusal = excluded.refusal",
        (refusal.quota, now + refusal.seconds, refusal.text),
    )


def _answer(cursor: sqlite3.Cursor, participant: str, ask: Ask, now: float) -> Granted | Later:
    """Grant a slot of every quota, of now or of the near future, or of none."""
    if ask.again:
        return _confirmed(cursor, participant, ask, now)
    at, last = now, ""
    for rule in ask.rules:
        pause = cursor.execute(_PAUSED, (rule.name, now))
        if (found := pause.fetchone()) is not None:
            return Later(rule.name, min(found[0] - now, HORIZON), found[0] - now, found[1])
        limit = _limit(cursor, rule, now)
        if not rule.seconds:
            if not _has_turn(cursor, participant, rule, int(limit), now):
                return Later(rule.name, RETRY, 0.0)
            continue
        free = _free_at(cursor, rule, limit, now)
        if free > at:
            at, last = free, rule.name
    if at - now > HORIZON:
        return Later(last, at - now - HORIZON / 2, at - now)
    cursor.executemany(
        "INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?)",
        [(rule.name, participant, ask.key, at if rule.seconds else now + LEASE) for rule in ask.rules],
    )
    return Granted(at - now)


def _confirmed(cursor: sqlite3.Cursor, participant: str, ask: Ask, now: float) -> Granted:
    """Whether a slot that was granted ahead is free now, or when: those before it may have been counted late."""
    at = now
    for rule in ask.rules:
        limit = _limit(cursor, rule, now)
        before = cursor.execute(
            "SELECT other.at FROM used AS other JOIN used AS own ON own.quota = other.quota AND own.participant = ?"
            " AND own.key = ? WHERE other.quota = ? AND (other.at, other.participant, other.key)"
            " < (own.at, own.participant, own.key) ORDER BY 1 DESC LIMIT 1 OFFSET ?",
            (participant, ask.key, rule.name, size_of(limit) - 1),
        ).fetchone()
        if rule.seconds and before is not None:
            at = max(at, before[0] + span_of(rule.seconds, limit))
    cursor.execute("UPDATE used SET at = max(at, ?) WHERE participant = ? AND key = ?", (at, participant, ask.key))
    return Granted(at - now)


def _limit(cursor: sqlite3.Cursor, rule: Rule, now: float) -> float:
    """The quota that counts: the least of those of the processes that live, and of the asker's own."""
    (limit,) = cursor.execute(
        "SELECT min(amount) FROM rule JOIN participant ON id = participant AND expires > ? WHERE quota = ?",
        (now, rule.name),
    ).fetchone()
    return rule.limit if limit is None else min(float(limit), rule.limit)


def _free_at(cursor: sqlite3.Cursor, rule: Rule, limit: float, now: float) -> float:
    """When the next slot of a rate is free, after all that were granted already."""
    newest, oldest = (
        cursor.execute(
            "SELECT at FROM used WHERE quota = ? ORDER BY at DESC LIMIT 1 OFFSET ?", (rule.name, offset)
        ).fetchone()
        for offset in (0, size_of(limit) - 1)
    )
    free = now if oldest is None else oldest[0] + span_of(rule.seconds, limit)
    return float(max(free, now if newest is None else newest[0]))


def _has_turn(cursor: sqlite3.Cursor, participant: str, rule: Rule, limit: int, now: float) -> bool:
    """Whether a call may run: processes take turns, each at the end of the queue after it has had a slot."""
    cursor.execute(
        "INSERT INTO waiting VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen,"
        " since = CASE WHEN seen < ? THEN excluded.since ELSE since END",
        (rule.name, participant, now, now, now - PRESENT),
    )
    (running,) = cursor.execute("SELECT count(*) FROM used WHERE quota = ? AND at > ?", (rule.name, now)).fetchone()
    (ahead,) = cursor.execute(
        "SELECT count(*) FROM waiting AS other JOIN waiting AS own ON own.quota = other.quota AND own.participant = ?"
        " WHERE other.quota = ? AND other.seen >= ?"
        " AND (other.since, other.participant) < (own.since, own.participant)",
        (participant, rule.name, now - PRESENT),
    ).fetchone()
    if running + ahead >= limit:
        return False
    cursor.execute("DELETE FROM waiting WHERE quota = ? AND participant = ?", (rule.name, participant))
    return True
