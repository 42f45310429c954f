"""Who opens a connection and says nothing, or half of something, holds it for a while and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from deployd.daemon import sockets
from deployd.daemon.api import bounds

HEAD = b"POST /v1/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"


@pytest.fixture
def served(frame, monkeypatch):
    """Runs `talk(address)` against the API on a real socket, with little patience."""
    monkeypatch.setattr(sockets, "HEAD_WITHIN", 0.6)
    monkeypatch.setattr(bounds, "PIECE_WITHIN", 0.6)

    def run(talk):
        async def both():
            listening = sockets.listen_tcp("127.0.0.1:0")
            server = sockets.server(frame.app)
            serving = asyncio.create_task(server.serve([listening]))
            try:
                return await asyncio.wait_for(talk(sockets.port_of(listening)), 20)
            finally:
                server.end()
                await serving

        return asyncio.run(both())

    return run


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"GET"])
def test_a_head_that_does_not_come_ends_the_connection(served, said):
    async def talk(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        told = await reader.read()
        writer.close()
        return told

    assert served(talk) == b""


def test_a_second_request_has_its_time_too(served):
    async def talk(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for _ in range(3):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.append((await reader.readuntil(b"}"))[:15])
            await asyncio.sleep(0.1)
        writer.write(b"GET /healthz HT")
        rest = await reader.read()
        writer.close()
        return answers, rest

    answers, rest = served(talk)
    assert [one.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")) for one in answers] == [True] * 3
    assert rest == b""


def test_a_body_that_does_not_come_is_answered_by_408(frame, served):
    token = frame.token("release")["Authorization"].encode()

    async def talk(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Authorization: " + token + b"\r\nContent-Type: application/json\r\n\r\n{")
        told = await reader.readuntil(b"\r\n")
        writer.close()
        return told

    assert b" 408 " in served(talk).split(b"\r\n", 1)[0]


def test_a_head_that_is_too_large_is_refused(served):
    async def talk(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n")
        try:
            told = await reader.read()
        except ConnectionError:
            told = b""
        writer.close()
        return told

    assert not served(talk).startswith(b"HTTP/1.1 200")


def test_who_goes_away_in_the_middle_of_a_body_leaves_no_line_in_the_log(served, caplog):
    async def talk(port):
        for path in (b"/hooks/shop", b"/v1/cancel"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD.replace(b"/v1/cancel", path) + b"\r\n{")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.close()
            await writer.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        told = await reader.readuntil(b"}")
        writer.close()
        return told

    assert b" 200 " in served(talk)
    assert "ClientDisconnect" not in caplog.text
