# shellcheck shell=bash
# shellcheck disable=SC2034  # old, gen and the settings are for the rows
# Sourced first by every script of rows.  A row of the fault matrix is a function `row_A7`; the script
# ends with `rows "$@"`, which runs those that are named, or all.  Each begins with the host web1 as good
# as new ($old runs, it is generation $gen) and short limits; one that fails, or says `spoilt=1`, leaves a
# host that is thrown away.
#
#   FAULT_GUEST   tests/faults/guest.c                        (<root>/build/tests/fault-guest)
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/lib.sh"
: "${FAULT_GUEST:=$ROOT/build/tests/fault-guest}"
HUB=$TB_PREFIX-hub PORT=h1-11-$TB_PREFIX
spoilt=

# rows [ID...]
rows() {
  local r failed all=("$@")
  [ $# -gt 0 ] || mapfile -t all < <(compgen -A function row_ | sed 's/^row_//' | sort -V)
  for r in "${all[@]}"; do
    declare -F "row_$r" > /dev/null || { say "Bail out! no row $r here"; tap_done=1; exit 1; }
    say "# row $r"
    failed=$tap_failed watch_row=${EPOCHREALTIME/./}
    ready
    "row_$r"
    clock_stop
    [ $tap_failed = "$failed" ] || spoilt=1
    say "# end $r: $(((${EPOCHREALTIME/./} - watch_row) / 1000)) ms"
  done
  done_testing
}
# What every row finds: short limits, a host that is well.
ready() {
  SUCCESS_TIMEOUT=6 SWITCH_TIMEOUT=30 IGNORE_FAILING=false STRATEGY=live BELAY_LIMIT=120
  ELEVATE=(sudo -n) SSH_OPTIONS=() DEPLOY_ARGS=() PLAN=''
  unset HOST_web1
  if [ -n "$spoilt" ]; then
    if [ -e "$TB_STATE/web1/kind" ]; then "$TB/host-down" web1; fi
    [ ! -s "$TB_STATE/wan.pid" ] || "$TB/wan-set" 0
    spoilt=
  fi
  if [ -e "$TB_STATE/web1/kind" ]; then
    on web1 rm -f /run/belay/point /run/belay/point.hit /run/belay/commit_ms /run/belay/rollback_ms
    baseline web1
  else
    # shellcheck disable=SC2086  # arguments
    up web1 11 ${UP_ARGS-}
  fi
  old=$(old_of web1) gen=$(generation_of web1)
}
# fresh ARGS...: web1 made anew with these arguments of toplevel.nix: for rows that need another OLD
fresh() {
  "$TB/host-down" web1
  up web1 11 "$@"
  old=$(old_of web1) gen=$(generation_of web1)
}
# new NAME ARGS...: a system of web1, named after its row
new() { local v=$1; shift; system web1 11 --argstr version "$v" "$@"; }
# unit NAME TEXT: the argument `units` with one of them; \n in TEXT is a line's end
unit() { printf "{ \"%s\".text = ''%s''; }" "$1" "${2//\\n/$'\n'}"; }

# reached: a fresh connection comes through, and $old runs
reached() { ssh_ok web1 && [ "$(on web1 readlink /run/current-system)" = "$old" ]; }

# ---- how a deployment ends -------------------------------------------------------------

# The probe looks at the host's folder alone: a journal on a disk of its own it does not see.
probed() { [ ! -s "$TB_STATE/web1/disks" ]; }

# goes_back NAME CLASS REASON SYSTEM: deploys it; it has to end on the old system for that reason
goes_back() {
  local name=$1 class=$2 reason=$3
  ! probed || probe_start web1
  clock "$class"
  deploy web1="$4"
  clock_stop
  is "$name: exit code of a rollback" "$RC" 3
  like "$name: reason" "$OUT" "reason: .*$reason"
  ! probed || probe_stop web1
  oracle web1 ROLLED_BACK "$old" "$gen"
}
# commits NAME SYSTEM: it has to be the system from now on, and is the row's $old then
commits() {
  ! probed || probe_start web1
  check "$1: committed" deploy web1="$2"
  ! probed || probe_stop web1
  oracle web1 COMMITTED "$2" $((gen + 1))
  adopt
}
# refused NAME REGEX SYSTEM: nothing has changed, and it is said why
refused() {
  local before; before=$(state_of web1)
  clock refused
  deploy web1="$3"
  clock_stop
  is "$1: exit code" "$RC" 1
  like "$1: says why" "$OUT" "reason: .*$2"
  oracle web1 "${4:-$before}" "$old" "$gen"
}
# adopt: what runs now is the old system from here on
adopt() { baseline web1; old=$(old_of web1) gen=$(generation_of web1); }
nobody_confirmed='nobody confirmed over a fresh connection'

# ---- the agent and its deployer ---------------------------------------------------------

# inject NAME ACTION [COUNT]: a kill point, see src/agent/point.h
inject() { on web1 sh -c "mkdir -p /run/belay; rm -f /run/belay/point.hit; echo '$*' > /run/belay/point"; }
# inject_ms NAME MS: another limit than the built-in one: commit_ms, rollback_ms
inject_ms() { on web1 sh -c "mkdir -p /run/belay; echo '$2' > '/run/belay/$1'"; }
# begin SYSTEM [STATE]: starts a deployment in the background and waits for the state
begin() {
  last=$(newest_txn web1)
  fleet web1="$1"
  belay_start deploy --fleet-json "$FLEET"
  wait_for 30 newer_is "${2:-WAIT_CONFIRM}" || { not_ok "gets as far as ${2:-WAIT_CONFIRM}"; return 1; }
}
# newer_is REGEX: the state of a transaction behind $last
newer_is() { [ "$(newest_txn web1)" != "$last" ] && state_is web1 "$1"; }
ended='COMMITTED|ROLLED_BACK|REFUSED|SUPERSEDED|STUCK'
# leave: the deployer dies, as by kill -9
leave() { kill -KILL "$BELAY_PID"; belay_wait; }
epoch() { basename "$(newest_txn web1)"; }
field() { sed -n "s/^$1=//p" "$(newest_txn web1)/state"; }    # of the newest transaction's journal
agent_log() { cat "$(newest_txn web1)/agent.log"; }
agent_of() { echo "$(field agent)/bin/belay-agent"; }
# guest KEY-FILE PROOF NOT-BEFORE SSH-ARGUMENTS...: fault-guest confirms the newest transaction; output in $OUT
guest() {
  local key=$1 proof=$2 at=$3; shift 3
  next_out
  timeout 60 "$TB/ctl" "$FAULT_GUEST" confirm "$key" "$proof" "$at" \
    ssh -o BatchMode=yes "$@" root@web1 "$(agent_of)" confirm "$(epoch)" < /dev/null > "$OUT" 2>&1
  RC=$?
}
# until_state SECONDS REGEX COMMAND...: runs COMMAND in the background once a newer transaction is there
once_in() {
  local state=$1; shift
  last=$(newest_txn web1)
  ( trap - EXIT INT TERM HUP
    wait_for 60 newer_is "$state" && "$@" ) < /dev/null > "$TEST/once.log" 2>&1 3>&- &
}

# ---- network and disk -------------------------------------------------------------------

cut_line() { ip -n "$HUB" link set "$PORT" down; }
mend_line() { ip -n "$HUB" link set "$PORT" up; }
kill_ssh() { local p; for p in $(pgrep -P "$BELAY_PID" -x ssh); do kill -KILL "$p"; done; }
# small DIR MIB: puts an almost empty file system of that size over DIR of web1 (not DIR's own contents'
# disk: what is there shows through); full DIR leaves KIB free; unsmall DIR takes it away with all changes
small() {
  on web1 sh -c "mkdir -p '$1' '/mnt/small$1' && mount -t tmpfs -o size=$2m tmpfs '/mnt/small$1' &&
    mkdir '/mnt/small$1/up' '/mnt/small$1/work' &&
    mount -t overlay -o lowerdir='$1',upperdir='/mnt/small$1/up',workdir='/mnt/small$1/work' overlay '$1'"
}
# disk DIR MIB: a real one for DIR, which can be filled, and have errors; $DISK is its device.  The row is
# skipped where this machine has no loop devices
disk() { DISK=$("$TB/host-disk" web1 "$1" "$2" 2> "$TEST/disk.log") || { diag < "$TEST/disk.log"; return 1; }; }
unsmall() { on web1 sh -c "umount -l '$1'; umount -l '/mnt/small$1'"; }
# damage KIND: the newest journal; its file stays the same one
damage() {
  local f; f=$(newest_txn web1)/state
  case $1 in
    truncated) truncate -s 100 "$f" ;;
    empty) : > "$f" ;;
    zeros) head -c 600 /dev/zero > "$f" ;;
    flipped) printf '\377' | dd of="$f" bs=1 seek=60 conv=notrunc 2> /dev/null ;;
    future) printf 'version=9' | dd of="$f" bs=1 conv=notrunc 2> /dev/null ;;
    large) head -c 1048576 /dev/urandom > "$f" ;;
  esac
}
# collect SECONDS: nix-collect-garbage -d on web1, again and again with such pauses; stop_collecting ends it, also
# the one that is at work: it takes other people's lock files away
collect() { on web1 sh -c "setsid -f sh -c 'while :; do nix-collect-garbage -d > /dev/null 2>&1; sleep $1; done' > /dev/null 2>&1 < /dev/null"; }
stop_collecting() {
  on web1 sh -c 'pkill -f "while :; do [n]ix-collect"; for i in $(seq 100); do pgrep -f nix-collect-[g]arbage > /dev/null || exit 0; sleep 0.1; done; exit 1'
}
