"""The daemon: `deployd serve`. Asks come in by API, webhook or clock; rollouts go out, and events to whoever listens.

main.py        the process: owns the folder, signals, systemd, sockets
wiring.py      the composition root: one `Daemon` value, and `daemon.ask(Ask)`
queue.py       the dispatcher: what waits becomes rollouts, one at a time for each app and environment
resolving.py   an ask becomes a wish: mirror, deployd.toml of that commit, environment by branch
hub.py         the events of running rollouts, for streams and listeners
api/           what programs call
"""
