"""Secrets that a daemon is given are found nowhere in what it says or keeps: log, events, database, files, command lines."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from deployd.domain.secret import Secret
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Connection, Daemon
from tests.contract.test_daemon_life import CLIENTS, PRODUCTION, SHOP, back, client_of, quiet, serve, wish
from tests.contract.test_daemon_queue import commit, repository

__all__ = ["repository", "serve"]


class Watch(threading.Thread):
    """Reads every process's command line, again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(file.read_bytes())
                except OSError:
                    continue
            time.sleep(0.02)


def deliver(port: int, secret: str, body: bytes, delivery: str) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json", "x-github-event": "push", "x-github-delivery": delivery,
        "x-hub-signature-256": signature,
    }  # fmt: skip
    connection.request("POST", "/hooks/shop", body=body, headers=headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return told


def payload(commit_id: str) -> bytes:
    head = {"id": commit_id, "message": "x"}
    repository = {"full_name": "a/shop", "html_url": "https://forge.example/a/shop"}
    pushed = {"ref": "refs/heads/main", "before": "1" * 40, "after": commit_id, "commits": [], "head_commit": head}
    return json.dumps({**pushed, "repository": repository, "sender": {"login": "ada"}}).encode()


def columns(file: Path) -> list[tuple[str, str, bytes]]:
    """Every value of every table, as bytes."""
    found = []
    with closing(sqlite3.connect(file)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f'SELECT * FROM "{table}"')
            names = [one[0] for one in rows.description]
            for row in rows:
                found += [
                    (table, name, value if isinstance(value, bytes) else str(value).encode())
                    for name, value in zip(names, row, strict=True)
                ]
    return found


def forms(secret: str) -> list[bytes]:
    """A secret as it is, and as somebody may have encoded it."""
    data = secret.encode()
    return [data, data.hex().encode(), base64.b64encode(data).rstrip(b"="), data[::-1]]


def test_no_secret_is_in_what_the_daemon_says_or_keeps(serve, repository):
    """After tokens, hooks, variables, releases by a person, a push and a rollback: only the key file opens them."""
    served = serve(listen="127.0.0.1:0")
    watch = Watch()
    watch.start()
    here = client_of(served)
    here.add_app(SHOP, repository=str(repository), subdir="")
    _, token = here.create_token(scope="admin", apps=[], expires_in=600, note="a laptop")
    away = RemoteClient(Daemon(url=f"http://127.0.0.1:{served.port}", token=Secret(token)), here.paths, who="ada")
    CLIENTS.append(away)
    hook = here.pushes.hook(SHOP, rotate=True)["secret"]
    forge, chat = "forge-canary-4711-token", "json://user:chat-canary-4711@127.0.0.1:9/x"
    away.pushes.set_forge("github", Secret(forge), url=None, app=None)
    away.pushes.add_target("team", Secret(chat), app=None, events=())
    away.set_variable(SHOP, PRODUCTION, "SERVER_CANARY", Secret("server-canary-4711"))
    away.set_variable(SHOP, PRODUCTION, "BUILD_CANARY", Secret("build-canary-4711"), build=True)

    rollouts = [here.release(wish("one"), report=quiet, cancel=threading.Event()).rollout]
    told = deliver(served.port, hook, payload(commit(repository, "pushed")), "d-1")
    assert deliver(served.port, hook + "x", payload("2" * 40), "d-2")["error"]["code"]
    rollouts.append(away.follow(told["rollout"], report=quiet, cancel=threading.Event()).rollout)
    rollouts.append(here.rollback(back(), report=quiet, cancel=threading.Event()).rollout)
    assert here.reveal_variables(SHOP, PRODUCTION)["SERVER_CANARY"].reveal() == "server-canary-4711"
    away.set_variable(SHOP, PRODUCTION, "BOTH", Secret("both-canary-4711"), both=True)
    assert [(one.build, one.both) for one in away.variables(SHOP, PRODUCTION) if one.key == "BOTH"] == [(False, True)]
    events = [
        json.dumps(fields)
        for rollout in rollouts
        for _, fields in Connection(away.daemon).stream(f"/v1/rollouts/{rollout}/events")
    ]
    answers = [here.releases(SHOP, PRODUCTION), here.audit(limit=200), here.tokens(), here.pushes.forges(),
               here.pushes.targets(), here.variables(SHOP, PRODUCTION)]  # fmt: skip
    watch.over.set()
    watch.join()
    served.close()

    secrets = [token, hook, forge, "chat-canary-4711", "server-canary-4711", "build-canary-4711"]
    places = {
        "log": served.log.read_bytes(), "events": "\n".join(events).encode(), "answers": repr(answers).encode(),
        "processes": b"\n".join(watch.seen), **{f"{one[0]}.{one[1]}": b"" for one in columns(served.state / "deployd.sqlite")},
    }  # fmt: skip
    for table, name, value in columns(served.state / "deployd.sqlite"):
        places[f"{table}.{name}"] += value + b"\n"
    files = {str(file): file.read_bytes() for file in served.state.rglob("*") if file.is_file()}
    found = [
        (secret[:12], place)
        for secret in secrets
        for form in forms(secret)
        for place, data in {**places, **files}.items()
        if form in data
    ]
    assert found == []
    assert b"a laptop" in places["tokens.note"], "what is no secret is found"
    assert b"a laptop" in b"".join(files.values())
    assert len(places) > 100, "tables and columns were looked at"
    assert any("serve" in str(one) or b"daemons.py" in one for one in watch.seen), "processes were looked at"
    assert len(events) > 20
