"""What both stores grant: exact windows, calls at once, shares between processes, on a clock of the tests."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.limiter.conftest import Clock, Opener
from tests.stores import RedisCluster, RedisServer
from yagrpc._core.quota.grants import Granted, Later
from yagrpc._core.quota.windows import Rule
from yagrpc.errors import ConfigError
from yagrpc.hiding import SecretText
from yagrpc.limiter.redis import RedisStore
from yagrpc.limiter.sqlite import APPLICATION, SqliteStore
from yagrpc.limiter.store import HORIZON, LEASE, SLACK, Ask, Batch, Refusal, Reply, Store, StoreError
from yagrpc.quotas import Used

SECOND = Rule("submit_per_second", 10, 1.0)
HOUR = Rule("submit_per_hour", 15, 3600.0)
RUNNING = Rule("concurrent_completions", 2, 0.0)
WINDOW = 1.0 * SLACK


class Participant:
    """One process: its store, and its keys."""

    def __init__(self, store: Store, name: str, *rules: Rule) -> None:
        self.store = store
        self.name = name
        self.rules = rules
        self.key = 0
        store.join(name, f"host:{name}", list(rules))

    def ask(self, *rules: Rule) -> Granted | Later:
        """Ask for one slot."""
        self.key += 1
        return self.say(asks=(Ask(self.key, rules or self.rules),)).answers[self.key]

    def say(self, **batch: object) -> Reply:
        """Say anything."""
        return self.store.apply(self.name, Batch(**batch))  # type: ignore[arg-type]


def test_a_window_is_filled_at_once_and_its_next_slot_is_granted_ahead(opened: Opener) -> None:
    one = Participant(opened(), "a", SECOND)
    assert [one.ask() for _ in range(10)] == [Granted(0.0)] * 10
    ahead = one.ask()
    assert isinstance(ahead, Granted)
    assert ahead.seconds == pytest.approx(WINDOW)


def test_no_window_holds_more_than_the_quota_whoever_asks(opened: Opener, clock: Clock) -> None:
    people = [Participant(opened(), name, SECOND) for name in "abc"]
    granted = []
    for turn in range(60):
        answer = people[turn % 3].ask()
        if isinstance(answer, Granted):
            granted.append(clock.now + answer.seconds)
        clock.now += 0.03
    granted.sort()
    assert len(granted) == 60
    assert all(later - earlier >= 1.0 for earlier, later in zip(granted, granted[10:], strict=False))


def test_a_slot_of_two_quotas_is_granted_under_both_or_neither(opened: Opener, clock: Clock) -> None:
    one = Participant(opened(), "a", SECOND, HOUR)
    for _ in range(15):
        assert isinstance(one.ask(), Granted)
    clock.now += 10
    late = one.ask()
    assert isinstance(late, Later)
    assert late.quota == "submit_per_hour"
    assert late.least == pytest.approx(3600 * SLACK - 10, abs=0.1)
    assert late.seconds == pytest.approx(late.least - HORIZON / 2)
    used = {row.quota: row.slots for row in one.store.used()}
    assert used == {"submit_per_second": 0, "submit_per_hour": 15}


def test_an_hour_that_is_used_up_outlives_its_processes(opened: Opener, clock: Clock) -> None:
    first = Participant(opened(), "a", HOUR)
    for _ in range(15):
        first.ask()
    first.store.leave("a")
    clock.now += 60
    late = Participant(opened(), "b", HOUR).ask()
    assert isinstance(late, Later)
    assert late.least > 3500


def test_what_is_counted_late_holds_its_slot_longer(opened: Opener, clock: Clock) -> None:
    one = Participant(opened(), "a", SECOND)
    for _ in range(10):
        one.ask()
    clock.now += 0.5
    one.say(counted=tuple(range(1, 11)))
    answer = one.ask()
    assert isinstance(answer, Granted)
    assert answer.seconds == pytest.approx(WINDOW)


def test_a_slot_that_was_granted_ahead_waits_for_those_that_were_counted_late(opened: Opener, clock: Clock) -> None:
    one, two = Participant(opened(), "a", SECOND), Participant(opened(), "b", SECOND)
    for _ in range(10):
        one.ask()
    ahead = two.ask()
    assert isinstance(ahead, Granted)
    again = Ask(two.key, (SECOND,), again=True)
    clock.now += 0.4
    one.say(counted=tuple(range(1, 11)))  # they left late
    clock.now += ahead.seconds - 0.4
    answers = two.say(asks=(again,)).answers
    assert answers == {two.key: Granted(pytest.approx(0.4))}  # type: ignore[arg-type]
    clock.now += 0.4
    assert two.say(asks=(again,)).answers == {two.key: Granted(0.0)}


def test_a_slot_that_is_given_back_is_free(opened: Opener) -> None:
    one, two = Participant(opened(), "a", SECOND), Participant(opened(), "b", SECOND)
    for _ in range(10):
        one.ask()
    one.say(given_back=(3,))
    assert two.ask() == Granted(0.0)


def test_calls_at_once_are_leases_that_end_with_their_process(opened: Opener, clock: Clock) -> None:
    one, two = Participant(opened(), "a", RUNNING), Participant(opened(), "b", RUNNING)
    assert [one.ask(), one.ask()] == [Granted(0.0)] * 2
    refused = two.ask()
    assert isinstance(refused, Later)
    assert (refused.quota, refused.least) == ("concurrent_completions", 0.0)
    clock.now += LEASE - 1
    one.say(beat=True, held=((1, RUNNING.name),))  # it lives, and one of its calls has been forgotten
    clock.now += 2
    assert two.ask() == Granted(0.0)
    assert isinstance(two.ask(), Later)


def test_a_process_that_leaves_gives_its_running_calls_back(opened: Opener) -> None:
    one, two = Participant(opened(), "a", RUNNING), Participant(opened(), "b", RUNNING)
    one.ask(), one.ask()
    one.store.leave("a")
    assert two.ask() == Granted(0.0)


def test_processes_take_turns_where_one_gives_back_what_it_asks_for_again(opened: Opener, clock: Clock) -> None:
    one, two = Participant(opened(), "a", RUNNING), Participant(opened(), "b", RUNNING)
    one.ask(), one.ask()
    assert isinstance(two.ask(), Later)
    clock.now += 0.1
    one.say(given_back=(1,))
    assert isinstance(one.ask(), Later), "the other has waited longer"
    assert two.ask() == Granted(0.0)
    clock.now += 0.1
    one.say(given_back=(2,))
    assert one.ask() == Granted(0.0)


def test_a_process_that_asks_no_more_loses_its_place(opened: Opener, clock: Clock) -> None:
    one, two = Participant(opened(), "a", RUNNING), Participant(opened(), "b", RUNNING)
    one.ask(), one.ask()
    two.ask()
    one.say(given_back=(1,))
    clock.now += 1.0
    assert one.ask() == Granted(0.0)


def test_a_refusal_of_the_service_holds_every_process_back(opened: Opener, clock: Clock) -> None:
    one, two = Participant(opened(), "a", SECOND, HOUR), Participant(opened(), "b", SECOND, HOUR)
    one.say(refused=(Refusal("submit_per_hour", 30.0, "allowed 15 requests"),))
    late = two.ask()
    assert [row for row in two.store.used() if row.quota == "submit_per_hour"] == [
        Used("submit_per_hour", "(others)", int(HOUR.limit), HOUR.limit)
    ], "its window is taken as used up by others"
    assert isinstance(late, Later)
    assert late._replace(least=30.0) == Later("submit_per_hour", HORIZON, 30.0, "allowed 15 requests")
    assert late.least == pytest.approx(30.0, abs=0.01)
    one.say(refused=(Refusal("submit_per_hour", 1.0, "again"),))
    clock.now += 2
    assert isinstance(two.ask(), Later), "a shorter pause does not end a longer one"
    clock.now += 30
    assert two.ask() == Granted(0.0)
    assert "(others)" not in [row.participant for row in two.store.used()]


def test_of_two_quotas_the_smaller_counts_while_its_process_lives(opened: Opener, clock: Clock) -> None:
    one = Participant(opened(), "a", SECOND)
    two = Participant(opened(), "b", SECOND._replace(limit=3))
    assert one.say(beat=True).limits == {"submit_per_second": 3}
    assert [one.ask() for _ in range(3)] == [Granted(0.0)] * 3
    ahead = one.ask()
    assert isinstance(ahead, Granted)
    assert ahead.seconds > 0
    two.store.leave("b")
    clock.now += 2
    one.store.join("a", "host:a", [SECOND])
    assert [one.ask() for _ in range(9)] == [Granted(0.0)] * 9


def test_processes_that_live_are_counted(opened: Opener, clock: Clock) -> None:
    people = [Participant(opened(), name, SECOND) for name in "abc"]
    assert people[0].say(beat=True).participants == 3
    clock.now += LEASE / 2
    people[1].store.join("b", "host:b", [SECOND])
    clock.now += LEASE / 2 + 1
    assert people[1].say(beat=True).participants == 1


def test_what_is_used_is_said_by_process(opened: Opener) -> None:
    one, two = Participant(opened(), "a", SECOND), Participant(opened(), "b", SECOND, RUNNING)
    one.ask(), one.ask(), two.ask(SECOND), two.ask(RUNNING)
    assert one.store.used() == [
        Used("concurrent_completions", "host:b", 1, 2),
        Used("submit_per_second", "host:a", 2, 10),
        Used("submit_per_second", "host:b", 1, 10),
    ]


def test_a_process_that_was_forgotten_keeps_the_calls_that_run(opened: Opener, clock: Clock) -> None:
    """As after a restart of Redis, which keeps nothing."""
    one, two = Participant(opened(), "a", RUNNING), Participant(opened(), "b", RUNNING)
    one.say(beat=True, held=((7, RUNNING.name), (8, RUNNING.name)))
    assert isinstance(two.ask(), Later)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path, clock: Clock, hours: int) -> None:
    wall = Clock()
    store = SqliteStore(tmp_path / "limits", monotonic=clock, wall=wall)
    one = Participant(store, "a", HOUR)
    for _ in range(15):
        one.ask()
    wall.now += hours * 3600.0
    clock.now += 60
    late = one.ask()
    assert isinstance(late, Later)
    assert 3500 < late.least < 3700
    store.close()


def test_a_machine_that_starts_again_goes_on_from_the_wall_clock(tmp_path: Path, clock: Clock) -> None:
    wall = Clock()
    wall.now = 1e9
    store = SqliteStore(tmp_path / "limits", monotonic=clock, wall=wall)
    one = Participant(store, "a", HOUR)
    for _ in range(15):
        one.ask()
    clock.now, wall.now = 5.0, wall.now + 600  # its clock begins again, ten minutes later
    late = one.ask()
    assert isinstance(late, Later)
    assert late.least == pytest.approx(3600 * SLACK - 600, abs=1)
    store.close()


def test_a_clock_of_redis_that_is_set_back_takes_what_was_counted_along(
    redis_server: RedisServer, clock: Clock
) -> None:
    store = RedisStore(SecretText(redis_server.url), "set back", clock=clock)
    one = Participant(store, "a", SECOND, HOUR)
    for _ in range(10):
        one.ask()
    clock.now -= 3600 * 24
    answer = one.ask()
    assert isinstance(answer, Granted)
    assert answer.seconds == pytest.approx(WINDOW)
    clock.now += WINDOW + 1
    assert one.ask() == Granted(0.0)
    store.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 2)),
            st.tuples(st.just("pass"), st.floats(0.0, 0.7)),
            st.tuples(st.just("back"), st.integers(0, 2)),
        ),
        max_size=80,
    )
)
def test_whatever_happens_no_second_has_more_than_its_quota(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float]]
) -> None:
    clock = Clock()
    with contextlib.ExitStack() as stack:
        path = tmp_path_factory.mktemp("any") / "limits"
        stores = [SqliteStore(path, monotonic=clock, wall=clock) for _ in range(3)]
        for store in stores:
            stack.callback(store.close)
        people = [Participant(store, str(number), SECOND._replace(limit=3)) for number, store in enumerate(stores)]
        granted: list[tuple[float, int, int]] = []
        for step, value in steps:
            if step == "pass":
                clock.now += value
            elif step == "ask":
                answer = people[int(value)].ask()
                if isinstance(answer, Granted):
                    granted.append((clock.now + answer.seconds, int(value), people[int(value)].key))
            elif mine := [each for each in granted if each[1] == value and each[0] > clock.now]:
                granted.remove(mine[-1])
                people[int(value)].say(given_back=(mine[-1][2],))
        times = sorted(time for time, _, _ in granted)
        assert all(later - earlier >= 1.0 for earlier, later in zip(times, times[3:], strict=False))


# Bad input


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A database of another program."""
    path = tmp_path / "foreign"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE users (name TEXT)")
    connection.commit()
    connection.close()
    return path


def test_a_file_of_another_program_is_refused_and_left_alone(foreign: Path) -> None:
    before = foreign.read_bytes()
    with pytest.raises(ConfigError, match="is no limiter's file: name another"):
        SqliteStore(foreign)
    assert foreign.read_bytes() == before


@pytest.mark.parametrize("content", [b"text, not a database" * 100, b"SQLite format 3\0 and nothing else"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no limiter's file"):
        SqliteStore(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE clock SET shift = 'x'", "column shift of table clock is not a finite number"),
        ("UPDATE clock SET last = NULL", "column last of table clock is not a finite number"),
        ("UPDATE clock SET last = 9e999", "column last of table clock is not a finite number"),
        ("UPDATE rule SET amount = 'many'", "column amount of table rule is not a finite number"),
        ("UPDATE rule SET seconds = x'ff'", "column seconds of table rule is not a finite number"),
        ("UPDATE used SET key = 9223372036854775807", r"column key of table used is not a whole number up to 2\^53"),
        ("UPDATE participant SET label = NULL", "column label of table participant is not a text"),
    ],
)
def test_a_file_that_something_else_has_changed_is_refused_and_left_alone(
    tmp_path: Path, statement: str, said: str
) -> None:
    path = tmp_path / "limits"
    store = SqliteStore(path)
    Participant(store, "a", SECOND).ask()
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=f"is broken .a value in {said}.*: restore it from a copy, or name another"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_limit_of_nothing_in_a_file_that_was_edited_is_no_exception(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    store = SqliteStore(path)
    one = Participant(store, "a", SECOND)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE rule SET amount = 0")
        database.commit()
    assert one.ask() == Granted(0.0)
    assert isinstance(one.ask(), Granted)
    store.close()


def test_a_slot_that_is_far_ahead_is_counted_in_a_file_that_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    store = SqliteStore(path)
    one = Participant(store, "a", Rule("get_per_second", 1, 1.0))
    one.ask()
    ahead = one.ask()
    Participant(store, "b", Rule("get_per_second", 1e-12, 1.0))
    assert isinstance(ahead, Granted)
    assert one.say(asks=(Ask(one.key, one.rules, True),)).answers[one.key].seconds > 1e11
    store.close()
    SqliteStore(path).close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer"
    connection = sqlite3.connect(path)
    connection.executescript(f"CREATE TABLE t (x); PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ConfigError, match="another version of yagrpc .its format is 9, this version knows 1"):
        SqliteStore(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is no file"):
        SqliteStore(Path("/dev/null"))
    with pytest.raises(ConfigError, match="it is no file"):
        SqliteStore(tmp_path)
    with pytest.raises(ConfigError, match="No such file or directory"):
        SqliteStore(tmp_path / "nowhere" / "limits")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="it is a link, which is never followed"):
        SqliteStore(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_the_files_are_their_users_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "limits")
    Participant(store, "a", SECOND).ask()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.keys() == {"limits", "limits-wal", "limits-shm"}
    assert set(modes.values()) == {0o600}
    store.close()


ANOTHER = """
import sys
from pathlib import Path
from yagrpc.limiter.sqlite import SqliteStore
from yagrpc.limiter.store import Batch

store = SqliteStore(Path(sys.argv[1]))
store.join("another", "host:another", [])
print([used.slots for used in store.used()])
store.leave("another")
store.close()
"""


def test_a_second_client_of_a_process_does_not_open_the_count_to_removal_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    one = Participant(SqliteStore(path), "a", HOUR)  # a process may take longer to start than a second
    second = SqliteStore(path)  # a file that it opened and closed would take the first one's locks with it
    second.close()
    for asked in (1, 2):
        one.ask()
        done = subprocess.run([sys.executable, "-c", ANOTHER, str(path)], capture_output=True, text=True, check=True)
        assert done.stdout == f"[{asked}]\n"
    one.store.close()


def test_a_file_that_is_locked_for_long_is_a_failure_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yagrpc.limiter.sqlite.BUSY", 0.05)
    store = SqliteStore(tmp_path / "limits")
    broken = sqlite3.connect(tmp_path / "limits", isolation_level=None)
    broken.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.join("a", "host:a", [SECOND])
    broken.close()
    store.join("a", "host:a", [SECOND])
    store.close()


def test_a_server_that_is_not_there_is_a_failure_of_the_store(own_redis_server: RedisServer) -> None:
    store = RedisStore(SecretText(f"redis://user:hunter2@127.0.0.1:{own_redis_server.port}/0"), "f")
    own_redis_server.stop()
    with pytest.raises(StoreError) as failed:
        store.used()
    assert "hunter2" not in str(failed.value) + store.name + repr(store)
    own_redis_server.start()
    store = RedisStore(SecretText(own_redis_server.url), "f")
    store.join("a", "host:a", [SECOND])
    store.close()


def test_a_wrong_password_is_a_mistake(redis_server: RedisServer) -> None:
    store = RedisStore(SecretText(f"redis://user:hunter2@127.0.0.1:{redis_server.port}/0"), "f")
    with pytest.raises(ConfigError, match="Redis refuses the user or the password") as failed:
        store.used()
    assert "hunter2" not in str(failed.value)
    store.close()


@pytest.mark.parametrize("scheme", ["redis", "rediss+cluster"])
@pytest.mark.parametrize(
    "password", ["hunter2/hunter2", "hunter2?hunter2", "hunter2#hunter2", "hunter2[", "/@hunter2/"]
)
def test_a_password_that_is_not_escaped_is_not_shown(scheme: str, password: str) -> None:
    with pytest.raises(ConfigError, match="in a password, write %2F for /") as failed:
        RedisStore(SecretText(f"{scheme}://user:{password}@127.0.0.1:1/0"), "f")
    assert "hunter2" not in str(failed.value)
    assert failed.value.__suppress_context__ or failed.value.__context__ is None


def test_a_node_of_a_cluster_is_named_as_such(redis_cluster: RedisCluster) -> None:
    refused = []
    for node in redis_cluster.nodes:
        store = RedisStore(SecretText(node.url), "f")
        try:
            store.used()
        except ConfigError as error:
            refused.append(str(error))
        store.close()
    assert len(refused) == 2, "one of three has the folder's keys"
    assert all("is a node of a Redis Cluster: write redis+cluster:// for redis://" in text for text in refused)


def test_a_server_that_is_no_cluster_is_named_as_such(redis_server: RedisServer) -> None:
    store = RedisStore(SecretText(redis_server.url.replace("redis:", "redis+cluster:")), "f")
    with pytest.raises(ConfigError, match=r"is no Redis Cluster: write redis:// for redis\+cluster://"):
        store.used()
    store.close()


def test_a_wrong_password_of_a_cluster_is_a_mistake(redis_cluster: RedisCluster) -> None:
    store = RedisStore(SecretText(f"redis+cluster://user:hunter2@127.0.0.1:{redis_cluster.nodes[1].port}"), "f")
    with pytest.raises(ConfigError, match="Redis refuses the user or the password") as failed:
        store.used()
    assert "hunter2" not in str(failed.value) + repr(vars(store))
    store.close()


def test_a_cluster_that_is_not_there_may_come(own_redis_server: RedisServer) -> None:
    own_redis_server.stop()
    store = RedisStore(SecretText(f"redis+cluster://user:hunter2@127.0.0.1:{own_redis_server.port}"), "f")
    with pytest.raises(StoreError) as failed:
        store.used()
    assert "hunter2" not in str(failed.value)
    store.close()
    own_redis_server.start()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:port/0", "redis://127.0.0.1:6379/0?db=x"])
def test_a_url_that_is_none_of_redis_is_a_mistake(url: str) -> None:
    store = RedisStore(SecretText(url), "f")
    with pytest.raises(ConfigError, match="is no URL of Redis"):
        store.used()
    store.close()
