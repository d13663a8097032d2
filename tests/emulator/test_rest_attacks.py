"""What a peer may send to the HTTP port: each gets a status or a closed connection, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from yagrpc.emulator import Emulator, paths

PATH = "/foundationModels/v1/completionAsync"
BODY = json.dumps({"modelUri": "gpt://f/yandexgpt", "messages": [{"role": "user", "text": "hi"}]})

CHUNKED = f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """One emulator for all tests of the file: whatever comes before, it has to go on."""
    with Emulator(rest=True, duration=0) as running:
        yield running


@pytest.fixture(autouse=True)
def _serves_on(emulator: Emulator) -> Iterator[None]:
    yield
    answer = httpx.post(f"http://{emulator.rest_address}{PATH}", content=BODY, trust_env=False, timeout=60)
    assert answer.json()["done"] is True


def exchange(emulator: Emulator, sent: bytes, *, ends: bool = False) -> bytes:
    """What comes back on a connection of its own, until the server closes it.

    Args:
        emulator: The emulator.
        sent: All that is sent.
        ends: Whether the client says that nothing more comes: a request that is not complete waits for its rest.
    """
    host, _, port = emulator.rest_address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with contextlib.suppress(ConnectionError):  # the server may close before it has read everything
            connection.sendall(sent)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
    return received


def request(
    *headers: str,
    body: str = BODY,
    line: str = f"POST {PATH} HTTP/1.1",
    host: str = "localhost",
    then: str = "close",
) -> bytes:
    """A raw request; it has a length unless another header says how long it is, and is the last of its connection."""
    framed = [header for header in headers if header.lower().startswith(("content-length", "transfer-encoding"))]
    lines = [
        line,
        f"Host: {host}",
        f"Connection: {then}",
        *headers,
        *([] if framed else [f"Content-Length: {len(body)}"]),
        "",
        body,
    ]
    return "\r\n".join(lines).encode("latin-1")


def status(answer: bytes) -> int:
    """The HTTP status of an answer; 0 for a connection that was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (request("Content-Length: 5", "Transfer-Encoding: chunked", body=CHUNKED), {200, 400}),
        (request("Content-Length: 5", "Content-Length: 6"), {400}),
        (request("Content-Length: -1"), {400}),
        (request("Content-Length: 99999999999999999999"), {400, 413}),
        (request("Transfer-Encoding: gzip, chunked"), {400, 501}),
        (request("Transfer-Encoding: chunked", body="zz\r\nx"), {400}),
        (request("X: a\r\n b"), {200, 400}),
        (request("X : a"), {400}),
        (request("X: a\x00b"), {400}),
        (request(line="POST / HTTP/9.9"), {400, 405, 505}),
        (request(line="GET http://other.example/ HTTP/1.1"), {400, 403, 404}),
        (request(line="GET * HTTP/1.1", body=""), {400, 404}),
        (request(line="GET /operations/%zz HTTP/1.1", body=""), {400, 404}),
        (request(line="GET /operations/\xff HTTP/1.1", body=""), {400, 404}),
        (request(line=f"GET /{'a' * 100_000} HTTP/1.1", body=""), {400, 404, 414, 431}),
        (request(line="GET /../../etc/passwd HTTP/1.1", body=""), {404}),
        (request(line="CONNECT localhost:1 HTTP/1.1", body=""), {400, 404}),
        (request(*(f"x-{n}: {n}" for n in range(100_000))), {400, 431}),
        (request(f"x: {'a' * 1_000_000}"), {400, 431}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404, 505}),
        (b"\x00" * 1000 + b"\r\n\r\n", {400}),
    ],
    ids=lambda value: repr(value)[:50] if isinstance(value, bytes) else "",
)
def test_what_is_no_http_ends_in_a_status_or_a_closed_connection(
    emulator: Emulator, sent: bytes, statuses: set[int]
) -> None:
    generations = emulator.generations[paths.COMPLETION_ASYNC]
    answer = exchange(emulator, sent)
    assert status(answer) in statuses, answer[:300]
    if status(answer) != 200:
        assert emulator.generations[paths.COMPLETION_ASYNC] == generations


@pytest.mark.parametrize(
    "sent",
    [
        request("Transfer-Encoding: chunked", body="5\r\n{\r\n"),
        request("Content-Length: 99999"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET",
        b"",
    ],
    ids=lambda value: repr(value)[-30:],
)
def test_a_request_that_ends_in_its_middle_gets_nothing(emulator: Emulator, sent: bytes) -> None:
    generations = emulator.generations[paths.COMPLETION_ASYNC]
    assert status(exchange(emulator, sent, ends=True)) in (0, 400)
    assert emulator.generations[paths.COMPLETION_ASYNC] == generations


def test_http_1_0_gets_an_answer_and_a_closed_connection(emulator: Emulator) -> None:
    answer = exchange(emulator, request(line=f"POST {PATH} HTTP/1.0"))
    assert status(answer) == 200
    assert b'"done":true' in answer


def test_pipelined_requests_are_answered_in_their_order(emulator: Emulator) -> None:
    bodies = [BODY.replace("hi", f"number {n}") for n in range(5)]
    sent = [request(body=body, then="keep-alive") for body in bodies[:-1]] + [request(body=bodies[-1])]
    answer = exchange(emulator, b"".join(sent))
    assert [answer.count(f"number {n}".encode()) for n in range(5)] == [1] * 5
    assert sorted(range(5), key=lambda n: answer.index(f"number {n}".encode())) == list(range(5))


def test_a_websocket_upgrade_is_no_upgrade(emulator: Emulator) -> None:
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AA==")
    assert (
        status(exchange(emulator, request(*upgrade, line="GET /operations/x HTTP/1.1", body="", then="Upgrade, close")))
        == 404
    )


def test_a_client_that_waits_for_100_continue_is_answered(emulator: Emulator) -> None:
    answer = exchange(emulator, request("Expect: 100-continue"))
    assert b"HTTP/1.1 200" in answer


def test_a_client_that_stops_reading_holds_up_nobody() -> None:
    body = {"modelUri": "gpt://f/yandexgpt", "completionOptions": {"stream": True}}
    text = "word " * 30_000
    message = json.dumps({**body, "messages": [{"role": "user", "text": text}]})
    with Emulator(rest=True) as emulator:
        host, _, port = emulator.rest_address.rpartition(":")
        stalled = []
        for _ in range(8):
            connection = socket.create_connection((host, int(port)), timeout=60)
            stalled.append(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request(body=message, line="POST /foundationModels/v1/completion HTTP/1.1"))
        with httpx.Client(base_url=f"http://{emulator.rest_address}", trust_env=False, timeout=60) as client:
            for _ in range(20):
                assert client.post(PATH, content=BODY).status_code == 200
        for connection in stalled:
            connection.close()


FOREIGN = [
    ("evil.example", ""),
    ("evil.example:8080", ""),
    ("127.0.0.1.evil.example", ""),
    ("[::ffff:8.8.8.8]", ""),
    ("0.0.0.0", ""),
    ("user@evil.example", ""),
    ("localhost", "Origin: http://evil.example"),
    ("localhost", "Origin: null"),
    ("localhost", "Origin: https://localhost"),
    ("localhost", "Origin: http://localhost:1"),
    ("localhost", "Sec-Fetch-Site: cross-site"),
    ("localhost", "Sec-Fetch-Site: same-site"),
]


@pytest.mark.parametrize("path", ["/", "/-/events", "/-/page.js", "/operations/x"])
@pytest.mark.parametrize(("host", "header"), FOREIGN)
def test_a_page_of_another_origin_gets_nothing(emulator: Emulator, path: str, host: str, header: str) -> None:
    headers = [header] if header else []
    answer = exchange(emulator, request(*headers, line=f"GET {path} HTTP/1.1", body="", host=host))
    assert status(answer) == 403
    assert b"access-control" not in answer.lower()


def test_a_link_elsewhere_leads_to_the_page_and_to_nothing_else(emulator: Emulator) -> None:
    link = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
    assert status(exchange(emulator, request(*link, line="GET / HTTP/1.1", body=""))) == 200
    assert status(exchange(emulator, request(*link, line="GET /operations/x:cancel HTTP/1.1", body=""))) == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_page_and_the_address_bar_are_answered(emulator: Emulator, site: str) -> None:
    line = "GET /operations/x HTTP/1.1"
    assert status(exchange(emulator, request(f"Sec-Fetch-Site: {site}", line=line, body=""))) == 404


def test_two_hosts_are_refused(emulator: Emulator) -> None:
    assert status(exchange(emulator, request("Host: localhost", line="GET / HTTP/1.1", body=""))) in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:80", "[::1]:80", "LOCALHOST"])
def test_names_of_this_machine_are_ours(emulator: Emulator, host: str) -> None:
    line = "GET /operations/x HTTP/1.1"
    assert status(exchange(emulator, request(line=line, body="", host=host))) == 404
    assert status(exchange(emulator, request(f"Origin: http://{host}", line=line, body="", host=host))) == 404


Posting = Callable[..., httpx.Response]


@pytest.fixture
def post(emulator: Emulator) -> Iterator[Posting]:
    """Posts to the page's control functions."""
    with httpx.Client(base_url=f"http://{emulator.rest_address}", trust_env=False) as client:
        token = emulator.page_url.partition("#")[2]

        def send(method: str, body: str = "{}", **headers: str) -> httpx.Response:
            given = {"x-emulator-token": token, **{name.replace("_", "-"): value for name, value in headers.items()}}
            sent = [(name.encode(), value.encode()) for name, value in given.items()]
            return client.post(f"/-/control/{method}", content=body, headers=sent)

        yield send


@pytest.mark.parametrize("token", ["", "x", "é"])
def test_nothing_changes_without_the_token(emulator: Emulator, post: Posting, token: str) -> None:
    before = emulator.now()
    refused = post("AdvanceTime", '{"seconds": 3600}', x_emulator_token=token)
    assert refused.status_code == 403
    assert "the whole URL that was printed" in refused.json()["message"]
    assert emulator.now() < before + 3600


@pytest.mark.parametrize(
    ("method", "body", "code", "text"),
    [
        ("Nothing", "{}", 404, "no such method"),
        ("__init__", "{}", 404, "no such method"),
        ("AdvanceTime", '{"seconds": -1}', 400, "seconds is -1.0: it takes a number of seconds from 0 to "),
        ("AdvanceTime", '{"seconds": 1e300}', 400, "seconds is 1e+300: it takes a number of seconds from 0 to "),
        ("AdvanceTime", '{"minutes": 1}', 400, "no field named"),
        ("AddFaults", "[]", 400, "it takes a JSON object"),
        ("AddFaults", '{"faults": [{}]}', 400, "faults[0]"),
        ("AddFaults", " " * 5_000_000, 400, "larger than 4194304 bytes"),
        ("SetReplies", '{"replies": [{"pattern": "(", "text": "x"}]}', 400, "replies"),
    ],
)
def test_a_control_request_that_is_none_is_refused(post: Posting, method: str, body: str, code: int, text: str) -> None:
    answer = post(method, body)
    assert answer.status_code == code
    assert text in answer.json()["message"]


def test_the_page_allows_nothing_from_elsewhere(emulator: Emulator) -> None:
    with httpx.Client(base_url=f"http://{emulator.rest_address}", trust_env=False) as client:
        for path in ("/", "/-/page.css", "/-/page.js"):
            answer = client.get(path)
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
            assert answer.headers["cache-control"] == "no-store"
            assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
            assert emulator.page_url.partition("#")[2] not in answer.text
        assert client.get("/-/nothing").status_code == 404
        assert client.get("/-/control/Reset").status_code == 405


def test_two_emulators_have_two_tokens(emulator: Emulator) -> None:
    with Emulator(rest=True, seed=1) as other, Emulator(rest=True, seed=1) as another:
        assert len({one.page_url.partition("#")[2] for one in (emulator, other, another)}) == 3


def test_where_others_can_reach_it_there_is_no_page() -> None:
    with Emulator(rest=True, host="0.0.0.0", i_know=True) as emulator:
        assert emulator.page_url == ""
        port = emulator.rest_address.rpartition(":")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert client.get("/").status_code == 404
            assert client.post("/-/control/Reset", content="{}").status_code == 404
            assert client.get("/operations/x", headers={"host": "emulator:8080"}).json()["code"] == 5
            origin = {"host": "emulator:8080", "origin": "http://evil.example"}
            assert client.get("/operations/x", headers=origin).status_code == 403
