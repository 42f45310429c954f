"""The lab's pure parts: names, numbers, sizes, records, command lines, apt's index."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.errors import UsageError
from deployd.lab import cgroups, commands, labs, locks, names, preflight, tree
from deployd.lab.records import HostRecord, LabHost, LabRecord

LAB_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,22}[a-z0-9]", fullmatch=True)
RECORD = LabRecord(name="shop", number=7, tree="bookworm-0", hosts=(HostRecord(index=1), HostRecord(index=2, disk=99)))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a/b", "..", "a" * 25, "9a", "a\n"])
def test_a_lab_name_that_could_hurt_is_refused(name):
    with pytest.raises(ValueError, match="not a valid lab name"):
        names.check_lab(name)


@given(name=LAB_NAMES, number=st.integers(0, 254), index=st.integers(1, names.MAX_HOSTS))
def test_names_fit_what_the_kernel_takes(name, number, index):
    assert names.check_lab(name) == name
    assert len(names.bridge(number)) <= 15
    assert len(names.veth(number, index)) <= 15
    assert len(names.machine(name, names.host(index))) <= 64
    assert int(names.address(number, index).rsplit(".", 1)[1]) in range(11, 255)


@given(name=LAB_NAMES, taken=st.sets(st.integers(0, 254)))
def test_a_number_is_free_and_the_same_each_time(name, taken):
    number = names.choose_number(name, taken)
    assert number == names.choose_number(name, set(taken))
    if number is None:
        assert taken >= set(range(1, 255))
    else:
        assert number not in taken
        assert 0 <= number <= 254
        assert number != 0 or name == names.DEFAULT


def test_the_default_lab_has_the_addresses_of_the_documentation():
    assert names.choose_number(names.DEFAULT, {5, 6}) == 0
    assert names.address(0, 1) == "10.201.0.11"


def test_numbers_that_the_machine_routes_elsewhere_are_taken():
    assert names.numbers_in(["default", "10.201.7.0/24", "10.201.9.4", "10.0.0.0/8", "192.0.2.0/24"]) == {7, 9}


@pytest.mark.parametrize(("text", "size"), [("512", 512), ("3K", 3072), ("300M", 300 << 20), ("2g", 2 << 30)])
def test_sizes(text, size):
    assert names.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5G", "G", "5 M", "5MB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="not a size"):
        names.parse_size(text)


def test_a_record_survives_being_written():
    assert LabRecord.load(RECORD.dump()) == RECORD


def test_a_lab_only_grows_and_keeps_its_disks():
    assert RECORD.with_hosts(1, disk=5) == RECORD
    grown = RECORD.with_hosts(3, disk=5)
    assert [(host.name, host.disk) for host in grown.hosts] == [("web1", None), ("web2", 99), ("web3", 5)]


def test_the_boot_command_enters_the_cgroup_before_it_forks():
    argv = commands.boot(
        RECORD, RECORD.hosts[0], folder=Path("/l/hosts/web1"), tree=Path("/t/root"), cgroup=Path("/c/x")
    )
    assert argv[:5] == ("sh", "-c", argv[2], "enter", "/c/x/keeper")
    assert argv[5:11] == ("setsid", "--fork", "unshare", "--mount", "--propagation", "private")
    assert argv[-5:] == ("dpl-shop-web1", "web1", "/l/hosts/web1", "/t/root", "/c/x")
    assert Path(argv[-6]).read_text().startswith("#!/bin/sh")


def test_ip_batches():
    assert commands.bridge_up(7, there=False).splitlines() == [
        "link add name dpl-7 type bridge",
        "addr replace 10.201.7.1/24 dev dpl-7",
        "link set dpl-7 up",
    ]
    assert commands.bridge_up(7, there=True) == commands.bridge_up(7, there=False).split("\n", 1)[1]
    assert commands.cable_up(7, 2, machine="dpl-shop-web2").splitlines() == [
        "link add name dpl-7-2 type veth peer name eth0 address 02:64:70:6c:07:02 netns dpl-shop-web2",
        "link set dpl-7-2 master dpl-7 up",
    ]
    assert "10.201.7.12/24 dev eth0" in commands.address_up(7, 2)
    assert "default" not in commands.address_up(7, 2)


def test_ssh_pins_the_key_and_quotes_once():
    argv = commands.ssh(
        address="10.201.7.11", identity="/k", known_hosts=Path("/kh"), argv=["printf", "%s", "a b; $(id)"]
    )
    assert argv[:5] == ("ssh", "-F", "/dev/null", "-i", "/k")
    assert {"StrictHostKeyChecking=yes", "UserKnownHostsFile=/kh", "IdentitiesOnly=yes"} <= set(argv)
    assert argv[-2:] == ("root@10.201.7.11", "printf %s 'a b; $(id)'")
    assert commands.ssh(address="a", identity="/k", known_hosts=Path("/kh"))[-1] == "root@a"


def test_the_tree_is_made_in_a_namespace_that_ends_with_its_first_process():
    argv = commands.mmdebstrap(
        suite="bookworm", root=Path("/t"), include=("a", "b"), hook="h", sources=["deb x y main"], apt_options=["o"]
    )
    assert argv[:4] == ("unshare", "--pid", "--fork", "--kill-child=KILL")
    assert {"--include=a,b", "--customize-hook=h", "--aptopt=o"} <= set(argv)
    assert argv[-3:] == ("bookworm", "/t", "deb x y main")


def test_a_recipe_has_one_name_and_a_change_another(monkeypatch):
    name = tree.recipe_name("bookworm")
    assert name == tree.recipe_name("bookworm")
    assert name != tree.recipe_name("trixie")
    monkeypatch.setattr(tree, "OFFERED", (*tree.OFFERED, "vim"))
    assert name != tree.recipe_name("bookworm")


def test_trees_are_swept_and_pruned(tmp_path):
    trees = tree.Trees(folder=tmp_path)
    for name in ("old", "new", ".building-1", ".old-x"):
        (tmp_path / name / "root").mkdir(parents=True)
    trees.sweep()
    trees.prune({"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_furnishing_makes_a_bare_server(tmp_path):
    for folder in ("etc/ssh", "etc/apt/sources.list.d", "etc/systemd/system/timers.target.wants", tree.POOL):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/ssh/ssh_host_rsa_key").write_text("secret")
    (tmp_path / "etc/apt/sources.list.d/x.list").write_text("deb elsewhere")
    (tmp_path / "etc/systemd/system/timers.target.wants/apt-daily.timer").symlink_to("/x")
    tree.furnish(tmp_path)
    assert not list((tmp_path / "etc/ssh").iterdir())
    assert not list((tmp_path / "etc/apt/sources.list.d").iterdir())
    assert (tmp_path / "etc/apt/sources.list").read_text() == f"deb [trusted=yes] file:/{tree.POOL} ./\n"
    assert (tmp_path / "etc/systemd/system/apt-daily.timer").readlink() == Path("/dev/null")
    assert not list((tmp_path / "etc/systemd/system/timers.target.wants").iterdir())
    assert "SHA256" in (tmp_path / tree.POOL / "Release").read_text()


def test_where_cgroup_v2_is():
    assert cgroups.mount_point("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n") == Path("/sys/fs/cgroup")
    hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    assert cgroups.mount_point(hybrid) == Path("/sys/fs/cgroup/unified")
    assert cgroups.mount_point("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n") is None


def test_missing_programs_are_all_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 0)
    monkeypatch.setattr(preflight.shutil, "which", lambda program: None if program != "ip" else "/sbin/ip")
    with pytest.raises(UsageError) as caught:
        preflight.check(disk=True)
    assert caught.value.code == "lab-tools-missing"
    assert "mmdebstrap, mount, setsid, ssh, ssh-keygen, systemd-nspawn, unshare" in caught.value.what
    assert caught.value.fix.startswith("apt-get install --yes ")
    assert "systemd-container" in caught.value.fix
    assert "e2fsprogs" in caught.value.fix


def test_too_many_hosts_for_the_kernel_are_refused():
    preflight.check_watches(12, limit=128)
    with pytest.raises(UsageError) as caught:
        preflight.check_watches(13, limit=128)
    assert caught.value.code == "lab-watches-low"
    assert caught.value.fix == "sysctl fs.inotify.max_user_instances=1024"


def test_only_root_may(monkeypatch):
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError) as caught:
        labs.status()
    assert (caught.value.code, caught.value.exit_code) == ("lab-needs-root", 2)


@pytest.mark.parametrize("wish", [{"hosts": 0}, {"hosts": 201}, {"hosts": 1, "disk": "x"}, {"hosts": 1, "suite": "x"}])
def test_a_wish_that_cannot_be_is_refused_before_anything(wish):
    with pytest.raises(UsageError) as caught:
        labs.up("shop", **wish)
    assert caught.value.code == "lab-wish-invalid"


def test_a_lock_is_held_by_one_and_leaves_no_file(tmp_path):
    path = tmp_path / "locks" / "x"
    with locks.held(path), pytest.raises(BlockingIOError), locks.held(path, wait=False):
        pass
    assert not path.exists()
    with locks.held(path, wait=False):
        locks.remove_if_free(path)
        assert path.exists()


def test_a_free_lock_is_removed(tmp_path):
    path = tmp_path / "x"
    path.touch()
    locks.remove_if_free(path)
    locks.remove_if_free(path)
    assert not path.exists()


def test_what_status_prints():
    host = LabHost(
        name="web1",
        address="10.201.0.11",
        user="root",
        identity="/k",
        host_key="ssh-ed25519 A",
        running=False,
        pid=None,
    )
    assert set(host.to_json()) == {"name", "address", "user", "identity", "host_key", "running", "pid"}
