# shellcheck shell=bash
# shellcheck disable=SC2034  # some are used only by the scripts that source this
# Sourced by every script here.  Settings (environment):
#   TB_CACHE   the hosts' root file system, the deployer's Nix store; kept  (/var/cache/belay-testbed)
#   TB_PREFIX  names of netns, interfaces and cgroups: at most 4 letters or
#              digits; two runs side by side need two prefixes             (tb)
#   TB_STATE   this run's hosts and deployer; net-down removes it          (/tmp/belay-testbed.$TB_PREFIX)
#   TB_SUITE   Debian suite of the hosts                                   (bookworm)
#   TB_MIRROR  Debian mirror                                               (the one that apt here uses)
#   TB_OWNER   pid of the test this run belongs to; once it is dead, the next
#              net-up with the same prefix removes what it left             (none)
set -euo pipefail
TB=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${TB_CACHE:=/var/cache/belay-testbed}" "${TB_PREFIX:=tb}" "${TB_SUITE:=bookworm}"
: "${TB_STATE:=/tmp/belay-testbed.$TB_PREFIX}"
export TB_CACHE TB_STATE TB_PREFIX TB_SUITE
TB_HUB=$TB_PREFIX-hub TB_CTL=$TB_PREFIX-ctl TB_RTR=$TB_PREFIX-rtr
TB_KEY=$TB_CACHE/id_ed25519

die() { echo "${0##*/}: $*" >&2; exit 1; }
need() { local p; for p in "$@"; do command -v "$p" > /dev/null || die "$p is missing; README.md names the packages"; done; }
[[ $TB_PREFIX =~ ^[A-Za-z0-9]{1,4}$ ]] || die "TB_PREFIX has to be one to four letters or digits"

# The packages of the hosts' root file system; another list is another file system, so that runs
# of an older tree go on with theirs.
TB_PACKAGES=systemd,systemd-sysv,dbus,udev,libpam-systemd,openssh-server,nix-bin,iproute2,iputils-ping,procps,kmod,sudo,passwd,nftables,curl
rootfs() { local sum; sum=$(cksum <<< "$TB_PACKAGES"); echo "$TB_CACHE/rootfs-${1:-$TB_SUITE}-${sum%% *}"; }
# what virtual machines start from, by what makes it: disks of running ones lie on top of it
vm_files() {
  local made_by
  made_by=$(cat "$TB/build-vm" "$TB/lib/vm-init" "$TB/lib/vm-console" | sha256sum)
  echo "$TB_CACHE/vm-${1:-$TB_SUITE}-${made_by:0:8}"
}
# shellcheck disable=SC2016  # apt's own placeholder
debian_mirror() { apt-get indextargets --format '$(REPO_URI)' 2> /dev/null | grep -v security | sort | uniq -c | sort -rn | awk 'NR==1{print $2}'; }

# addr_of INDEX [SEGMENT]: 10.77.x.y in segment 1, 10.78.x.y in 2, 10.79.x.y in 3.
# Octets 2 to 251 belong to hosts; the deployer is .0.1, the router .255.254.
addr_of() { echo "10.$((76 + ${2:-1})).$(( $1 / 250 )).$(( $1 % 250 + 2 ))"; }
# bridge of a segment in the hub; br1 is the deployer's side of a slow line (wan-set)
bridge_of() { case $1 in 1) echo br0 ;; 2) echo br2 ;; 3) echo br3 ;; *) die "no segment $1" ;; esac; }

cgroot() { findmnt -rn -t cgroup2 -o TARGET | head -n1; }
netns_exists() { [ -e "/run/netns/$1" ]; }
host_dir() { [ -e "$TB_STATE/$1/kind" ] || die "no host named $1"; echo "$TB_STATE/$1"; }

# deployer_knows NAME ADDRESS KEYFILE [SEGMENT]: by name and address.  In segment 3 it has no
# route, so the name stays out of its /etc/hosts.  Appended, never replaced: a running deployer
# has these files mounted.
deployer_knows() {
  local type key
  read -r type key _ < "$3"
  exec 7> "$TB_STATE/ctl/.lock"; flock 7
  echo "$1,$2 $type $key" >> "$TB_STATE/ctl/home/.ssh/known_hosts"
  [ "${4:-1}" = 3 ] || echo "$2 $1" >> "$TB_STATE/ctl/hosts"
  exec 7>&-
}

# alive PID WORD: that process runs and has WORD in its command line, so it is
# the one that wrote its pid down and not a later one with the same number.
alive() {
  local a
  [ -n "$1" ] && [ -r "/proc/$1/cmdline" ] || return 1
  a=$(tr '\0' ' ' < "/proc/$1/cmdline" 2> /dev/null) && [[ $a == *"$2"* ]]
}

# Waits for the end of a process that need not be our child.  A zombie has ended:
# pid 1 may take seconds to collect it, so kill -0 would wait too long.
wait_gone() {
  local s
  while s=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2> /dev/null) && [ -n "$s" ] && [ "${s:0:1}" != Z ]; do sleep 0.02; done
}

# kill_cgroup DIR: ends everything in it and removes it.  Processes may need a
# moment to leave, hence the tries.
kill_cgroup() {
  local i
  [ -d "$1" ] || return 0
  echo 1 > "$1/cgroup.kill"
  for ((i = 0; i < 250; i++)); do
    grep -q 'populated 1' "$1/cgroup.events" || break
    sleep 0.02
  done
  [ "${2:-}" = keep ] || find "$1" -depth -type d -exec rmdir {} + 2> /dev/null || true
}
