"""What may be written shortly in deployd.toml, and what it stands for."""

from __future__ import annotations

import pytest

from deployd import appfile
from deployd.errors import ConfigError


@pytest.mark.parametrize("text", ['verify = "warn"', '[verify]\nmode = "warn"'])
def test_verify_may_be_written_shortly(text: str) -> None:
    file = appfile.parse(f'name = "shop"\n{text}\n[environments.production]\nhosts = ["web1"]\n')

    assert file.options.verify.mode == "warn"
    (shown,) = [value for value in file.values("production") if value.key == "verify.mode"]
    assert (shown.value, shown.origin) == ('"warn"', "[verify]")


def test_verify_written_shortly_in_an_environment_wins_there() -> None:
    file = appfile.parse('name = "shop"\n[environments.preview]\nhosts = ["web1"]\nverify = "off"\n')

    assert (file.options.verify.mode, file.environment("preview").options.verify.mode) == ("strict", "off")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 43_200.0),
        ("[keep]\nfailed = 1", 43_200.0),
        ("[keep]\nreleases = 2", 0.0),
        ('skew_protection = "2h"\n[keep]\nreleases = 2', 7200.0),
        ('skew_protection = "2h"\n[environments.production.keep]\nreleases = 2', 7200.0),
        ("[environments.production.keep]\nreleases = 2", 0.0),
    ],
)
def test_who_says_how_many_releases_stay_means_as_many(text: str, seconds: float) -> None:
    chosen = appfile.parse(f'name = "shop"\n{text}\n[environments.production]\nbranch = "main"\n')
    assert chosen.environments["production"].options.keep.skew_protection == seconds


@pytest.mark.parametrize("text", ['skew_protection = "2h"', '[keep]\nskew_protection = "2h"'])
def test_skew_protection_may_be_written_shortly(text: str) -> None:
    options = appfile.parse(f'name = "shop"\n{text}\n[environments.production]\n').environment("production").options
    assert (options.keep.skew_protection, options.keep.releases) == (7200.0, 5)
    own = '[environments.production]\nskew_protection = "0s"\n'
    both = appfile.parse(f'name = "shop"\n{text}\n{own}').environment("production").options
    assert both.keep.skew_protection == 0.0


def test_a_wrong_short_verify_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"deployd.toml:2: `verify.mode` is \"loud\", and should be one of"):
        appfile.parse('name = "shop"\nverify = "loud"\n')
