#!/bin/bash
# Waves that are confirmed as a whole, against played agents; and what resume makes of one that a dead
# deployer left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
. "$(dirname "$0")/lib-waves.sh"

# ---- a wave as a whole
anew; good "${all[@]}"; slow web2 2
run deploy --fleet-json fleet.json --batch 2 --atomic
exits "atomic: committed" 0
says "atomic: the first one waits" "[web1] Could be confirmed; waiting for the rest of its wave.."
is "atomic: nobody is confirmed before all of the wave can be" "$(head -n 2 "$tmp/challenges" | paste -sd' ')" "web1 web2"
check "atomic: the first is committed after the second could be" test "$(line_of '[web1] Successfully')" -gt "$(line_of '[web2] Trying to confirm')"
# 2 s of its own; 60 s to switch, 10 s to end that, 2 s to confirm, of the slowest
is "atomic: the time for the confirmation has the others' in it" "$(cut -d' ' -f3 "$tmp/start.log" | sort -u)" 74000
anew; bad web2 2
run deploy --fleet-json fleet.json --batch 2 --atomic
exits "atomic, one fails: status 3" 3
is "atomic, one fails: nobody is confirmed" "$(cat "$tmp/proofs")" ""
is "atomic, one fails: the other is told to go back" "$(cat "$tmp/back.web1")" "web2 of its wave failed, and so none is confirmed"
says "atomic, one fails: and says why" "[web1]   reason: web2 of its wave failed, and so none is confirmed"
is "atomic, one fails: the next wave is not begun" "$(started)" "web1 web2"
anew
run deploy --fleet-json fleet.json --batch 2 --atomic --keep-going
is "atomic, --keep-going: the next wave is" "$(sort "$tmp/proofs" | paste -sd' ')" "web3 web4"
# one that is silent: the others wait for what it would have had by itself
anew; good "${all[@]}"
host web2 << 'X'
if [ -n "$fresh" ]; then [ ! -e "$TMP/back.$host" ] || asked; exec sleep 30; fi
begin; say WAIT_CONFIRM 1 left_ms=60000; sleep 5; go_back 'nobody confirmed'
X
run deploy --fleet-json fleet.json --batch 2 --atomic
exits "atomic, one is silent: status 3" 3
is "atomic, one is silent: nobody is confirmed" "$(cat "$tmp/proofs")" ""
is "atomic, one is silent: the other is sent back" "$(cat "$tmp/back.web1")" "web2 of its wave failed, and so none is confirmed"
check "atomic, one is silent: before that one is back" test "$(line_of '[web1] Failed')" -lt "$(line_of '[web2] Failed')"
# a host takes no proof of a challenge that is older than 15 s
anew; good "${all[@]}"; slow web2 12
run deploy --fleet-json fleet.json --atomic web1 web2
exits "atomic, a long wait: committed" 0
is "atomic, a long wait: the challenge is asked for anew" "$(grep -c web1 "$tmp/challenges")" 2
is "atomic, a long wait: confirmed once" "$(grep -c web1 "$tmp/proofs")" 1

# ---- a deployer that dies, and resume
# die TEXT...: belay deploys three as a whole, and is killed once it has said all that
die() {
  env --default-signal=INT,TERM "$BELAY" deploy --fleet-json fleet.json web1 web2 web3 --atomic < /dev/null > "$tmp/out" 2> "$tmp/err" &
  local pid=$! p text
  for text; do for _ in $(seq 200); do ! grep -qsF -- "$text" "$tmp/err" || break; sleep 0.05; done; done
  kill -KILL $pid; { wait $pid; } 2> /dev/null
  for p in $(< "$tmp/ssh.pids"); do kill "$p" 2> /dev/null; done
  sleep 0.3
}
# web2 gets no proof the first time: belay dies when the others are committed
anew; good "${all[@]}"
host web2 << 'X'
if [ -z "$fresh" ]; then begin; waiting; fi
[ ! -e "$TMP/again" ] || asked
touch "$TMP/again"; user; banner; challenge; exec sleep 30
X
die '[web1] Successfully' '[web3] Successfully'
is "split: two were confirmed" "$(sort "$tmp/proofs" | paste -sd' ')" "web1 web3"
run resume --fleet-json fleet.json
exits "split: resume finishes it" 0
says "split: resume tells it" "note: wave 1 was left while it was being confirmed, and may be split; still open: web2"
says "split: the last one is confirmed" "[web2] Successfully"
is "split: all are committed" "$(sort "$tmp/proofs" | paste -sd' ')" "web1 web2 web3"
# too late for one
anew
die '[web1] Successfully' '[web3] Successfully'
echo 'nobody confirmed' > "$tmp/back.web2"
run resume --fleet-json fleet.json
exits "split for good: status 3" 3
says "split for good: says so" "note: wave 1 is split: it was to be confirmed as a whole, and was not on: web2"
# before the decision: nobody was confirmed, and resume waits for all
anew; good "${all[@]}"; slow web2 5
die '[web1] Could be confirmed' '[web3] Could be confirmed'
is "undecided: nobody was confirmed" "$(cat "$tmp/proofs")" ""
echo '[ -e "$TMP/again" ] || { touch "$TMP/again"; exit 9; }; asked' | host web2
run resume --fleet-json fleet.json
exits "undecided: resume confirms all" 0
says "undecided: resume says what it does" "note: wave 1 was left before it was confirmed; it is when all of these can be: web1, web2, web3"
is "undecided: all are confirmed" "$(sort "$tmp/proofs" | paste -sd' ')" "web1 web2 web3"
says "undecided: when the last one could be" "[web1] Could be confirmed; waiting for the rest of its wave.."
# one has failed already: the others go back
anew; slow web1 3; bad web2 0; slow web3 3
die '[web1] Triggering' '[web3] Triggering' '[web2] Failed to activate'
rm -f "$tmp"/back.web[13]
run resume --fleet-json fleet.json
exits "undecided and failed: status 3" 3
says "undecided and failed: says so" "note: wave 1 was not complete, and so none of it is confirmed; goes back: web1, web3"
is "undecided and failed: nobody is confirmed" "$(cat "$tmp/proofs")" ""
check "undecided and failed: the others go back" test -s "$tmp/back.web1" -a -s "$tmp/back.web3"

# ---- what is refused
anew
run deploy --fleet-json fleet.json --atomic --strategy unguarded-boot
refused "atomic without a confirmation" "node web1: with the strategy unguarded-boot there is no confirmation"
is "no host was asked for it" "$(cat "$tmp/ssh.log")" ""
done_testing
