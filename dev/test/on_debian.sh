#!/usr/bin/env bash
# Both commands of the README in a bare Debian, as one who has just installed it: a clean clone of what is committed here, nothing
# there but what scripts/setup.sh installs. The build is the CPU's.
#
#   on_debian.sh SUITE [USER]      bookworm, trixie, ...; USER: not root, for whom root has run scripts/setup.sh before
#
# Needs root, debootstrap and leave to mount; where one is missing it says so in one line and ends with status 0. Packages come
# from where this machine's apt gets Debian's. All mounts lie in a namespace that ends with the script, and all its processes too.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -ge 1 ] && [ $# -le 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
suite=$1 user=${2:-root}
skip() { echo "on_debian $suite: skipped: $*"; exit 0; }

# The first of apt's sources that is Debian's own, without updates and security.
mirror() {
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(SITE)' 'Created-By: Packages' 2>/dev/null | awk '$1 == "Debian" && $2 == "Debian" && !found++ { print $3 }'
}

# ---- In the namespace: $target is the new system

prepare() {
    local device
    cp /etc/resolv.conf /etc/hosts "$target/etc/"
    apt-config dump Acquire | grep -i 'proxy' >"$target/etc/apt/apt.conf.d/90proxy" || true
    mkdir -p "$target/proc" "$target/sys" "$target/dev"
    mount -t proc proc "$target/proc"
    mount -t sysfs -o ro sysfs "$target/sys" 2>/dev/null || mount --rbind /sys "$target/sys"
    mount -t tmpfs -o mode=755 dev "$target/dev"
    for device in null zero full random urandom tty; do
        touch "$target/dev/$device"
        mount --bind "/dev/$device" "$target/dev/$device"
    done
    mkdir "$target/dev/pts" "$target/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$target/dev/pts"
    mount -t tmpfs -o mode=1777 shm "$target/dev/shm"
    ln -s pts/ptmx "$target/dev/ptmx"
    ln -s /proc/self/fd "$target/dev/fd"
    ln -s fd/0 "$target/dev/stdin"
    ln -s fd/1 "$target/dev/stdout"
    ln -s fd/2 "$target/dev/stderr"
}

# A command in the clone, as root or the user, with nothing of this machine's environment but what leads to the net.
inside() { # USER COMMAND
    local home=/root variables=() name
    [ "$1" = root ] || home=/home/$1
    for name in http_proxy https_proxy no_proxy OPENBLAS_CORETYPE; do [ -z "${!name:-}" ] || variables+=("$name=${!name}"); done
    echo "== $suite, $1: $2"
    chroot --userspec="$1" "$target" /usr/bin/env -i HOME="$home" USER="$1" LANG=C.UTF-8 "${variables[@]}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -c "cd /srv/lighthouse && $2"
}

in_namespace() {
    prepare || true
    chroot "$target" sh -c 'test -d /proc/1 && echo >/dev/null && : >/dev/shm/probe && rm /dev/shm/probe' ||
        skip "no system can be entered here"
    chroot "$target" apt-get update -qq >/dev/null 2>&1 || skip "its apt reaches no packages from here"
    git -c safe.directory='*' clone --quiet --no-hardlinks "$root" "$target/srv/lighthouse"
    if [ "$user" != root ]; then
        chroot "$target" useradd --create-home "$user"
        chroot "$target" chown -R "$user" /srv/lighthouse
        inside root scripts/setup.sh
    fi
    inside "$user" scripts/quickstart.sh
    inside "$user" scripts/test.sh
}

# ---- Outside

if [ -n "${ON_DEBIAN_TARGET:-}" ]; then
    target=$ON_DEBIAN_TARGET
    in_namespace
    exit
fi
[ "$(id -u)" -eq 0 ] || skip "needs root"
for command in debootstrap unshare chroot apt-get git; do
    command -v "$command" >/dev/null || skip "$command is not installed"
done
unshare --mount --pid --fork true 2>/dev/null || skip "this machine lets nobody mount"
site=$(mirror)
[ -n "$site" ] || skip "apt here has no source of Debian's"
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"
debootstrap --variant=minbase "$suite" "$work/root" "$site" >"$work/log" 2>&1 ||
    skip "debootstrap cannot make a system here: $(grep -v '^I: ' "$work/log" | tail -n 1)"
# The first process of a namespace heeds no signal by itself; it ends with unshare.
ON_DEBIAN_TARGET=$work/root unshare --mount --propagation private --pid --fork --kill-child "$0" "$@" &
trap 'kill -KILL $!; exit 143' HUP INT TERM
wait $!
