#!/bin/bash
# `belay doctor` against a played agent: what it asks for, what it prints, exit codes, and that nothing is begun.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
a=$(system one) b=$(system two)
fleet fleet.json "web1=$a" "web2=$b"
# the agent's side of a look
cat >> "$tmp/agent.sh" << 'X'
warn() { frame 22 "item=$1" ok=1 warning=1 "text=$2" "remedy=$3"; }
asked() {
  take; [ "$type" = 2 ] || exit 9
  echo "only=$(value preflight_only) new=$(value new)" > "$TMP/asked.$host"
}
X
host web1 << 'X'
hello; asked
item journal 1 durable ''
warn 'hang in the kernel' 'no watchdog device' 'give it one'
frame 18
exec sleep 20
X
host web2 << 'X'
hello; asked
item journal 0 '/var/lib/belay would not survive a reboot' 'keep it on a disk'
item 'pre-switch check' 0 'first%0asecond' 'fix it'
frame 19 'reason=the preflight failed' remedy=
exec sleep 20
X
forget

run doctor --fleet-json fleet.json web1
exits "a healthy host: status 0" 0
cat > wanted << 'X'
[web1] ok       journal: durable
[web1] warning  hang in the kernel: no watchdog device
[web1]   remedy: give it one
[web1] Ready for a deployment
X
check "a healthy host: a line for each item, on standard output" diff wanted "$tmp/out"
is "a healthy host: nothing on standard error" "$(cat "$tmp/err")" ""
is "a healthy host: it is asked to be looked at, with the fleet's system" "$(cat "$tmp/asked.web1")" "only=1 new=$a"
is "a healthy host: one connection" "$(lines_of "$tmp/ssh.log")" 1
is "a healthy host: no system is named for garbage roots" "$(grep -c "$a" "$tmp/ssh.log")" 0
is "a healthy host: nothing is copied" "$(grep -c copy "$tmp/nix.log")" 0
check "no ssh is left running" none_left
check "no key is kept" sh -c "! find '$tmp/state' -name '*.key' | grep ."
run history
is "no run is recorded" "$(cat "$tmp/out")" ""

run doctor --fleet-json fleet.json
exits "one of two fails: status 1" 1
grep '^\[web2\]' "$tmp/out" > lines
cat > wanted << 'X'
[web2] failed   journal: /var/lib/belay would not survive a reboot
[web2]   remedy: keep it on a disk
[web2] failed   pre-switch check: first
[web2]                            second
[web2]   remedy: fix it
[web2] A deployment would be refused
X
check "one of two fails: what, and what helps" diff wanted lines
told "one of two fails: the other is looked at all the same" "[web1] Ready for a deployment"
told "one of two fails: the summary" "2 hosts: 1 ready, 1 refused"

run doctor --fleet-json fleet.json --json
exits "--json: status 1" 1
check "--json: JSON lines" jq -es . "$tmp/out"
check "--json: items" jq -es 'map(select(.event == "item" and .host == "web1") | [.item, .level, .remedy]) == [["journal", "ok", null], ["hang in the kernel", "warning", "give it one"]]' "$tmp/out"
check "--json: results" jq -es 'map(select(.event == "result") | [.host, .outcome]) | sort == [["web1", "ready"], ["web2", "refused"]]' "$tmp/out"
check "--json: the exit code" jq -es '.[-1].exitCode == 1' "$tmp/out"

# ---- a transaction of somebody else: the host itself tells of it, beside all else
host web2 << 'X'
hello "$old" epoch=4 state=WAIT_CONFIRM open=1 owner=alice@laptop left_ms=7000; asked
item transaction 0 'transaction 4 of alice@laptop is open (WAIT_CONFIRM)' 'it ends by itself'
frame 19 'reason=the preflight failed' remedy=
exec sleep 20
X
run doctor --fleet-json fleet.json web2
exits "an open transaction: status 1" 1
told "an open transaction: whose" "[web2] failed   transaction: transaction 4 of alice@laptop is open"

# ---- a host where the system runs already, one without an agent, some that cannot be asked
host web2 << X
hello $b; asked
frame 18
exec sleep 20
X
run doctor --fleet-json fleet.json web2
exits "the system runs there already: status 0" 0
is "the system runs there already: it is looked at all the same" "$(cat "$tmp/asked.web2")" "only=1 new=$b"
host web2 << 'X'
user; echo "belay-need-agent x86_64"
read -r go; [ "$go" = go ] || exit 9
hello; asked
frame 18
exec sleep 20
X
forget
run doctor --fleet-json fleet.json web2
exits "no agent there: it is brought" 0
check "no agent there: the agent is copied" grep -q 'copy .*belay-agent' "$tmp/nix.log"
is "no agent there: and nothing else" "$(grep -c "$b" "$tmp/nix.log")" 0
echo 'refuse_connection "Connection refused"' | host web2
run doctor --fleet-json fleet.json web2
exits "unreachable: status 1" 1
told "unreachable: why" "[web2]   reason: nothing listens on its ssh port"
told "unreachable: what helps" "[web2]   next: look whether sshd runs there"
host web2 << 'X'
user; echo belay-not-nixos; exit 1
X
run doctor --fleet-json fleet.json web2
told "not NixOS: why" "[web2]   reason: it is no NixOS host"

# ---- without a fleet
mkdir empty && cd empty || exit 1
forget
run doctor --target-host root@web1
exits "--target-host: status 0" 0
told "--target-host: its lines" "[web1] ok       journal: durable"
is "--target-host: no system is asked for" "$(cat "$tmp/asked.web1")" "only=1 new="
check "--target-host: ssh gets the name as it is" grep -q "root@web1" "$tmp/ssh.log"
run doctor --target-host=web1 --with-system "$a"
is "--with-system: it is asked for" "$(cat "$tmp/asked.web1")" "only=1 new=$a"
run doctor --target-host -oProxyCommand=x
refused "a host that ssh would take for an option" "no host for ssh"
run doctor --target-host web1 --with-system /etc
refused "--with-system wants a store path" "/etc"
run doctor --target-host web1 web2
refused "--target-host and other hosts" "--target-host is one host"
run doctor --with-system "$a"
refused "--with-system without --target-host" "--with-system goes with --target-host"
cd ..

cat >> "$tmp/agent.sh" << 'X'
copied() { take; [ "$type" = 7 ] || exit 9; frame 18; }
X

# ---- deploy: what is not covered is one line, and what fails is refused in doctor's words
good_host web1
sed -i "s/^  item disk 1 .*/&; warn 'hang in boot' 'nothing' 'x'; warn panic 'stays down' 'y'/" "$tmp/agent.sh"
forget
run deploy --fleet-json fleet.json web1
exits "deploy: warnings are no failure" 0
is "deploy: one line of what is not covered" "$(grep 'not covered' "$tmp/err")" "[web1] note: not covered on this host: hang in boot, panic (belay doctor web1)"
host web2 << 'X'
hello; copied; asked
item journal 0 '/var/lib/belay would not survive a reboot' 'keep it on a disk'
frame 19 'reason=the preflight failed' remedy=
exec sleep 20
X
run deploy --fleet-json fleet.json web2
is "deploy does more than look" "$(cat "$tmp/asked.web2")" "only=0 new=$b"
says "deploy refuses in the same words" "[web2]   reason: journal: /var/lib/belay would not survive a reboot"
says "deploy has the same remedy" "[web2]   next: keep it on a disk"
done_testing
