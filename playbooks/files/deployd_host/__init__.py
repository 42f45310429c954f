"""deployd's helper on a host: verbs and JSON come in, root's work is done, one JSON document goes out.

It is called in three ways, and `main.py` tells them apart:

    forced command   sshd runs it as the user deployd with SSH_ORIGINAL_COMMAND: `deployd-host VERB ARGS...` goes on to
                     the root half through sudo, `rsync --server ...` into one incoming folder becomes rsync; all else
                     is refused (`front.py`)
    root half        `sudo -n /usr/local/sbin/deployd-host --root-half VERB ARGS...`: all is checked again, then done
    by root          `deployd-host VERB ARGS...` on the host itself; `boot` and `web-setup` only so

What the deploy user sends is an enemy's until it is checked. He owns the folders `incoming/*/*` and may change them at
any time; all else below /srv/deployd is root's. So only `seal` and `runtime-seal` look into his folders, by descriptor
and without following links, and they copy while they hash.

A start costs more than most verbs: a verb's module is imported when it is called (`verbs.py` is the list), and nothing
here needs argparse, subprocess or dataclasses. Standard library only, Python 3.10 or later. Format of the replies:
version `PROTOCOL`.
"""
