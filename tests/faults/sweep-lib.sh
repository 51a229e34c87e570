# shellcheck shell=bash
# shellcheck disable=SC2034  # the settings are for lib.sh
# Sourced by the sweeps, behind their own options: deployments that are disturbed, each told as one line.
#
#   SEED    makes a run repeatable   ($BELAY_SEED, or 7: the checks are the same for everybody)
: "${SEED:=${BELAY_SEED:-7}}"
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -x "$BELAY" ] || bail "no $BELAY: make build"
SUCCESS_TIMEOUT=4 SWITCH_TIMEOUT=20 BELAY_LIMIT=150
strategies="live-good live-bad live-uncommittable boot-good boot-bad live+boot-good live+boot-bad"

# Two good systems, so that one of them is always new, one that nobody reaches and one whose boot
# loader cannot be installed.
declare -A sys
make_systems() { # HOST INDEX
  sys[a]=$(system "$1" "$2") sys[b]=$(system "$1" "$2" --argstr version b)
  sys[bad]=$(system "$1" "$2" --argstr version bad --arg authorizedKeys '[ ]')
  # what one cannot see before it runs in the place of the old one
  sys[uncommittable]=$(system "$1" "$2" --argstr version uncommittable --argstr bootloaderExtra 'exit 1')
}
# choose HOST STRATEGY: sets STRATEGY, PLAN, $old and $new
choose() {
  STRATEGY=${2%-*} PLAN='"bootTimeout":15'
  old=$(profile_of "$1") gen=$(generation_of "$1")
  new=${sys[a]}
  [ "$old" != "$new" ] || new=${sys[b]}
  [ "${2##*-}" = good ] || new=${sys[${2##*-}]}
}
# renew HOST INDEX: in the place of one that may be spoilt
renew() {
  [ ! -e "$TB_STATE/$1/kind" ] || "$TB/host-down" "$1"
  up "$1" "$2"
}
# ended_since HOST TXN: a transaction behind TXN has ended
ended_since() { local t; t=$(newest_txn "$1") && [ "$t" != "$2" ] && state_is "$1" "$ended"; }
begun_since() { local t; t=$(newest_txn "$1") && [ "$t" != "$2" ]; }

# judge HOST LAST STRATEGY [lost]: waits until the host has made an end, and prints what is wrong
# with it.  $RC is belay's status; with `lost` nobody has it.  Sets $end in the caller's shell only when
# that reads it from the file $TEST/end.
judge() {
  local h=$1 last=$2 how=$3 end=NONE want code bad until
  if wait_for 5 begun_since "$h" "$last"; then
    wait_for "${END_LIMIT:-100}" ended_since "$h" "$last" || echo "I3 it does not end: $(state_of "$h")"
    end=$(state_of "$h")
  fi
  echo "$end" > "$TEST/end"
  case $end in
    COMMITTED) want=$new code=0 gen= ;;
    ROLLED_BACK) want=$old code=3 ;;
    REFUSED | NONE) want=$old code=1 ;;
    *) echo "O1 the end is $end"; want=$old code=4 ;;
  esac
  [ "$end" != COMMITTED ] || [ "${how##*-}" = good ] || echo "I2 a system was committed that is $how"
  [ "${4:-}" = lost ] || [ "$RC" = "$code" ] || echo "O7 belay ended with $RC and the host with $end"
  [ "$end" != NONE ] || end=$(state_of "$h")        # of the transaction before
  until=$((SECONDS + ${ORACLE_PATIENCE:-10}))
  while bad=$(oracle_once "$h" "$end" "$want" "$gen"); [ -n "$bad" ] && [ $SECONDS -lt $until ]; do sleep 0.3; done
  [ -z "$bad" ] || echo "$bad"
}
# wish HOST TEXT...: what the agent is to do at which kill point; it outlives a reboot
wish() {
  local h=$1; shift
  # shellcheck disable=SC2016  # expanded there
  on "$h" sh -c 'mkdir -p /var/lib/belay-point; cd /var/lib/belay-point; rm -f point point.hit; : > trace; [ -z "$1" ] || echo "$1" > point' - "$*"
}
no_wish() { on "$1" sh -c 'rm -f /var/lib/belay-point/point'; }
# signal_keeper HOST SIGNAL: to whoever brings its transaction to an end, by systemd's word; fails when there is nobody
signal_keeper() {
  on "$1" bash -s "$2" << 'X'
there=1
for p in $(systemctl show -p MainPID --value 'belay-[0-9]*.service' belay-guard.service); do
  [ "$p" = 0 ] || { kill -s "$1" "$p" && there=0; }
done
exit $there
X
}
# resumed END: what `belay resume` says of a run whose belay was killed
resumed() {
  local want=3
  case $1 in COMMITTED) want=0 ;; REFUSED) want=1 ;; esac
  belay resume --fleet-json "$FLEET"
  [ "$RC" = $want ] || echo "I19 resume ends with $RC, and the host with $1"
}
# crash_host HOST, then power it on
crash_host() { crash "$1"; power_on "$1"; }
# whole_log HOST: what the agent and belay wrote in this run
tell_run() {
  local t
  tail -n 25 "$OUT" | diag
  t=$(newest_txn "$1") && { diag < "$t/state"; tail -n 40 "$t/agent.log" | diag; }
  tail -n 8 "$TB_STATE/$1/console.log" | tr -d '\r\000' | diag
}
