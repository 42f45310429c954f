# Two commands matter: `make demo` and `make test`. Both set up what they need on a bare Debian machine, as root.
.PHONY: help setup demo test check unit contract build-tests lab hosts live faults test-matrix bench clean distclean lock

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  \1\t/' | expand -t 14

setup:  ## apt packages, .venv with the command at .venv/bin/deployd
	@scripts/setup

demo: setup  ## two real servers, a real app, a release under load, a rollback
	@scripts/demo

test: setup  ## everything: lint, types, layers, unit, contract, build, lab, hosts, live, faults
	@scripts/test

check: setup  ## lint, types, layers, docs
	@scripts/check

unit: setup  ## seconds, no root
	@scripts/test unit

contract: setup  ## the real helper on a temporary root, real git, the real store
	@scripts/test contract

build-tests: setup  ## real npm installs and builds
	@scripts/test build

lab: setup  ## real servers: the lab itself, releases, faults
	@scripts/test lab

hosts: setup  ## real servers: bootstrap, check, the restricted key, wires, Debian 13
	@scripts/test hosts

live: setup  ## real servers: apps of each kind, the daemon, domains, visitors, browsers
	@scripts/test live

test-matrix: setup  ## real apps of every framework, Next.js line and package manager; not part of `make test`
	@scripts/test matrix

faults: setup  ## kill -9 at each step
	@scripts/test faults

bench: setup  ## the numbers in the docs, as ratios from one run
	@scripts/bench

lock: setup  ## write requirements.lock again from pyproject.toml
	@scripts/lock

clean:  ## take the demo and every lab down
	@scripts/clean

distclean: clean  ## and remove .venv
	rm -rf .venv
