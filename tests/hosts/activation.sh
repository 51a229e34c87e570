#!/bin/bash
# Activations that fail in every way: A1 A2 A3 A4 A5 A6 A9 A10 A12 A14 A16, and the units policy.
. "$(dirname "$0")/lib.sh"

up web1 11
old=$(old_of web1) gen=1
bad_unit='{ "bad.service".text = "[Service]\nType=oneshot\nExecStart=/bin/false\n"; }'

# goes_back NAME REASON: the deployment in $bad must end on the old system for that reason
goes_back() {
  local name=$1 reason=$2
  probe_start web1
  stopwatch
  clock "${CLASS-activation-fails}"
  deploy web1="$bad"
  clock_stop
  local ms; ms=$(elapsed)
  is "$name: exit code" "$RC" "${3:-3}"
  like "$name: reason" "$OUT" "reason: .*$reason"
  check "$name: told soon ($ms ms)" test "$ms" -le $((${LIMIT:-8} * 4000))
  probe_stop web1
  oracle web1 "${4:-ROLLED_BACK}" "$old" $gen
}
bad=$(system web1 11 --argstr version a1 --argstr activationExtra 'exit 1')
goes_back "A1 activation exits 1" 'activation script failed \(status 2\)'
bad=$(system web1 11 --argstr version a2 --argstr activationExtra 'exit 1' --arg units "$bad_unit")
IGNORE_FAILING=true
goes_back "A2 status 4 hides 2" 'activation script failed \(status 4\)'
IGNORE_FAILING=false
bad=$(system web1 11 --argstr version a5 --argstr activationExtra 'kill -SEGV $$')
goes_back "A5 activation crashes" 'activation script failed'
bad=$(system web1 11 --argstr version a9 --arg units "$bad_unit")
goes_back "A9 a unit fails" 'bad.service'

SWITCH_TIMEOUT=4 LIMIT=12 CLASS=activation-hangs
bad=$(system web1 11 --argstr version a3 --argstr activationExtra 'sleep infinity')
goes_back "A3 activation hangs" 'did not end in time'
check_not "A3: its sleep is gone" on web1 sh -c 'ps -eo args | grep -q "[s]leep infinity"'
bad=$(system web1 11 --argstr version a4 --argstr activationExtra "setsid -f sh -c 'trap \"\" TERM HUP; sleep 997'; sleep 998")
goes_back "A4 it hangs and its child escapes" 'did not end in time'
check_not "A4: the child is gone too" on web1 sh -c 'ps -eo args | grep -q "[s]leep 99[78]"'
bad=$(system web1 11 --argstr version a12 --arg units '{ "slow.service".text = "[Service]\nType=oneshot\nExecStart=/bin/sleep 996\n"; }')
goes_back "A12 a oneshot without limit" 'did not end in time'
SWITCH_TIMEOUT=60 LIMIT=10 CLASS=activation-fails

# A6: switch-to-configuration itself is killed, units stopped
app='{ "app.service".text = "[Service]\nExecStart=/bin/sleep 995\n"; }'
bad=$(system web1 11 --argstr version a6 --arg units "$app" --argstr activationExtra 'kill -KILL $(pgrep -f bin/switch-to-configuration); sleep 1')
goes_back "A6 switch-to-configuration killed" 'killed by signal 9'

# Refused before anything was changed
bad=$(system web1 11 --argstr version a14 --argstr preSwitchCheck 'echo no good; false')
deploy web1="$bad"
is "A14 pre-switch check: exit code" "$RC" 1
like "A14 pre-switch check: says what" "$OUT" 'pre-switch check: .*no good'
oracle web1 ROLLED_BACK "$old" 1
bad=$(system web1 11 --argstr version a16 --argstr initInterfaceVersion 'systemd 9')
CLASS=        # nothing of it runs
goes_back "A16 init interface differs" 'init interface changed' 1 REFUSED

# The units policy: ignoring, and what was broken before
bad=$(system web1 11 --argstr version ignored --arg units "$bad_unit")
IGNORE_FAILING=true
check "ignoreFailingSystemdUnits lets it pass" deploy web1="$bad"
IGNORE_FAILING=false
like "and it is told" "$OUT" 'bad.service'
baseline web1
oracle web1 COMMITTED "$bad" 2
again=$(system web1 11 --argstr version again --arg units "$bad_unit")
check "A10 a unit that failed before is not our failure" deploy web1="$again"
oracle web1 COMMITTED "$again" 3
oracle_again web1
done_testing
