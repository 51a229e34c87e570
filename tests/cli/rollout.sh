#!/bin/bash
# Whole deployments against a played agent: the lines, the events, exit codes, what ssh is called
# with, where the key goes, interrupts, and what history and log have afterwards.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
a=$(system one) b=$(system two)
fleet fleet.json "web1=$a" "web2=$b"
key_is_secret() { # nowhere but in ssh's standard input: not in argv, a message, a file that stays
  local k
  for k in $(< "$tmp/keys"); do
    grep -qF "$k" "$tmp"/{ssh.log,ssh.env,nix.log,out,err} && { echo "key in a command line, an environment or a message"; return 1; }
    grep -rqF "$k" "$tmp/state" && { echo "key in the state folder"; return 1; }
  done
  [ -s "$tmp/keys" ]
}

# ---- a good deployment
good_host web1; good_host web2
forget
run deploy --fleet-json fleet.json web1
exits "one host: committed" 0
grep '^\[web1\]' "$tmp/err" | grep -v ' note: ' > lines
cat > wanted << 'X'
[web1] Copying closure to host..
[web1] Triggering system switcher..
[web1] Trying to confirm success..
[web1] Successfully activated new system!
X
check "one host: exactly the lines that are known" diff wanted lines
says "one host: the bound is told" "[web1] note: transaction 1: confirmed, or back on the old system, within 60 s"
is "one host: what it has is kept here" "$(readlink "$tmp/state/belay/deployed/web1")" "$a"
is "one host: two connections" "$(lines_of "$tmp/ssh.log")" 2
check "one host: the key is nowhere" key_is_secret
check "one host: no ssh is left running" none_left
socket=$(sed -n '1s/.*ControlPath=\([^\x1f]*\).*/\1/p' "$tmp/ssh.log")
check "one host: the folder of the control socket is gone" test -n "$socket" -a ! -e "$(dirname "$socket")"

# ---- what ssh is called with: work connection, then the fresh one
args() { sed -n "$1p" "$tmp/ssh.log" | tr '\037' '\n'; }   # one word a line
NODE_FIELDS='"sshOptions":["Port=2222","ConnectTimeout=3"],"privilegeEscalationCommand":["doas","-n"]' fleet options.json "web1=$a"
forget
run deploy --fleet-json options.json
exits "sshOptions: committed" 0
for n in 1 2; do
  which=work; [ $n = 1 ] || which=fresh
  args $n > words
  is "$which: begins with the node's own options, which so win" "$(head -n 6 words | tr '\n' ' ')" "ssh -Tax -o Port=2222 -o ConnectTimeout=3 "
  for o in BatchMode=yes StrictHostKeyChecking=yes ClearAllForwardings=yes PermitLocalCommand=no RemoteCommand=none ControlPersist=no; do
    check "$which: $o" grep -qx "$o" words
  done
  is "$which: host and command stand behind --" "$(grep -nx -A1 -e -- words | sed -n 's/^[0-9]*-//p')" "web1"
  check "$which: becomes root by the node's own command" grep -qF 'exec doas -n /bin/sh' words
done
args 1 > words
check "work: master of a control socket of its own" grep -qx 'ControlMaster=yes' words
check "work: the socket is in a folder of this run" grep -qE '^ControlPath=/tmp/belay-[^/]{6}/' words
args 2 > words2
check "fresh: no master" grep -qx 'ControlMaster=no' words2
check "fresh: no control path" grep -qx 'ControlPath=none' words2
grep -vE '^(Control|ConnectTimeout=[0-9]+$|exec |  *if |.*belay-agent)' words > one
grep -vE '^(Control|ConnectTimeout=[0-9]+$|exec |  *if |.*belay-agent)' words2 > two
check "both have the same other words" diff one two

# ---- JSON
forget
run deploy --fleet-json fleet.json --json
exits "--json: committed" 0
check "--json: every line is an object with event, time and run" jq -es 'all(.[]; .event and .time and .run)' "$tmp/out"
check "--json: begins with the run and ends with the summary" jq -es '.[0].event == "run" and .[0].hosts == ["web1", "web2"] and .[-1].event == "summary"' "$tmp/out"
check "--json: the summary counts" jq -es '.[-1] | .hosts == 2 and .outcomes == {"committed": 2} and .exitCode == 0' "$tmp/out"
check "--json: a result for each host" jq -es '[.[] | select(.event == "result") | [.host, .outcome, .epoch]] | sort == [["web1", "committed", 1], ["web2", "committed", 1]]' "$tmp/out"
check "--json: what the activation prints is there" jq -es 'any(.[]; .event == "output" and .stream == "activation" and (.line | startswith("starting the")))' "$tmp/out"
is "--json: nothing on standard error" "$(cat "$tmp/err")" ""
run_id=$(jq -r 'select(.event == "run").run' "$tmp/out")

# ---- history and log of it
run history
exits "history" 0
is "history: a line for each host of the one run" "$(grep -c "^$run_id .* web[12] .*committed" "$tmp/out")" 2
run history web1 --json
check "history --json" jq -es "length == 1 and .[0].run == \"$run_id\" and .[0].outcome == \"committed\" and .[0].system == \"$a\"" "$tmp/out"
run log web1
exits "log" 0
told "log: the run and the host" "run $run_id, host web1"
told "log: the systems" "to   $a"
told "log: what the activation printed" "starting the following units: x.service"
told "log: the outcome" "outcome: committed"
run log web1 --run "$run_id" --json
check "log --json" jq -es 'length > 3 and all(.[]; .event == "log" and .host == "web1" and .stream and .line)' "$tmp/out"
run log web9
refused "log of a host that was in no run" "web9 was in no run yet" "belay history"
run log web1 --run nope
refused "log of a run that there is not" "web1 was in no such run"
run resume --fleet-json fleet.json
exits "resume with nothing open" 0
says "resume with nothing open says so" "has no open transaction"
forget
run log web1
refused "log before the first run" "web1 was in no run yet"
run resume --fleet-json fleet.json
refused "resume before the first run" "no run yet"
run history
exits "history before the first run is empty" 0
is "history before the first run prints nothing" "$(cat "$tmp/out" "$tmp/err")" ""

# ---- one rolls back, the other does not
rolled_back_host web1
forget
run deploy --fleet-json fleet.json
exits "one rolled back: status 3" 3
says "rolled back: the headline" "[web1] Failed to activate new system! Rolled back to previous one"
says "rolled back: the reason" "[web1]   reason: the activation ended with status 1"
says "rolled back: the state" "[web1]   state: runs nixos-system-old and would boot it; reachable"
says "rolled back: the one command" "[web1]   next: belay log web1"
says "rolled back: the summary" "2 hosts: 1 committed, 1 rolled back"
run log web1
told "rolled back: the log has the outcome" "outcome: rolled_back: the activation ended with status 1"
check "rolled back: the key is nowhere" key_is_secret

# ---- stuck goes before rolled back; refused at the start
host web2 << 'X'
if [ -n "$fresh" ]; then user; banner; state STUCK 0 'reason=the boot loader cannot be written'; sleep 5
else up_to_start; state STUCK 0 'reason=the boot loader cannot be written'; exec sleep 20; fi
X
forget
run deploy --fleet-json fleet.json
exits "one stuck: status 4" 4
says "stuck: says so" "[web2] STUCK! This host needs a person"
host web2 << 'X'
hello; take; frame 18; take
frame 19 'reason=its profile is at generation 9 now' 'remedy=look and deploy again'; sleep 20
X
forget
run deploy --fleet-json fleet.json web2
exits "refused at the start: status 1" 1
says "refused at the start: nothing was changed" "[web2] Refused! Nothing was changed"
says "refused at the start: why" "[web2]   reason: its profile is at generation 9 now"
check "refused at the start: the key is gone" sh -c "! find '$tmp/state' -name '*.key' | grep ."

# ---- nothing to do
host web1 << 'X'
hello "$(cat "$TMP/want")"; sleep 20
X
echo "$a" > "$tmp/want"
forget
run deploy --fleet-json fleet.json web1
exits "the same again" 0
says "the same again: says so" "[web1] Nothing to do"
is "the same again: one connection" "$(lines_of "$tmp/ssh.log")" 1
is "the same again: nothing is copied" "$(grep -c ' copy ' "$tmp/nix.log")" 0

# ---- a wish to confirm something else is not granted
host web1 << 'X'
if [ -n "$fresh" ]; then
  if [ -e "$TMP/asked" ]; then user; banner; state ROLLED_BACK 0 'reason=nobody confirmed'; sleep 5; fi
  : > "$TMP/asked"
  user; banner; frame 16 nonce=01 epoch=1 boot_id=b new=/nix/store/22222222222222222222222222222222-evil state=WAIT_CONFIRM
  take && : > "$TMP/proved"; sleep 1
else up_to_start; state WAIT_CONFIRM 1 left_ms=2000; exec sleep 20; fi
X
forget
run deploy --fleet-json fleet.json web1
exits "asked to confirm another system: status 3" 3
if [ -e "$tmp/proved" ]; then fail "asked to confirm another system: no proof is sent" "$tmp/err"; else pass "asked to confirm another system: no proof is sent"; fi
run log web1
told "asked to confirm another system: the log says so" "something else than was deployed"

# ---- interrupts
# start_belay: in the background, waiting for a host whose end does not come; then `interrupt N`
host web1 << 'X'
if [ -n "$fresh" ]; then user; sleep 30; else up_to_start; state WAIT_CONFIRM 1 left_ms=8000; : > "$TMP/waiting"; exec sleep 30; fi
X
host web2 << 'X'
hello; sleep 30
X
wait_for() { for _ in $(seq 100); do [ ! -e "$1" ] || return 0; sleep 0.05; done; return 1; }
interrupt() { # ARGS -- SIGNAL...: half a second between them
  local args=() end; rm -f "$tmp/waiting"
  while [ "$1" != -- ]; do args+=("$1"); shift; done; shift
  env --default-signal=INT,TERM "$BELAY" deploy --fleet-json fleet.json "${args[@]}" < /dev/null > "$tmp/out" 2> "$tmp/err" &
  local pid=$!
  wait_for "$tmp/waiting" || echo "# nobody waits"
  sleep 0.3
  for s; do kill "-$s" $pid; sleep 0.5; done
  for _ in $(seq 60); do kill -0 $pid 2> /dev/null || break; sleep 0.1; done
  end=; kill -0 $pid 2> /dev/null && { end=124; kill -KILL $pid; }
  wait $pid; RC=$?; RC=${end:-$RC}
}
forget
interrupt web1 -- INT INT
exits "interrupted twice while a host waits: 130" 130
says "the first interrupt waits for the host" "[web1] note: interrupted: waiting for this host's end"
says "the second leaves it and says what will happen" "[web1]   state: it was not confirmed, and goes back to the old system by itself"
says "the second: the next command" "[web1]   next: belay resume web1"
check "interrupted twice: no ssh is left running" none_left
run history web1
told "interrupted twice: the transaction is open in the history" " open"
check "interrupted twice: its key is kept for resume, for us alone" sh -c "test \"\$(find '$tmp/state' -name web1.key -perm 600 | wc -l)\" = 1"
check "interrupted twice: nobody else may look" sh -c "test -z \"\$(find '$tmp/state/belay' ! -type l -perm /077)\""
good_host web1
run resume --fleet-json fleet.json
exits "resume confirms it" 0
says "resume: says so" "[web1] Successfully activated new system!"
check "resume: the key is gone" sh -c "! find '$tmp/state' -name '*.key' | grep ."
run history web1
told "resume: the history has the end" "committed"

# a trial boot from which nothing is heard any more
host web1 << 'X'
if [ -n "$fresh" ]; then sleep 30; else up_to_start; state TRIAL_REBOOT 1; : > "$TMP/waiting"; sleep 0.2; fi
X
forget
interrupt web1 -- INT INT
exits "a trial boot that is not heard of: 130" 130
says "a trial boot that is not heard of: what may be, and what helps" "if it hangs there, a power cycle starts the old one"

host web1 << 'X'
hello; : > "$TMP/waiting"; sleep 30
X
forget
interrupt -- INT
exits "interrupted while preparing: 130" 130
for h in web1 web2; do says "interrupted while preparing: $h is not switched" "[$h] Not switched"; done
check "interrupted while preparing: no ssh is left running" none_left
forget
interrupt -- TERM
exits "terminated while preparing: 130" 130
done_testing
