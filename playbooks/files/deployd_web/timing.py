"""How long everything may take, in seconds, and how many Caddies there may be."""

from __future__ import annotations

import os

READY_WITHIN = 60.0
QUIC_WITHIN = 10.0  # for which UDP stays with a Caddy after it has closed its listeners
STOP_WITHIN = 10.0  # for which requests under way are waited for when all of it ends
EARLIER = 0.3  # before the last one closes its listeners, new connections are sent where they can wait
MOST = 5  # Caddies at a time: the oldest one is ended for a sixth
BACK_OFF = (0.0, 0.2, 0.5, 1.0, 2.0)  # between starts of one that ends by itself
SILENT = float(os.environ.get("DEPLOYD_WEB_SILENT", "6"))  # after which one that answers nowhere gets a successor
ASK_EVERY = min(2.0, SILENT)
DEAF = 5 * SILENT  # the same for one that answers at its own socket: too many visitors may be the reason
TAKES_OVER_AGAIN = 5 * SILENT  # between two successors
LEAVE_WITHIN = 30.0  # of one that leaves, beyond its delay: Caddy itself ends what is under way after 20
IDLE = SILENT  # a silent one that leaves, and used no processor for so long, is killed
