"""The way from the command line to a daemon: requests go out over a unix socket or https, values come back."""
