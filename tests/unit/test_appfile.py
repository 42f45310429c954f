"""deployd.toml: what it becomes, and how each mistake is told: its line, what is expected, the nearest key."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd import appfile, appkeys
from deployd.cli import annotated
from deployd.domain.options import Options
from deployd.domain.quantity import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    write_duration,
    write_size,
)
from deployd.errors import ConfigError, NotFoundError

WHOLE = """\
name = "shop"
x-team = "web"
[build]
command = "npm run build:web"
node = "22"
timeout = "1h30m"
memory = "4G"
cpus = 2
[probe]
path = "/health"
status = [200]
interval = "500ms"
warm = ["/", "/products"]
[rollout]
strategy = "batch"
batch = 2
pause = "30s"
[run]
instances = "cores"
memory = "512M"
drain = "10s"
[keep]
releases = 3
failed = 0
[environments.production]
branch = "main"
hosts = ["web1", "web2", "web1"]
domains = ["Shop.example", "*.shop.example"]
port = 8080
[environments.production.probe]
timeout = "2m"
[environments.staging]
hosts = ["web9"]
[environments.staging.run]
instances = 2
"""


def test_every_key_reaches_the_options():
    app = appfile.parse(WHOLE)
    production = app.environment("production")
    options = production.options

    assert (app.name, production.branch, production.hosts) == ("shop", "main", ("web1", "web2"))
    assert (options.build.command, options.build.node, options.build.timeout) == ("npm run build:web", "22", 5400.0)
    assert (options.build.memory, options.build.cpus) == (4 * 1024**3, 2.0)
    assert (options.probe.path, options.probe.status, options.probe.interval) == ("/health", (200,), 0.5)
    assert (options.probe.timeout, options.probe.warm) == (120.0, ("/", "/products"))
    assert (options.waves.strategy, options.waves.batch, options.waves.pause) == ("batch", 2, 30.0)
    assert (options.run.instances, options.run.memory, options.run.drain) == ("cores", 512 * 1024**2, 10.0)
    assert (options.run.domains, options.run.port) == (("shop.example", "*.shop.example"), 8080)
    assert (options.keep.releases, options.keep.failed) == (3, 0)


def test_an_environment_overrides_only_what_it_names():
    staging = appfile.parse(WHOLE).environment("staging").options

    assert (staging.run.instances, staging.run.memory, staging.run.port) == (2, 512 * 1024**2, 80)
    assert (staging.probe.timeout, staging.probe.path) == (30.0, "/health")


def test_a_name_and_a_host_are_enough():
    app = appfile.parse('name = "shop"\n[environments.production]\nhosts = ["web1"]')
    assert app.environment("production").options == Options() == app.options


def test_every_option_has_a_key():
    """A field of the options that no key fills could not be set by anybody."""
    declared = {
        (section.part, name)
        for section in (*appkeys.SECTIONS, appkeys.SITE, appkeys.CONSENT)
        for key in section.keys
        for name in (key.fields_of(()) if key.fields_of else (key.field or key.name,))
    } | {("run", "shared")}  # what `hosts` say
    parts = {field.name: field.default for field in fields(Options)}
    assert declared == {(part, field.name) for part, value in parts.items() for field in fields(value)}


@pytest.mark.parametrize(
    "key",
    [(s, k) for s in (*appkeys.SECTIONS, appkeys.SITE, appkeys.CONSENT) for k in s.keys],
    ids=lambda one: one[1].name,
)
def test_every_example_and_default_is_valid(key):
    import tomllib

    section, declared = key
    declared.kind.parse(tomllib.loads(f"a = {declared.example}")["a"])
    default = section.default(declared)
    if default is not None:
        assert declared.kind.parse(tomllib.loads(f"a = {declared.kind.write(default)}")["a"]) == default


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        (
            'name = "shop"\n\n[probe]\ntimout = "3s"\n',
            "deployd.toml:4: unknown key `timout` in [probe]",
            "did you mean `timeout`?",
        ),
        ('name = "shop"\n[prob]\n', "deployd.toml:2: unknown key `prob` in the top level", "did you mean `probe`?"),
        (
            'name = "shop"\ndrain = "3s"\n',
            "deployd.toml:2: unknown key `drain` in the top level",
            "`drain` belongs into [run]",
        ),
        ('name = "shop"\nzebra = 1\n', "deployd.toml:2: unknown key `zebra`", "known there: name, environments"),
        (
            'name = "shop"\n[environments.production]\nhost = ["a"]\n',
            "deployd.toml:3: unknown key `host` in [environments.production]",
            "did you mean `hosts`?",
        ),
        (
            'name = "shop"\n[environments.production.probe]\npaht = "/"\n',
            "deployd.toml:3: unknown key `paht` in [environments.production.probe]",
            "did you mean `path`?",
        ),
        (
            'name = "shop"\n[probe]\ntimeout = 30\n',
            '`probe.timeout` is 30, and should be a duration such as "500ms", "30s" or "20m"',
            'for example: timeout = "30s"',
        ),
        ('name = "shop"\n[probe]\ntimeout = "30"\n', '`probe.timeout` is "30", and should be a duration', "timeout"),
        (
            'name = "shop"\n[probe]\nstatus = 200\n',
            "`probe.status` is 200, and should be a list of HTTP statuses",
            "[200]",
        ),
        ('name = "shop"\n[probe]\npath = "health"\n', 'should be a path that begins with "/"', "/health"),
        ('name = "shop"\n[probe]\nsuccesses = true\n', "`probe.successes` is true, and should be a whole number", "2"),
        ('name = "shop"\n[build]\nmemory = "lots"\n', '`build.memory` is "lots", and should be a size', "4G"),
        ('name = "shop"\n[rollout]\nstrategy = "al"\n', 'should be one of "all", "batch", "canary"', "canary"),
        ('name = "shop"\n[run]\ninstances = 0\n', 'should be a whole number from 1 to 64, or "cores"', "cores"),
        ('name = "shop"\n[keep]\nreleases = 0\n', "should be a whole number, 1 or more", "5"),
        ('name = "shop"\nprobe = "/health"\n', "deployd.toml:2: `probe` is", "write [probe]"),
        ('name = "shop"\nprobe = { timeot = "3s" }\n', "deployd.toml:2: unknown key `timeot` in [probe]", "timeout"),
        ('name = "Shop"\n', 'deployd.toml:1: `name` is "Shop"', "use a-z, 0-9 and '-'"),
        ("[probe]\n", "deployd.toml: `name` is missing", 'name = "shop"'),
        ("name = 3\n", "deployd.toml:1: `name` is 3", "a-z"),
        (
            'name = "shop"\n[environments.Prod-1]\n',
            "deployd.toml:2: an environment is named 'Prod-1'",
            "use a-z and 0-9",
        ),
        (
            'name = "shop"\n[environments]\nproduction = 3\n',
            "`environments.production` should be a table",
            "[environments.production]",
        ),
        ('name = "shop"\n[environments.p]\nhosts = ["Web 1"]\n', "`environments.p.hosts`", '["web1", "web2"]'),
        ('name = "shop"\n[environments.p]\nbranch = "-x"\n', "should be a branch's name", "main"),
        ('name = "shop"\n[environments.p]\ndomains = ["a b"]\n', "should be a list of domains", "shop.example"),
        ('name = "shop"\n[environments.p]\nport = 70000\n', "should be a port, 1 to 65535", "80"),
        ("name = \n", "deployd.toml is not TOML", "correct that line"),
        ('verify = "warn"\n[verify]\n', "is not TOML: Cannot overwrite", "write into the table that is there"),
        ("[trace]\n[trace]\n", "is not TOML: Cannot declare", "write into the table that is there"),
    ],
)
def test_each_mistake_is_told(text, what, fix):
    with pytest.raises(ConfigError) as caught:
        appfile.parse(text)

    assert what in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.exit_code == 2
    assert caught.value.code in {"config-invalid", "config-unknown-key", "app-file-syntax"}


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        appfile.parse('name = "shop"\n[probe]\ntimout = "3s"\npath = 3\n[kep]\n')

    assert caught.value.details
    assert len(caught.value.details.splitlines()) == 2


def test_an_unknown_environment_names_the_nearest():
    with pytest.raises(NotFoundError, match="did you mean 'production'"):
        appfile.parse(WHOLE).environment("prodction")


def test_a_missing_and_an_unreadable_file(tmp_path):
    with pytest.raises(ConfigError) as caught:
        appfile.load(tmp_path / "deployd.toml")
    assert caught.value.code == "app-file-missing"
    (tmp_path / "deployd.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        appfile.load(tmp_path / "deployd.toml")
    assert "it is not UTF-8" in caught.value.what


def test_each_value_says_where_it_comes_from():
    values = {item.key: (item.value, item.origin) for item in appfile.parse(WHOLE).values("production")}

    assert values["probe.timeout"] == ('"2m"', "[environments.production.probe]")
    assert values["probe.path"] == ('"/health"', "[probe]")
    assert values["probe.successes"] == ("2", "default")
    assert values["port"] == ("8080", "[environments.production]")
    assert values["build.install"] == (None, "default")
    assert values["name"] == ('"shop"', "deployd.toml")


def test_the_annotated_file_is_valid_also_with_every_line_in_force():
    text = annotated.app_text(name="shop", hosts=())
    assert appfile.parse(text).environment("production").options == Options()
    in_force = "\n".join(
        line.removeprefix("# ") if "=" in line and line.split()[1:2] in [[key] for key in every_key()] else line
        for line in text.splitlines()
    )
    assert appfile.parse(in_force).environment("production").options.build.memory == 4 * 1024**3


def every_key() -> set[str]:
    return {key.name for section in (*appkeys.SECTIONS, appkeys.SITE, appkeys.CONSENT) for key in section.keys}


@given(st.text(max_size=200))
def test_no_text_breaks_it(text):
    with contextlib.suppress(ConfigError):
        assert appfile.parse(text).name


@given(st.integers(min_value=1, max_value=10**9))
def test_durations_are_read_back(milliseconds):
    assert parse_duration(write_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, rel=1e-3)


@given(st.integers(min_value=0, max_value=2**50))
def test_sizes_are_read_back(size):
    assert parse_size(write_size(size)) == size


@pytest.mark.parametrize("text", ["", "3", "s", "-3s", "3 s", "1e3s", "3x", "3sm", "٣s"])
def test_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_quantities_for_people():
    assert [format_duration(value) for value in (0.0094, 0.9999, 14.2, 59.96, 185, 7800, 360000)] == [
        "9 ms",
        "1000 ms",
        "14.2 s",
        "1 m 00 s",
        "3 m 05 s",
        "2 h 10 m",
        "4 d 4 h",
    ]
    assert [format_size(value) for value in (0, 812, 3.4 * 1024**2, 120 * 1024, 5 * 1024**4)] == [
        "0 B",
        "812 B",
        "3.4 MB",
        "120 kB",
        "5.0 TB",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("status = []", "a list of HTTP statuses"),
        ('path = "/café"', "/caf%C3%A9"),
        ('path = "/a\\u0000b"', "a path that begins"),
        ('warm = ["/ok", "/é"]', "a list of paths"),
        ('host = "a b"', "a host name"),
        ("successes = 1000", "from 1 to 100"),
        ('timeout = "2h"', 'to "1h"'),
        ('interval = "2m"', 'to "1m"'),
        ('request_timeout = "0s"', 'from "10ms"'),
    ],
)
def test_a_probe_that_no_host_would_take_is_told_before_anything_is_built(line, expected):
    with pytest.raises(ConfigError) as caught:
        appfile.parse(f'name = "shop"\n[probe]\n{line}\n')
    assert expected in caught.value.what
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "glob", ["data/\\[id\\]/*.json", "a/\\(b\\)/**", "@(a|b)/!(c).txt", "../shared/**", "{a,b}/[0-9].x"]
)
def test_file_globs_are_picomatchs(glob):
    read = appfile.parse(
        f'name = "shop"\n[trace.include]\n"/*" = {json.dumps([glob])}\n[environments.production]\nhosts = ["web1"]'
    )
    assert read.environment("production").options.trace.include == (("/*", (glob,)),)


@pytest.mark.parametrize("glob", ["data\\sub\\x.json", "/etc/passwd", "data\\ x"])
def test_a_file_glob_that_is_none_is_named(glob):
    with pytest.raises(ConfigError) as caught:
        appfile.parse(f'name = "shop"\n[trace.include]\n"/*" = {json.dumps(["ok", glob])}\n')
    assert repr(glob) in caught.value.what
