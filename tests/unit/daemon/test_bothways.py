"""What goes in and comes out of a TLS connection at the same time arrives whole."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import threading

import pytest

from deployd.remote import bothways
from tests.support.certificates import made_certificate

SIZE = 8_000_000


@pytest.fixture
def echo(tmp_path):
    """The address of a server that says over TLS what it hears, and the context that believes it."""
    chain, key = made_certificate("localhost")
    (tmp_path / "chain.pem").write_text(chain)
    (tmp_path / "key.pem").write_text(key)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with theirs.wrap_socket(accepted, server_side=True) as one:
                while data := one.recv(65536):
                    one.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname(), ssl.create_default_context(cafile=str(tmp_path / "chain.pem"))
        thread.join(30)
        assert not thread.is_alive(), "it was not told of the end"


def test_two_threads_may_use_it(echo):
    address, context = echo
    secured = context.wrap_socket(socket.create_connection(address, 30), server_hostname="localhost")
    data = os.urandom(SIZE)
    with bothways.plain(secured) as one:
        assert one.gettimeout() == 30
        sender = threading.Thread(target=one.sendall, args=(data,), daemon=True)
        sender.start()
        came = hashlib.sha256()
        size = 0
        while size < SIZE:
            piece = one.recv(65536)
            assert piece
            came.update(piece)
            size += len(piece)
        sender.join(30)
    assert came.digest() == hashlib.sha256(data).digest()


def test_the_end_of_the_other_side_is_an_end(echo):
    address, context = echo
    secured = context.wrap_socket(socket.create_connection(address, 30), server_hostname="localhost")
    with bothways.plain(secured) as one:
        one.sendall(b"x")
        assert one.recv(10) == b"x"
        one.shutdown(socket.SHUT_WR)
        assert one.recv(10) == b""
