#!/bin/bash
# preActivate and postRollback: when they run, with what, and what their failure means.
. "$(dirname "$0")/lib-plan.sh"

up web1 11
# Each one adds a line to /var/order: its name, what runs, what the environment says.
note='echo NAME $(readlink /run/current-system) $BELAY_OLD $BELAY_NEW $BELAY_TRANSACTION >> /var/order'
hooks() { PLAN="\"preActivate\":\"${note/NAME/pre}${1:+; $1}\",\"postRollback\":\"${note/NAME/post}${2:+; $2}\""; }
# so does every activation, the old system's on the way back and at a boot too
next() { n=$((n + 1)); new=$(system web1 11 --argstr version "p$n" --argstr activationExtra "echo p$n >> /var/order; $1" "${@:2}"); }
order() { on web1 cut -d' ' -f1 /var/order | paste -sd' '; on web1 rm -f /var/order; }

old=$(old_of web1)
next true
hooks
passes "a hook before a good activation"
is "it saw the old system, and knows the new one" "$(on web1 head -n1 /var/order)" "pre $old $old $new 1"
is "nothing runs behind it" "$(order)" "pre p1"

old=$new
next 'exit 1'
fails "an activation that fails" 'the activation script failed'
is "the second hook runs on the old system" "$(on web1 tail -n1 /var/order)" "post $old $old $new 2"
is "all in their order" "$(order)" "pre p2 p1 post"
next true
hooks 'echo no good; exit 3'
fails "preActivate fails" 'preActivate failed: status 3'
like "its output is in the log" "$(newest_txn web1)/stc.log" '^no good$'
is "the new system was not touched" "$(order)" "pre p1 post"
SWITCH_TIMEOUT=3
hooks 'setsid -f sleep 991; sleep 992'
fails "preActivate hangs" 'preActivate did not end in time'
check_not "all of it is gone" on web1 sh -c 'ps -eo args | grep -q "[s]leep 99[12]"'
is "the new system was not touched then either" "$(order)" "pre p1 post"
SWITCH_TIMEOUT=60
next 'exit 1'
hooks '' 'exit 4'
fails "postRollback fails too" 'the activation script failed'
like "that is told" "$OUT" 'postRollback failed: status 4'
order > /dev/null

# refused by the new system itself: what the first hook did is undone by the second
next true --argstr initInterfaceVersion 'systemd 9'
hooks
deploy web1="$new"
is "init interface differs: exit code" "$RC" 1
is "init interface differs: both hooks" "$(order)" "pre post"

# back by a power cut: the hook runs when the transaction is closed, once
next true
checks_and_hooks() { hooks; PLAN+=',"checks":[{"name":"slow","type":"command","command":"sleep 30","where":"deployer","timeout":40}]'; }
checks_and_hooks
fleet web1="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 30 state_is web1 WAIT_CONFIRM
crash web1
kill -KILL "$BELAY_PID"; belay_wait
power_on web1
belay status --fleet-json "$FLEET" > /dev/null
wait_for 20 state_is web1 ROLLED_BACK
is "power cut: the hook runs after the boot" "$(order)" "pre p6 p1 post"
oracle web1 ROLLED_BACK "$old"
oracle_again web1
is "and not again" "$(order)" "p1"
done_testing
