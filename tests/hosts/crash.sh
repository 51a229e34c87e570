#!/bin/bash
# E8, G7: power loss in the activation, while waiting, between confirmation and profile, between
# profile and loader, and behind the loader. The host ends on one system and nobody has to help.
. "$(dirname "$0")/lib.sh"

up web1 11
SUCCESS_TIMEOUT=20
n=0

# crash_at POINT WANT: holds the agent at POINT, cuts the power, boots again
crash_at() {
  local point=$1 want=$2 new old state sys gen
  n=$((n + 1))
  old=$(profile_of web1) gen=$(generation_of web1)
  baseline web1
  new=$(system web1 11 --argstr version "crash$n")
  on web1 mkdir -p /run/belay
  on web1 sh -c "rm -f /run/belay/point.hit; echo $point hold > /run/belay/point"
  probe_start web1
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  check "$point: reached" wait_for 30 on web1 test -e /run/belay/point.hit
  sync
  clock power-loss now
  crash web1
  power_on web1
  check "$point: it can be reached again" wait_for 20 ssh_ok web1
  clock_stop
  belay_wait
  if [ "$want" = new ]; then state=COMMITTED sys=$new gen=$((gen + 1)) code=0; else state=ROLLED_BACK sys=$old code=3; fi
  is "$point: belay tells the truth" "$RC" $code
  probe_stop web1
  oracle web1 $state "$sys" "$gen"
}
crash_at after-ACTIVATING old
crash_at activation-ended old
crash_at after-WAIT_CONFIRM old
crash_at after-CONFIRMED old
crash_at before-profile old
crash_at after-profile old
crash_at after-loader new
oracle_again web1 "$(system web1 11 --argstr version good)"

# nobody looks on: the deployer is gone too, and the host ends it at its next boot
for point in after-CONFIRMED after-profile; do
  n=$((n + 1))
  old=$(profile_of web1) gen=$(generation_of web1)
  baseline web1
  new=$(system web1 11 --argstr version "alone$n")
  on web1 sh -c "mkdir -p /run/belay; rm -f /run/belay/point.hit; echo $point hold > /run/belay/point"
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  check "alone, $point: reached" wait_for 30 on web1 test -e /run/belay/point.hit
  kill -KILL "$BELAY_PID"; belay_wait
  crash web1
  power_on web1
  check "alone, $point: the host closes it by itself" wait_for 20 state_is web1 ROLLED_BACK
  oracle web1 ROLLED_BACK "$old" "$gen"
done
check "alone: the next deployment works" deploy web1="$new"
done_testing
