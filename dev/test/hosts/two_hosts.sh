# shellcheck shell=bash
# Two hosts, alpha and beta, on one machine: network namespaces on one cable, with hostname, process table, /dev/shm and sshd of
# their own, in the folder that the caller is in. Needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN. Sourced.
hosts_tag=$$
declare -A host_init=() host_outer=() # the first process of each host, and what started it

host_of() { echo "$1$hosts_tag"; }
# A command on a host: on HOST WORDS...
on() { nsenter -t "${host_init[$1]}" --net --uts --pid --ipc --mount -- env -C "$PWD" "${@:2}"; }

# A word of what is missing here.
hosts_missing() {
    local word
    [ "$(id -u)" -eq 0 ] || { echo "root"; return; }
    for word in ip nsenter unshare ssh ssh-keygen /usr/sbin/sshd mpirun; do
        command -v $word >/dev/null || { echo "$word"; return; }
    done
    unshare --net --uts --pid --ipc --mount --fork --mount-proc true 2>/dev/null || echo "namespaces (CAP_SYS_ADMIN)"
}

hosts_cable() {
    local host n=0
    for host in alpha beta; do ip netns add "$(host_of $host)" || return 1; done
    ip link add eth0 netns "$(host_of alpha)" type veth peer name eth0 netns "$(host_of beta)" || return 1
    for host in alpha beta; do
        n=$((n + 1))
        ip -n "$(host_of $host)" addr add 10.77.0.$n/24 dev eth0
        ip -n "$(host_of $host)" link set eth0 up
        ip -n "$(host_of $host)" link set lo up
    done
}

hosts_configure() {
    mkdir -p /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f key
    ssh-keygen -q -t ed25519 -N '' -f host_key
    printf '%s\n' "HostKey $PWD/host_key" "AuthorizedKeysFile $PWD/key.pub" "StrictModes no" "UsePAM no" "PidFile none" >sshd_config
    printf '%s\n' "IdentityFile $PWD/key" "UserKnownHostsFile /dev/null" "StrictHostKeyChecking no" "LogLevel ERROR" \
        "BatchMode yes" >ssh_config
    printf '%s\n' "127.0.0.1 localhost" "127.0.1.1 clone" "10.77.0.1 alpha" "10.77.0.2 beta" >etc_hosts
    printf '%s\n' "alpha slots=2" "beta slots=2" >hosts
}

# All before it is done.
sshd_of() { host_init[$1]=$(pgrep -P "${host_outer[$1]}" -f 'sshd -D'); } # HOST
host_start() { # HOST
    cat >"$1.sh" <<INIT
hostname $1
mount --make-rprivate /
mount -t tmpfs tmpfs /dev/shm
mount --bind $PWD/etc_hosts /etc/hosts
exec /usr/sbin/sshd -D -f $PWD/sshd_config
INIT
    nsenter --net="/run/netns/$(host_of "$1")" unshare --uts --pid --ipc --mount --fork --mount-proc --kill-child bash "$1.sh" 2>/dev/null &
    host_outer[$1]=$!
    await sshd_of "$1"
}

hosts_start() {
    hosts_configure && hosts_cable && host_start alpha && host_start beta || return 1
    await on alpha ssh -F ssh_config beta true 2>/dev/null
}

# Every host is called so, as clones of a machine and containers are: what they started with tells them apart.
hosts_alike() { # NAME
    local host
    for host in alpha beta; do
        echo "$host has started" >"$host.boot"
        on $host mount --bind "$PWD/$host.boot" /proc/sys/kernel/random/boot_id && on $host hostname "$1" || return 1
    done
    on beta bash -c 'echo 20000 >/proc/sys/kernel/ns_last_pid' # no process of alpha's has the number of one here
}
hosts_unlike() {
    local host
    for host in alpha beta; do
        on $host hostname $host
        on $host umount /proc/sys/kernel/random/boot_id
    done
}

hosts_stop() {
    kill -KILL "${host_outer[@]}" # and with it the host's processes
    wait "${host_outer[@]}"
    ip netns del "$(host_of alpha)"
    ip netns del "$(host_of beta)"
} 2>/dev/null

# Every host has a bridge of one address, as Docker makes it.
hosts_bridge() { # up or down
    local host
    for host in alpha beta; do
        if [ "$1" = up ]; then
            ip -n "$(host_of $host)" link add docker0 type bridge
            ip -n "$(host_of $host)" addr add 172.17.0.1/16 dev docker0
            ip -n "$(host_of $host)" link set docker0 up
        else
            ip -n "$(host_of $host)" link del docker0
        fi
    done
}
