#!/bin/bash
# Scripts on this machine, against a played agent: a node's preparationPhases before its host is asked, its
# postDeployScript behind a confirmed deployment; what they find, what their failures and interrupts do.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
a=$(system one) b=$(system two)
# nodes FILE FIELDS_OF_WEB1 FIELDS_OF_WEB2
nodes() {
  NODE_FIELDS=$2 fleet one.json "web1=$a"; NODE_FIELDS=$3 fleet two.json "web2=$b"
  jq -s '.[0] * .[1]' one.json two.json > "$1"
}
phase() { jq -cn --arg n "$1" --arg s "$2" '{ name: $n, script: $s }'; }
phases() { local IFS=,; printf '"preparationPhases":[%s]' "$*"; }
post() { printf '"postDeployScript":%s' "$(jq -n --arg s "$1" '$s')"; }
ssh_calls() { lines_of "$tmp/ssh.log"; }
nobody_asked() { is "$1: no host was asked" "$(ssh_calls)" 0; }
log=$tmp/scripts.log
say() { echo "echo $1 \$(wc -l < $tmp/ssh.log) >> $log"; }
good_host web1; good_host web2

# ---- a good deployment
# shellcheck disable=SC2016  # the scripts' own
nodes fleet.json "$(phases "$(phase z "$(say z)")" "$(phase a "$(say a); echo to out; echo to err >&2; printf 'no end'")"),$(post "$(say post1)")" \
  "$(phases "$(phase b "$(say b)")"),$(post "$(say post2)")"
forget; rm -f "$log"
run deploy --fleet-json fleet.json
exits "phases and scripts: status" 0
is "phases in their order, then in that of the nodes, before any host is asked" "$(head -n 3 "$log" | tr '\n' ' ')" "z 0 a 0 b 0 "
is "scripts afterwards, when both hosts have ended" "$(tail -n 2 "$log" | cut -d' ' -f1 | tr '\n' ' ')$(sed -n '4s/.* //p' "$log")" "post1 post2 4"
says "a phase is told" "[web1] Running preparation phase a.."
says "its output is told with the node" "[web1] to out"
says "its errors too" "[web1] to err"
says "a line without an end too" "[web1] no end"
says "a script is told" "[web2] Running postDeployScript.."
run log web1
told "a script is in the log" "Running postDeployScript.."

# ---- what they find
# shellcheck disable=SC2016  # the scripts' own
env='printf "%s " "$BELAY_NODE" "$BELAY_HOST" "$BELAY_SYSTEM" "$HOST" "${status-none}" "${script-none}" "$OUTER" >> '$log'; cat >> '$log'; echo >> '$log'
tr "\0" " " < /proc/$$/cmdline >> '$tmp/cmdline'; readlink /proc/$$/fd/0 >> '$tmp/stdin'; ls -l /proc/$$/fd > '$tmp/fds'
: not-in-argv'
nodes fleet.json "$(phases "$(phase env "$env")"),$(post "$env")" ''
forget; rm -f "$log"
status=outer BELAY_HOST=outer OUTER=x run deploy --fleet-json fleet.json web1
exits "environment: status" 0
is "environment of a phase" "$(sed -n 1p "$log")" "web1 web1 $a web1 none none x "
is "environment of a script" "$(sed -n 2p "$log")" "web1 web1 $a web1 success none x "
check "their lines are in no argument" sh -c "test -s '$tmp/cmdline' && ! grep -q not-in-argv '$tmp/cmdline'"
is "their stdin is /dev/null" "$(sort -u "$tmp/stdin")" /dev/null
check "they have no other descriptors" sh -c "! grep -q memfd '$tmp/fds'"

# ---- a phase that fails
nodes fleet.json "$(phases "$(phase keys "echo why
false
echo not here")" "$(phase later "$(say later)")"),$(post "$(say post1)")" "$(phases "$(phase b "$(say b)")"),$(post "$(say post2)")"
forget; rm -f "$log"
run deploy --fleet-json fleet.json
exits "a phase fails: status" 1
says "a phase fails: why" "belay: node web1: preparation phase keys: failed: status 1"
says "a phase fails: its output" "[web1] why"
check "a phase fails: it ends at the line that fails" sh -c "! grep -q 'not here' '$tmp/err'"
nobody_asked "a phase fails"
check "a phase fails: nothing more is run" test ! -e "$log"
check "a phase fails: no script of the library's is left in the state" sh -c "! grep -rq 'not here' '$tmp/state'"

forget; rm -f "$log"
run deploy --fleet-json fleet.json --keep-going
exits "--keep-going: status" 1
says "--keep-going: told at once" "note: node web1: not prepared: preparation phase keys: failed: status 1"
says "--keep-going: the node's end" "[web1] Not prepared! Nothing was changed"
says "--keep-going: the other one" "[web2] Successfully activated new system!"
check "--keep-going: the node was not asked" sh -c "! tr '\037' '\n' < '$tmp/ssh.log' | grep -qx web1"
is "--keep-going: what ran" "$(cut -d' ' -f1 "$log" | tr '\n' ' ')" "b post2 "
run history web1
told "--keep-going: the history" "failed"
forget
run deploy --fleet-json fleet.json --keep-going web1
exits "--keep-going, and none is left: status" 1
says "--keep-going, and none is left" "belay: no node could be prepared"
nobody_asked "--keep-going, and none is left"

# ---- a script that fails
nodes fleet.json "$(post "echo oh; exit 7")" "$(post "$(say post2)")"
forget; rm -f "$log"
run deploy --fleet-json fleet.json
exits "a script fails: status" 1
says "a script fails: told" "[web1] note: postDeployScript: failed: status 7; the host stays on its new system"
says "a script fails: the host does not" "[web1] Successfully activated new system!"
is "a script fails: the others run" "$(cut -d' ' -f1 "$log")" post2
run log web1
told "a script fails: the log has its output" "oh"
told "a script fails: and its end" "failed: status 7"
told "a script fails: the outcome is as it was" "outcome: committed"

# ---- JSON
nodes fleet.json "$(phases "$(phase p 'echo "a \"b\""')"),$(post 'echo after')" ''
forget
run deploy --fleet-json fleet.json web1 --json
exits "--json: status" 0
check "--json: lines are events of their node" jq -es \
  '[.[] | select(.event == "output" and .host == "web1") | [.stream, .line]] | index([["preparation", "a \"b\""]]) and index([["post-deploy", "after"]])' "$tmp/out"
is "--json: nothing on standard error" "$(cat "$tmp/err")" ""

# ---- no script behind what is not a confirmed deployment
nodes fleet.json "$(post "$(say post1)")" "$(post "$(say post2)")"
rolled_back_host web1
forget; rm -f "$log"
run deploy --fleet-json fleet.json
exits "rolled back: status" 3
is "rolled back: the other's script alone" "$(cut -d' ' -f1 "$log")" post2
host web1 << 'X'
hello "$(cat "$TMP/want")"; sleep 20
X
echo "$a" > "$tmp/want"
forget; rm -f "$log"
run deploy --fleet-json fleet.json web1
exits "unchanged: status" 0
says "unchanged: says so" "[web1] Nothing to do"
check "unchanged: no script" test ! -e "$log"

# ---- interrupts
wait_for() { for _ in $(seq 100); do [ ! -e "$1" ] || return 0; sleep 0.05; done; return 1; }
gone() { ! kill -0 "$(< "$tmp/script.pid")" 2> /dev/null; }
interrupt() { # SIGNAL ARGS...: when a script waits
  local signal=$1; shift
  rm -f "$tmp/script.pid" "$log"
  env --default-signal=INT,TERM "$BELAY" deploy --fleet-json fleet.json "$@" < /dev/null > "$tmp/out" 2> "$tmp/err" &
  local pid=$!
  wait_for "$tmp/script.pid" || echo "# no script waits"
  kill "-$signal" $pid
  for _ in $(seq 80); do kill -0 $pid 2> /dev/null || break; sleep 0.1; done
  kill -KILL $pid 2> /dev/null
  wait $pid; RC=$?
}
good_host web1; good_host web2
wait="trap 'echo trapped >> $log; exit 1' TERM; echo \$\$ > $tmp/script.pid; sleep 60 & wait"
for signal in INT TERM; do
  nodes fleet.json "$(phases "$(phase slow "$wait")" "$(phase later "$(say later)")")" "$(phases "$(phase b "$(say b)")")"
  forget
  interrupt $signal --keep-going
  exits "$signal while a phase runs: 130" 130
  says "$signal while a phase runs: said" "belay: node web1: preparation phase slow: interrupted"
  is "$signal while a phase runs: it may clean up, and nothing more is run" "$(cat "$log")" trapped
  check "$signal while a phase runs: it is gone" gone
  nobody_asked "$signal while a phase runs"
done
nodes fleet.json "$(post "$wait")" "$(post "$(say post2)")"
forget
interrupt INT
exits "interrupted while a script runs: 130" 130
says "interrupted while a script runs: said" "[web1] note: postDeployScript: interrupted; the host stays on its new system"
says "interrupted while a script runs: the others are told" "[web2] note: interrupted: its postDeployScript is not run"
is "interrupted while a script runs: nothing more is run" "$(cat "$log")" trapped
run history web2
told "interrupted while a script runs: hosts are as they were" committed
host web2 << 'X'
if [ -n "$fresh" ]; then
  user; banner; state ROLLED_BACK 0 'reason=late'; sleep 5
else
  up_to_start
  echo $$ > "$TMP/script.pid"; sleep 2
  state ROLLING_BACK 1; state ROLLED_BACK 0 'reason=late'; exec sleep 20
fi
X
forget
nodes fleet.json "$(post "$(say post1)")" ''
interrupt INT
exits "interrupted while a host is switched: 130" 130
says "interrupted while a host is switched: the other's script is not run" "[web1] note: interrupted: its postDeployScript is not run"
check "interrupted while a host is switched: really not" test ! -e "$log"
good_host web2
# one that does not end when it is asked to
nodes fleet.json "$(phases "$(phase deaf "trap '' TERM; echo \$\$ > $tmp/script.pid; while :; do sleep 1; done")")" ''
forget
interrupt INT
exits "a phase that does not want to end: 130" 130
check "a phase that does not want to end: it is gone" gone

# ---- what a phase leaves behind is not waited for
nodes fleet.json "$(phases "$(phase daemon "sleep 30 & echo \$! > $tmp/daemon.pid")")" ''
forget
RUN_LIMIT=15 run deploy --fleet-json fleet.json web1
exits "a phase that leaves something behind" 0
kill "$(< "$tmp/daemon.pid")"
done_testing
