"""Clients' connections: an answer leaves whole, nothing waits longer than it may, and a stop ends who is idle."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gevent
import gevent.socket
import pytest

from app.runtime import connections as module
from app.runtime.connections import ClientSocket, Connections

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 0.2
SLACK_S = 3.0
"""How much later a busy machine may be."""


@pytest.fixture
def connections() -> Connections:
    """Make limits that a test can wait for."""
    made = Connections()
    made.keep_alive_s = made.io_timeout_s = LIMIT_S
    return made


@pytest.fixture
def pair(connections: Connections) -> Iterator[tuple[ClientSocket, gevent.socket.socket]]:
    """Connect a connection of ours with a client."""
    ours, client = gevent.socket.socketpair()
    client.settimeout(5)
    served = ClientSocket.take(ours, connections)
    yield served, client
    served.close()
    client.close()


Pair = tuple[ClientSocket, gevent.socket.socket]


def has_come(client: gevent.socket.socket) -> bytes:
    """What the client can read now, without waiting."""
    client.settimeout(0.0)
    try:
        return bytes(client.recv(1 << 20))
    except BlockingIOError:
        return b""
    finally:
        client.settimeout(5)


def read_for_ever(served: ClientSocket) -> None:
    while True:
        served.recv(100)


def continue_for_ever(served: ClientSocket) -> None:
    while True:
        served.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def test_an_answer_leaves_whole_at_its_end(pair: Pair) -> None:
    """Head and body are written apart and arrive together."""
    served, client = pair
    served.begin_request()
    served.sendall(b"head ")
    served.sendall(b"body")
    assert has_come(client) == b""
    served.end_request()
    assert has_come(client) == b"head body"


def test_what_is_written_outside_a_request_leaves_at_once(pair: Pair) -> None:
    """The refusal of a head that could not be read, for one."""
    served, client = pair
    served.sendall(b"HTTP/1.1 400")
    assert has_come(client) == b"HTTP/1.1 400"


def test_answers_do_not_mix(pair: Pair) -> None:
    """Each request has its own, also one that wrote nothing."""
    served, client = pair
    for written in (b"one", b"", b"two"):
        served.begin_request()
        if written:
            served.sendall(written)
        served.end_request()
        assert has_come(client) == written


def test_a_long_answer_does_not_wait_for_its_end(pair: Pair, connections: Connections) -> None:
    """Ten megabytes are not gathered: the first part is on its way before the second; all arrive, in order."""
    served, client = pair
    connections.io_timeout_s = 10.0
    parts = [bytes([number]) * 100_000 for number in range(100)]

    def write() -> None:
        for part in parts[1:]:
            served.sendall(part)
        served.end_request()

    served.begin_request()
    served.sendall(parts[0])
    got = bytearray(has_come(client))
    assert got
    writing = gevent.spawn(write)
    whole = b"".join(parts)
    while len(got) < len(whole):
        got += client.recv(1 << 20)
    writing.get(timeout=5)
    assert bytes(got) == whole


def test_a_reader_that_stalls_does_not_hold_us(pair: Pair) -> None:
    """A write ends with TimeoutError once nothing has been taken for so long."""
    served, _ = pair
    served.begin_request()
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        served.sendall(b"x" * (64 << 20))
    assert LIMIT_S <= time.monotonic() - began_s < LIMIT_S + SLACK_S


@pytest.mark.parametrize("pause_s", [LIMIT_S / 5, 0.0002], ids=["slow", "quick"])
@pytest.mark.parametrize("is_head", [True, False], ids=["head", "body"])
def test_a_trickle_does_not_put_the_limit_off(pair: Pair, pause_s: float, *, is_head: bool) -> None:
    """A byte now and then, or quicker than any clock: the limit is that of the whole head, or of the whole body."""
    served, client = pair
    if not is_head:
        served.begin_request()

    def trickle() -> None:
        while True:
            client.sendall(b"x")
            gevent.sleep(pause_s)

    trickling = gevent.spawn(trickle)
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        read_for_ever(served)
    trickling.kill()
    assert LIMIT_S <= time.monotonic() - began_s < LIMIT_S + SLACK_S


def test_a_flood_meets_its_limit_and_lets_the_others_run(pair: Pair, connections: Connections) -> None:
    """A body that always has more to read, as fast as it can be sent."""
    served, client = pair
    connections.io_timeout_s = 2 * LIMIT_S
    others: list[float] = []

    def flood() -> None:
        while True:
            client.sendall(b"x" * (1 << 20))

    def live() -> None:
        while True:
            others.append(time.monotonic())
            gevent.sleep(0)

    flooding = [gevent.spawn(flood), gevent.spawn(live)]
    served.begin_request()
    with gevent.Timeout(30), pytest.raises(TimeoutError):
        read_for_ever(served)
    gevent.killall(flooding)
    assert len(others) > 2


def test_a_client_that_reads_nothing_gets_no_continue(pair: Pair) -> None:
    """gunicorn sends it by itself, by send and not by sendall: it waits no longer than any write."""
    served, client = pair
    client.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_RCVBUF, 4096)
    with gevent.Timeout(30), pytest.raises(TimeoutError):
        continue_for_ever(served)


def test_each_request_has_its_own_limit(pair: Pair) -> None:
    """A connection that is used now and then lives on: head, body, head again, each just within its limit."""
    served, client = pair
    for _ in range(3):
        for turn in (served.begin_request, served.end_request):
            gevent.spawn_later(LIMIT_S * 0.6, client.sendall, b"x")
            assert served.recv(100) == b"x"
            turn()


def test_what_is_there_costs_no_wait(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock runs, and no greenlet is switched, for bytes that have come already."""
    served, client = pair
    client.sendall(b"GET")
    monkeypatch.setattr(served, "_recv_in_time", lambda *_: pytest.fail("it waited"))
    assert served.recv(100) == b"GET"


def test_an_answer_to_nobody_is_no_fault(pair: Pair) -> None:
    """The server has ended the connection within the request: there is nobody to send to."""
    served, _ = pair
    served.begin_request()
    served.sendall(b"too late")
    served.close()
    served.end_request()


def test_a_stop_ends_who_only_waits_and_lets_the_others_finish(pair: Pair, connections: Connections) -> None:
    """Idle after a request: ended at once. Within a request: not touched."""
    served, client = pair
    connections.keep_alive_s = connections.io_timeout_s = 30.0
    served.begin_request()
    body = gevent.spawn(served.recv, 100)
    gevent.sleep(0.01)
    connections.close()
    gevent.sleep(0.01)
    assert not body.dead
    client.sendall(b"body")
    assert body.get(timeout=5) == b"body"
    served.end_request()
    with gevent.Timeout(SLACK_S), pytest.raises(TimeoutError):
        served.recv(100)


def test_a_stop_ends_an_idle_connection_at_once(pair: Pair, connections: Connections) -> None:
    """It was kept open, and waits for a head that nobody has promised."""
    served, _ = pair
    connections.keep_alive_s = 30.0
    served.begin_request()
    served.end_request()
    waiting = gevent.spawn(served.recv, 100)
    gevent.sleep(0.01)
    connections.close()
    waiting.join(SLACK_S)
    assert waiting.dead
    assert isinstance(waiting.value, gevent.GreenletExit)


def test_a_stop_gives_a_new_connection_a_moment(
    pair: Pair, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first request may be on its way; only when none comes is it ended."""
    monkeypatch.setattr(module, "LAST_HEAD_S", LIMIT_S)
    served, client = pair
    connections.keep_alive_s = 30.0
    waiting = gevent.spawn(served.recv, 100)
    gevent.sleep(0.01)
    connections.close()
    client.sendall(b"GET")
    assert waiting.get(timeout=5) == b"GET"
    second = gevent.spawn(served.recv, 100)
    second.join(LIMIT_S + SLACK_S)
    assert second.dead
