#!/usr/bin/env bash
# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# bed - boots real Debian hosts (systemd, sshd, an own disk and network each) on
# this machine, for Ansible to work on. Needs root on Debian.
#
#   bed up [N] [SUITE...]     boot h1..hN (default 2), suites in turn (default: bookworm trixie)
#   bed list                  name, suite, address and power of each host
#   bed inventory             print the path of the Ansible inventory
#   bed ssh HOST [COMMAND...] a root shell or a command on a host
#   bed exec COMMAND...       run a command of this machine inside the hosts' network, as "bed"
#   bed unplug|plug HOST      take the network cable out of a host, put it back
#   bed off|on HOST           pull the power plug of a host, boot it again with the same disk
#   bed down                  end the hosts and remove all of them but the cached images
#   bed clean                 down, and remove the cached images too
#
# The hosts' network is a bridge in a namespace of its own, with no way out. They
# install packages from an apt repository inside their image.
#
#   BED_NAME      several beds may be up at a time, each with a name (bed)
#   BED_PACKAGES  what the hosts can install with apt
#   BED_CACHE     where the images are kept
#   BED_STATE     where disks, keys and the inventory are while the hosts are up
set -euo pipefail
umask 022

SELF=$(readlink -f "$0")
BED=${BED_NAME:-bed}
PACKAGES=${BED_PACKAGES:-restic postgresql mariadb-server}
CACHE=${BED_CACHE:-$(dirname "$SELF")/../../.cache/hosts}
STATE=${BED_STATE:-/var/lib/holdfast-bed}/$BED
BASE='systemd-sysv dbus libpam-systemd libnss-systemd openssh-server mount passwd sudo python3-apt iproute2 ca-certificates'
SPACE=hf-$BED          # namespaces and control groups carry this name, so that 'down' finds them after any crash
NET=198.51.100         # TEST-NET-2, which no real machine has

say() { echo "bed: $*" >&2; }
die() { say "$*"; exit 1; }
need_host() { [[ -n ${1-} && -d $STATE/$1/disk ]] || die "there is no host '${1-}', see: bed list"; }
host_names() { [ ! -d "$STATE" ] || find "$STATE" -mindepth 1 -maxdepth 1 -name 'h[0-9]*' -printf '%f\n' | sort -V; }
address() { echo "$NET.$((10 + ${1#h}))"; }
on_host() { ssh -F "$STATE/ssh_config" "$@"; }

# --- Control groups hold every process of a bed, so that all of them end at once.

UNIFIED=$(findmnt -rno TARGET -t cgroup2 | head -n1)
NAMED=$(findmnt -rno TARGET -t cgroup -O name=systemd | head -n1 || true)   # beside it on hybrid machines

enter_group() {   # this (sub)shell and its children become part of group $1
    local tree
    for tree in $UNIFIED $NAMED; do
        mkdir -p "$tree/$SPACE/$1"
        echo "$BASHPID" >"$tree/$SPACE/$1/cgroup.procs"
    done
}

is_on() { grep -qs 'populated 1' "$UNIFIED/$SPACE/$1/cgroup.events"; }

kill_group() {   # everything in group $1; '' is the whole bed
    local tree left=400
    [ ! -e "$UNIFIED/$SPACE/$1/cgroup.kill" ] || echo 1 >"$UNIFIED/$SPACE/$1/cgroup.kill"
    for tree in $UNIFIED $NAMED; do
        until [ ! -d "$tree/$SPACE/$1" ] || find "$tree/$SPACE/$1" -depth -type d -exec rmdir {} + 2>/dev/null; do
            ((left--)) || die "some processes in $tree/$SPACE/$1 do not end"
            sleep 0.05
        done
    done
}

# --- Images: one read-only tree for each suite and recipe, shared by all hosts.

install_tools() {
    local pair missing=() tries=150
    for pair in systemd-nspawn:systemd-container mmdebstrap:mmdebstrap apt-ftparchive:apt-utils ip:iproute2 \
        ssh:openssh-client nc.openbsd:netcat-openbsd; do
        command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    # For its lists, unlike its packages, apt waits for nobody: for somebody else on this machine, or for another bed.
    until apt-get -qq update; do ((tries--)) || die 'the package lists cannot be read'; sleep 2; done
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends \
        "${missing[@]}" >/dev/null
}

image_of() {   # SUITE: the folder, whose name changes with the recipe
    echo "$CACHE/$1-$({ echo "$BASE" "$PACKAGES"; declare -f build; } | sha256sum | cut -c1-12)"
}

# shellcheck disable=SC2016  # apt expands $(REPO_URI), mmdebstrap's shell expands $1
build() {   # SUITE FOLDER
    local suite=$1 root=$2 mirror unit config
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n1)
    mmdebstrap --variant=apt --include="${BASE// /,}" --dpkgopt=force-unsafe-io \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --customize-hook='chroot "$1" apt-get clean' \
        --customize-hook='chroot "$1" apt-get -qq -y --no-install-recommends --download-only install '"$PACKAGES" \
        --customize-hook='mkdir "$1/opt/packages"; mv "$1"/var/cache/apt/archives/*.deb "$1/opt/packages"' \
        "$suite" "$root" "$mirror"
    (cd "$root/opt/packages" && apt-ftparchive packages . >Packages)
    rm -f "$root"/etc/{apt/sources.list.d/*,ssh/ssh_host_*,hostname}
    echo 'deb [trusted=yes] file:/opt/packages ./' >"$root/etc/apt/sources.list"
    truncate -s 0 "$root/etc/resolv.conf" "$root/etc/machine-id"   # each host makes its own id
    config=$root/etc/ssh/sshd_config.d/bed.conf
    echo 'AuthorizedKeysFile /etc/ssh/authorized_keys .ssh/authorized_keys' >"$config"
    # OpenSSH since 9.8 shuts an address out after failed logins, and all tests come from one address.
    ! grep -q PerSourcePenalties "$root/usr/sbin/sshd" || echo 'PerSourcePenalties no' >>"$config"
    chroot "$root" useradd --create-home --shell /bin/bash admin   # an ordinary user, who may become root
    echo 'admin ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/admin"
    for unit in apt-daily{,-upgrade}.timer console-getty.service; do
        ln -s /dev/null "$root/etc/systemd/system/$unit"
    done
    touch "$root/etc/.updated" "$root/var/.updated"   # spares the first boot its rebuilding of caches
}

ensure_image() {   # SUITE: build it unless it is there; who comes second waits
    local path
    path=$(image_of "$1")
    mkdir -p "$CACHE"
    (
        enter_group build
        flock 9
        [ ! -d "$path" ] || exit 0
        say "building the image of $1, once"
        rm -rf --one-file-system "$path.part"
        unshare --mount --propagation private "$SELF" _build "$1" "$path.part" >"$path.log" 2>&1 ||
            die "the image of $1 could not be built: $(tail -n 5 "$path.log")"
        mv "$path.part" "$path"
    ) 9>"$path.lock"
}

# --- Hosts

prepare_host() {   # NAME SUITE: what its disk has of its own, and its network
    local disk=$STATE/$1/disk space=$SPACE-$1
    mkdir -p "$disk/etc/ssh" "$STATE/$1/root"
    echo "$2" >"$STATE/$1/suite"
    image_of "$2" >"$STATE/$1/image"
    echo "$1" >"$disk/etc/hostname"
    cp "$STATE/etc_hosts" "$disk/etc/hosts"
    cp "$STATE/id_ed25519.pub" "$disk/etc/ssh/authorized_keys"
    ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$disk/etc/ssh/ssh_host_ed25519_key"
    echo "$1 $(cat "$disk/etc/ssh/ssh_host_ed25519_key.pub")" >>"$STATE/known_hosts"
    ip netns add "$space"
    ip -n "$SPACE" link add "$1" type veth peer name eth0 netns "$space"
    ip -n "$SPACE" link set "$1" master br0 up
    ip -n "$space" link set lo up
    ip -n "$space" address add "$(address "$1")/24" dev eth0
    ip -n "$space" link set eth0 up
    ip -n "$space" route add default via "$NET.1"
}

boot() {   # NAME
    setsid unshare --mount --propagation private "$SELF" _run "$1" </dev/null >>"$STATE/$1/console.log" 2>&1 &
    disown
}

run() {   # NAME: be that host until its power goes; the mount is private and goes too
    local folder=$STATE/$1 status=133
    enter_group "$1"
    rm -rf "$folder/work" && mkdir "$folder/work"
    mount -t overlay "$1" "$folder/root" \
        -o "volatile,lowerdir=$(cat "$folder/image"),upperdir=$folder/disk,workdir=$folder/work"
    while [ "$status" = 133 ]; do   # nspawn says with this that the host asks for a reboot
        status=0
        SYSTEMD_NSPAWN_LOCK=0 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --settings=no --boot \
            --register=no --keep-unit --machine="$SPACE-$1" --directory="$folder/root" \
            --network-namespace-path="/run/netns/$SPACE-$1" --resolv-conf=off --timezone=off --link-journal=no \
            --console=pipe --capability=CAP_NET_ADMIN,CAP_BPF --system-call-filter=bpf || status=$?
    done
}

wait_for() {   # NAME: until it has booted
    local state='' end=$((SECONDS + 90))
    while ((SECONDS < end)); do
        state=$(on_host -n -o ConnectTimeout=2 "$1" systemctl is-system-running --wait 2>/dev/null) || true
        case $state in
            running) return 0 ;;
            degraded) break ;;
        esac
        sleep 0.1
    done
    say "$1 is not well ($state): $(on_host -n "$1" systemctl --failed --plain 2>&1; tail -n 15 "$STATE/$1/console.log")"
    return 1
}

together() {   # COMMAND WORD...: the command for each word, side by side
    local word job jobs=() bad=0
    for word in "${@:2}"; do "$1" "$word" & jobs+=($!); done
    for job in "${jobs[@]}"; do wait "$job" || bad=1; done
    return $bad
}

make_keys() {
    mkdir -p "$STATE/sockets" && chmod 700 "$STATE"
    ssh-keygen -q -t ed25519 -N '' -C "$SPACE" -f "$STATE/id_ed25519"
    printf '%s\n' 'Host h*' 'User root' "IdentityFile $STATE/id_ed25519" 'IdentitiesOnly yes' \
        "UserKnownHostsFile $STATE/known_hosts" 'ProxyUseFdpass yes' 'LogLevel ERROR' >"$STATE/ssh_config"
    printf '%s\n' '[all:vars]' "ansible_ssh_common_args=-F $STATE/ssh_config" \
        "ansible_control_path_dir=$STATE/sockets" 'ansible_python_interpreter=/usr/bin/python3' >"$STATE/inventory.ini"
    printf '%s\n' '127.0.0.1 localhost' '::1 localhost' "$NET.1 bed" >"$STATE/etc_hosts"
}

make_network() {
    ip netns add "$SPACE"
    ip -n "$SPACE" link set lo up
    ip -n "$SPACE" link add br0 type bridge
    ip -n "$SPACE" address add "$NET.1/24" dev br0
    ip -n "$SPACE" link set br0 up
    nsenter --net="/run/netns/$SPACE" sysctl -qw net.ipv4.ip_forward=1   # outside is 'unreachable', not a time-out
    # Each host takes 9 of root's instances, and the kernel's default is 128.
    (($(sysctl -n fs.inotify.max_user_instances) > 1000)) || sysctl -qw fs.inotify.max_user_instances=1024
}

up() {
    local i suite count=${1:-2} suites=("${@:2}")
    [[ $count =~ ^[1-9][0-9]?$ ]] || die "this is not a number of hosts: $count"
    ((${#suites[@]})) || suites=(bookworm trixie)
    install_tools
    down
    together ensure_image "${suites[@]}" || exit
    make_keys
    for ((i = 1; i <= count; i++)); do
        echo "$(address "h$i") h$i" >>"$STATE/etc_hosts"
        # -F hands the socket to ssh. A lasting nc would hold on to the connection of a host that rebooted.
        printf '%s\n' "Host h$i" "HostKeyAlias h$i" \
            "ProxyCommand nsenter --net=/run/netns/$SPACE nc.openbsd -F $(address "h$i") %p" >>"$STATE/ssh_config"
    done
    make_network
    for ((i = 1; i <= count; i++)); do
        suite=${suites[(i - 1) % ${#suites[@]}]}
        prepare_host "h$i" "$suite"
        boot "h$i"
        printf '[%s]\nh%s\n' "$suite" $i >>"$STATE/inventory.ini"
    done
    mapfile -t names < <(host_names)
    together wait_for "${names[@]}" || { down; die "the hosts did not come up"; }
}

down() {
    local space pid=$$ callers=' '
    kill_group ''
    while ((pid > 1)); do   # whoever called this may be inside the network, too
        callers+="$pid "
        pid=$(awk '/^PPid/ { print $2 }' "/proc/$pid/status")
    done
    for space in $(ip netns list | awk -v space="$SPACE" '$1 == space || index($1, space "-h") == 1 { print $1 }'); do
        for pid in $(ip netns pids "$space"); do
            [[ $callers == *" $pid "* ]] || kill -KILL "$pid" 2>/dev/null || true
        done
        ip netns delete "$space"
        rm -rf "/run/systemd/nspawn/propagate/$space"
    done
    rm -rf --one-file-system "$STATE"
    rmdir --ignore-fail-on-non-empty "$(dirname "$STATE")" 2>/dev/null || true
}

list() {
    local name
    for name in $(host_names); do
        echo "$name $(cat "$STATE/$name/suite") $(address "$name") $(is_on "$name" && echo on || echo off)"
    done
}

[ "$(id -u)" = 0 ] || die 'this needs root'
[[ $BED =~ ^[a-z0-9]{1,10}$ ]] || die "BED_NAME must be 1 to 10 of a-z and 0-9, not $BED"
command=${1:-help}
shift || true
case $command in
    up | down | list) "$command" "$@" ;;
    inventory) echo "$STATE/inventory.ini" ;;
    ssh) need_host "$@"; on_host "$@" ;;
    exec) exec nsenter --net="/run/netns/$SPACE" -- "$@" ;;
    unplug) need_host "$@"; ip -n "$SPACE" link set "$1" down ;;
    plug) need_host "$@"; ip -n "$SPACE" link set "$1" up ;;
    off) need_host "$@"; kill_group "$1" ;;
    on) need_host "$@"; is_on "$1" || boot "$1"; wait_for "$1" ;;
    clean) down; rm -rf --one-file-system "$CACHE" ;;
    _build | _run) "${command#_}" "$@" ;;
    help) sed -n '6,/^set /{/^set /!s/^# \?//p}' "$SELF" ;;
    *) die "there is no command '$command', see: bed help" ;;
esac
