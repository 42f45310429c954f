#!/bin/sh
# Keeps one lab host running. Started by deployd.lab in a session, a cgroup and a mount namespace of its own, so every
# mount made here ends with the last process, whatever kills it.
# Arguments: MACHINE HOSTNAME FOLDER TREE CGROUP
# One function, so that the shell has read all of this file before it does anything: it may be replaced meanwhile.
set -eu

main() {
    machine=$1 hostname=$2 folder=$3 tree=$4 cgroup=$5
    exec </dev/null >>"$folder/console.log" 2>&1

    if [ -f "$folder/disk.img" ]; then
        mount -o loop "$folder/disk.img" "$folder/disk"
    fi
    mkdir -p "$folder/disk/upper" "$folder/disk/work"
    chmod 755 "$folder/disk/upper"
    mount -t overlay "$machine" -o \
        "lowerdir=$folder/seed:$tree,upperdir=$folder/disk/upper,workdir=$folder/disk/work" "$folder/root"

    # With --keep-unit, systemd-nspawn leaves a reboot to whoever started it, and says so by 133.
    code=133
    while [ "$code" = 133 ]; do
        # A fresh cgroup each time: one that has children with controllers takes no process itself.
        [ ! -d "$cgroup/host" ] || find "$cgroup/host" -depth -type d -exec rmdir {} \;
        mkdir "$cgroup/host"
        code=0
        # shellcheck disable=SC2016 # expanded by the inner shell
        sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' enter "$cgroup/host" \
            env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot \
            --register=no --keep-unit --console=read-only --link-journal=no --resolv-conf=off --timezone=off \
            --kill-signal=SIGRTMIN+4 --network-namespace-path="/run/netns/$machine" \
            --machine="$machine" --hostname="$hostname" --directory="$folder/root" || code=$?
    done
    exit "$code"
}

main "$@"
