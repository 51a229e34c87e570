#!/bin/bash
# The agent killed once and for ever, stopped, spinning (E1 E2 E3 E4); the deployer killed after
# the start and resumed (D1); a full disk at the worst moment (C10).
. "$(dirname "$0")/lib.sh"

up web1 11
n=0
inject() { on web1 sh -c "mkdir -p /run/belay; echo $* > /run/belay/point"; }
next_system() { n=$((n + 1)); new=$(system web1 11 --argstr version "k$n"); old=$(profile_of web1) gen=$(generation_of web1); baseline web1; }

newer_is() { [ "$(newest_txn web1)" != "$last" ] && state_is web1 "$1"; }  # a transaction behind $last

# killed once: before the activation has ended it goes back, afterwards it goes on
for point in before-ACTIVATING after-ACTIVATING activation-ended; do
  next_system; inject $point kill
  deploy web1="$new"
  is "E1 killed at $point: rolled back" "$RC" 3
  oracle web1 ROLLED_BACK "$old" "$gen"
done
for point in after-PREPARED after-WAIT_CONFIRM after-CONFIRMED after-profile after-loader after-COMMITTED; do
  next_system; inject $point kill
  check "E1 killed at $point: goes on" deploy web1="$new"
  oracle web1 COMMITTED "$new" $((gen + 1))
  on web1 rm -f /run/belay/point
done

# E6: sshd, every session and the work connection die in the middle of the activation
next_system
new=$(system web1 11 --argstr version nosessions --argstr activationExtra 'kill -KILL $(pgrep -x sshd); true')
check "E6 sshd and all sessions killed: confirmed over a fresh connection" deploy web1="$new"
oracle web1 COMMITTED "$new" $((gen + 1))

# C10: CONFIRMED cannot be written: not confirmed, no word of success. Nor can what comes behind it.
for point in before-CONFIRMED before-COMMITTING; do
  next_system; inject $point enospc
  deploy web1="$new"
  is "C10 disk full at the confirmation, $point: rolled back" "$RC" 3
  oracle web1 ROLLED_BACK "$old" "$gen"
done

# for ever: PID 1 brings it up again and again in vain, the deadman ends it
SWITCH_TIMEOUT=3 SUCCESS_TIMEOUT=3
for_ever() { # NAME STATE RC
  last=$(newest_txn web1)
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  check "$1: still ends" wait_for 90 newer_is "$2"
  on web1 rm -f /run/belay/point
  belay_wait
  is "$1: told as it is" "$RC" "$3"
  oracle web1 "$2" "$old" "$gen"
}
next_system; inject "'*'" kill 0
for_ever "E2 killed for ever, from the beginning" REFUSED 1
next_system
new=$(system web1 11 --argstr version never --argstr activationExtra 'echo "* kill 0" > /run/belay/point')
for_ever "E2 killed for ever, once it activates" ROLLED_BACK 3
next_system; inject after-WAIT_CONFIRM stop
last=$(newest_txn web1)
fleet web1="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 30 newer_is WAIT_CONFIRM
clock agent-frozen now
check "E3 stopped: the deadman or the watchdog ends it" wait_for 90 newer_is 'ROLLED_BACK|COMMITTED'
belay_wait
clock_stop
check "E3 stopped: told as it is" test "$RC" = "$([ "$(state_of web1)" = COMMITTED ] && echo 0 || echo 3)"
SWITCH_TIMEOUT=60 SUCCESS_TIMEOUT=20

# D1: the deployer dies after the start; the host goes back at its deadline, the next run works
SUCCESS_TIMEOUT=5
next_system; inject after-WAIT_CONFIRM sleep
fleet web1="$new"
belay_start deploy --fleet-json "$FLEET"
check "D1: it waits" wait_for 30 state_is web1 WAIT_CONFIRM
kill -KILL "$BELAY_PID"; belay_wait
clock deployer-dies now
check "D1: goes back by itself" wait_for 20 state_is web1 ROLLED_BACK
check "D1: and can be reached" wait_for 20 ssh_ok web1
clock_stop
oracle web1 ROLLED_BACK "$old" "$gen"
belay resume --fleet-json "$FLEET"
is "D1: resume tells that it went back" "$RC" 3
check "D1: the next deployment works" deploy web1="$new"

# D1: it dies with its start under way: nobody has told it the number, and resume finds it all the same
next_system; inject before-start hold
last=$(newest_txn web1)
fleet web1="$new"
belay_start deploy --fleet-json "$FLEET"
check "D1: the start arrives" wait_for 30 on web1 test -e /run/belay/point.hit
kill -KILL "$BELAY_PID"; belay_wait
on web1 rm /run/belay/point.hit
check "D1: it begins, and goes back by itself" wait_for 30 newer_is ROLLED_BACK
belay resume --fleet-json "$FLEET"
is "D1: resume tells that too" "$RC" 3
next_system; inject before-start kill
last=$(newest_txn web1)
fleet web1="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 30 on web1 test ! -e /run/belay/point
kill -KILL "$BELAY_PID"; belay_wait
belay resume --fleet-json "$FLEET"
is "D1: a start that came to nothing is no success" "$RC" 1
like "D1: told as it is" "$OUT" 'the start did not arrive'
oracle web1 ROLLED_BACK "$old" "$gen"

# D1: resumed in time
SUCCESS_TIMEOUT=30
next_system; inject after-WAIT_CONFIRM sleep
fleet web1="$new"
belay_start deploy --fleet-json "$FLEET"
check "D1: it waits again" wait_for 30 state_is web1 WAIT_CONFIRM
kill -KILL "$BELAY_PID"; belay_wait
sleep 1.2
check "D1: resume confirms in time" belay resume --fleet-json "$FLEET"
oracle web1 COMMITTED "$new" $((gen + 1))
done_testing
