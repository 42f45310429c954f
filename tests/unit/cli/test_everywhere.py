"""What holds for every command: options around the verb, exit codes, errors in full, no questions in a pipe."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from deployd import errors
from deployd.cli import commands, main
from deployd.errors import DeploydError, HostError, UnreachableError


def every_class(root: type[DeploydError] = DeploydError) -> list[type[DeploydError]]:
    return [root, *(one for child in root.__subclasses__() for one in every_class(child))]


@pytest.mark.parametrize(
    "argv",
    [
        ("--json", "-e", "staging", "status"),
        ("status", "--json", "-e", "staging"),
        ("--json", "status", "--environment", "staging"),
        ("-e", "production", "status", "-e", "staging", "--json"),
    ],
)
def test_options_work_before_and_after_the_verb(deployd, app, argv):
    """The later option wins; both places are the same option."""
    done = deployd(*argv)

    assert done.exit == 0
    assert json.loads(done.out)["environment"] == "staging"
    assert done.err == ""


def test_options_work_around_the_verb_of_a_noun(deployd, app):
    for argv in (("--json", "host", "list"), ("host", "--json", "list"), ("host", "list", "--json")):
        assert [host["name"] for host in json.loads(deployd(*argv).out)] == ["web1", "web2"]


def test_the_app_dir_is_found_upwards_or_named(deployd, app, tmp_path, monkeypatch):
    below = app / "src" / "pages"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert deployd("status").exit == 0
    monkeypatch.chdir(tmp_path)
    assert deployd("status").exit == 2
    assert deployd("status", "-C", str(app)).exit == 0
    assert deployd("-C", str(app), "status").exit == 0


def test_hosts_are_chosen_by_name_and_pattern(deployd, app):
    for argv, expected in (
        (("status", "--json"), ["web1", "web2"]),
        (("status", "--json", "--host", "web2"), ["web2"]),
        (("--host", "web2", "status", "--json", "--host", "web1"), ["web1", "web2"]),
        (("status", "--json", "--host", "web*"), ["web1", "web2"]),
    ):
        assert [host["name"] for host in json.loads(deployd(*argv).out)["hosts"]] == expected
    missed = deployd("status", "--host", "db*")

    assert missed.exit == 2
    assert "choose among web1, web2" in missed.err


@pytest.mark.parametrize("error", every_class(), ids=lambda error: error.__name__)
def test_each_error_has_its_exit_code_and_all_its_fields(deployd, app, client, error):
    client.fail = error(
        "it went wrong", host="web2", live="R1 on web1", details="line 1\nline 2", fix="do this", code="a-code"
    )
    text = deployd("status")
    document = deployd("status", "--json")

    assert text.exit == document.exit == error.exit_code
    for part in ("it went wrong", "web2", "R1 on web1", "line 1", "line 2", "do this", "a-code"):
        assert part in text.err
    assert text.out == document.out == ""
    assert json.loads(document.err)["error"] == {
        "code": "a-code",
        "what": "it went wrong",
        "host": "web2",
        "live": "R1 on web1",
        "details": "line 1\nline 2",
        "fix": "do this",
        "docs": "errors.md#a-code",
    }


def test_the_exit_codes_are_those_of_the_contract():
    found = {error.__name__: error.exit_code for error in every_class() if error.__module__ == errors.__name__}
    assert set(found.values()) == {1, 2, 3, 4, 5, 6, 7, 130}


def test_an_error_on_a_host_says_that_nothing_is_known_of_what_is_live(deployd, app, client):
    client.fail = HostError("it broke", host="web2", fix="look")
    assert "live  not known; see `deployd status`" in deployd("status").err


def test_an_error_cannot_draw_on_the_terminal(deployd, app, client):
    client.fail = UnreachableError(
        "\x1b[2Jgone\x07", host="web1", fix="look\x1b]0;title\x07 there", details="\x1b[31mred"
    )
    assert "\x1b" not in deployd("status").err
    assert "\x07" not in deployd("status").err


def test_a_bug_is_one_sentence(deployd, app, client, monkeypatch):
    def broken(*_arguments: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr(client, "status", broken)
    done = deployd("status")

    assert done.exit == 1
    assert "RuntimeError: oh" in done.err
    assert "report it" in done.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("hots",), ("no such command 'hots'", "'host'")),
        (("release", "--tiemout", "3"), ("--tiemout", "--timeout", "deployd release --help")),
        (("host", "ad"), ("no such command 'ad'", "deployd host --help")),
        (("show",), ("RELEASE",)),
        (("deploy",), ("deployd release",)),
        (("releases", "-n", "many"), ("'many' is not a whole number",)),
        (("releases", "-n", "0"), ("0 is below 1",)),
        (("status", "-e", "Prod-1"), ("'Prod-1' is not a valid environment name", "a-z and 0-9")),
        (("status", "-e", "stagin"), ("did you mean 'staging'",)),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_right(deployd, app, argv, words):
    done = deployd(*argv)

    assert done.exit == 2
    for word in words:
        assert word in done.err
    as_json = deployd(*argv, "--json")
    assert as_json.exit == 2
    assert set(json.loads(as_json.err)["error"]) >= {"code", "what", "host", "live", "fix", "docs"}


@pytest.mark.parametrize(
    "argv",
    [("host", "remove", "web1"), ("init",), ("env", "set", "KEY"), ("unlock",)],
)
def test_nothing_asks_a_question_in_a_pipe(deployd, app, client, argv):
    """It fails with 2 and names the flag."""
    from deployd.rollouts.wishes import LockState

    client.held = [LockState(host="web1", held=True, owner="ada", since="2026-11-21T10:15:30+00:00", rollout="r-1")]  # type: ignore[arg-type]
    done = deployd(*argv, stdin="y\ny\n")

    assert done.exit == 2
    assert "--yes" in done.err or "KEY=-" in done.err


def test_a_no_changes_nothing(deployd, app, client):
    done = deployd("host", "remove", "web1", terminal=True, stdin="n\n")

    assert done.exit == 2
    assert "web1" in client.known
    assert deployd("host", "remove", "web1", terminal=True, stdin="y\n").exit == 0
    assert "web1" not in client.known


def test_colours_are_for_terminals_and_no_color_ends_them(deployd, app, monkeypatch):
    assert "\x1b[" not in deployd("status").out
    assert "\x1b[" in deployd("status", terminal=True).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in deployd("status", terminal=True).out


def test_a_reader_who_leaves_ends_it_quietly(app):
    text = "import sys; from deployd.cli import main; main.leave(main.run(['docs']))"
    program = [sys.executable, "-c", text]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait() == 141


HEAVY = {
    "fastapi",
    "sqlalchemy",
    "paramiko",
    "fabric",
    "dbos",
    "rich",
    "pydantic",
    "alembic",
    "ansible",
    "cryptography",
}


def loaded_by(*argv: str, cwd: Path) -> set[str]:
    text = (
        "import sys\nsys.argv = ['deployd', *sys.argv[1:]]\nfrom deployd.cli import main\n"
        "try:\n    sys.argv[1:] in ([], ['--help']) and main.main()\nexcept SystemExit: pass\n"
        "sys.argv[1:] not in ([], ['--help']) and main.run(sys.argv[1:])\n"
        "sys.stderr.write('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", text, *argv], capture_output=True, text=True, check=True, cwd=cwd)
    return set(done.stderr.splitlines()[-1].split())


def test_help_loads_nothing_heavy(app):
    """Not even typer: the page is made of the table of commands."""
    assert loaded_by("--help", cwd=app) & (HEAVY | {"typer", "click"}) == set()


@pytest.mark.parametrize("argv", [("release", "--help"), ("version",), ("docs", "probe"), ("host", "add", "--help")])
def test_light_commands_load_nothing_heavy(app, argv):
    """Typer's own conversion would import pydantic: coercion.py keeps it away."""
    assert loaded_by(*argv, cwd=app) & HEAVY == set()


def test_help_takes_150_ms_more_than_python_at_most(app):
    def used() -> float:
        """Seconds of the processor's time: they are the same when others want the processor, too."""
        return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])

    def best(*argv: str) -> float:
        times = []
        for _ in range(5):
            before = used()
            subprocess.run([sys.executable, *argv], check=True, capture_output=True)
            times.append(used() - before)
        return min(times)

    help_page = "import sys; sys.argv = ['deployd', '--help']; from deployd.cli.main import main; main()"
    assert best("-c", help_page) - best("-c", "pass") < 0.150


def leaves() -> list[tuple[str, object]]:
    found = []
    for name, entry in commands.COMMANDS.items():
        if not (Path(main.__file__).parent / f"{entry.module}.py").is_file():
            continue
        command = entry.load(name)
        children = getattr(command, "commands", None)
        found += [(f"{name} {child}", leaf) for child, leaf in children.items()] if children else [(name, command)]
    return found


@pytest.mark.parametrize(("path", "command"), leaves(), ids=[path for path, _ in leaves()])
def test_each_help_has_one_example_that_parses(path, command):
    """The example is a command line of this very command, and its options exist."""
    example = command.epilog
    words = shlex.split(example.removeprefix("sudo ").partition(" < ")[0].replace('eval "$(', "").replace(')"', ""))
    if path == "deploy":
        return

    assert words[:1] + words[1 : 1 + len(path.split())] == ["deployd", *path.split()]
    context = command.make_context(path, words[1 + len(path.split()) :], resilient_parsing=False)
    assert context is not None
    assert "Example:" in command.get_help(typer.Context(command, info_name=path))


def test_the_table_names_what_exists():
    for name, entry in commands.COMMANDS.items():
        if (Path(main.__file__).parent / f"{entry.module}.py").is_file():
            loaded = entry.load(name)
            assert loaded.name == name, name


def test_the_help_of_a_noun_has_an_example_too():
    loaded = {name: entry.load(name) for name, entry in commands.COMMANDS.items()}
    nouns = {name: noun for name, noun in loaded.items() if getattr(noun, "commands", None)}
    assert "host" in nouns
    for name, noun in nouns.items():
        assert f"\nExample:\n  $ deployd {name} " in noun.get_help(noun.make_context(name, [], resilient_parsing=True))
