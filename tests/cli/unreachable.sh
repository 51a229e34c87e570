#!/bin/bash
# Hosts that cannot be deployed to, with a fake ssh: each gives one clear message with the host's
# name and a remedy, nothing is changed anywhere, and no ssh is left running.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
a=$(system one) b=$(system two)
fleet fleet.json "web1=$a" "web2=$b"
good_host web2

# one DESC TEXT...: a deployment to web1, which is as hosts/web1 says, and a good web2; a line
# "[web1]   reason:" has the texts before --, "[web1]   next:" those behind
one() {
  local desc=$1 why=() remedy=(); shift
  while [ "$1" != -- ]; do why+=("$1"); shift; done
  shift; remedy=("$@")
  forget
  RUN_LIMIT=6 run deploy --fleet-json fleet.json
  grep -E '^\[web1\]   (reason|state|next):' "$tmp/err" | sed 's/^/# /'
  exits "$desc: status 1" 1
  says "$desc: the reason" "[web1]   reason:" "${why[@]}"
  says "$desc: the remedy" "[web1]   next:" "${remedy[@]}"
  says "$desc: nothing was changed there" "[web1] " "Nothing was changed"
  is "$desc: one reason" "$(grep -c '^\[web1\]   reason:' "$tmp/err")" 1
  says "$desc: web2 is not switched" "[web2] Not switched"
  if [ -e "$tmp/new.web2" ]; then fail "$desc: web2 was never started" "$tmp/err"; else pass "$desc: web2 was never started"; fi
  rm -f "$tmp/new.web2"
  check "$desc: no ssh is left running" none_left
  is "$desc: nothing on standard output" "$(cat "$tmp/out")" ""
  is "$desc: no control bytes reach the terminal" "$(LC_ALL=C grep -c '[^ -~]' "$tmp/err")" 0
}

echo 'refuse_connection "Connection timed out"' | host web1
one "does not answer" "does not answer" "Connection timed out" -- "look whether it is up"
run history
told "history has it" " web1 " " unreachable: " "Connection timed out"
told "history has the other" " web2 " " skipped"
run log web1
told "log has it" "outcome: unreachable: it does not answer"
check "no key is left of it" sh -c "! find '$tmp/state' -name '*.key' | grep ."
run resume --fleet-json fleet.json
exits "resume: nothing is open" 0
says "resume: nothing is open, says so" "has no open transaction"
echo 'refuse_connection "Connection refused"' | host web1
one "no sshd" "nothing listens" -- "sshd"
echo 'refuse_connection "No route to host"' | host web1
one "no route" "no way to it" -- "look whether it is up"
host web1 << 'X'
echo "ssh: Could not resolve hostname $host: Name or service not known" >&2; exit 255
X
one "no such name" "cannot be resolved" "web1" -- ".ssh/config"
host web1 << 'X'
cat >&2 << E
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:uNiVztksCsDhcc0u9e8BrxHlcqVrNJdnnp9tFWkCyvk.
Please contact your system administrator.
Add correct host key in /root/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /root/.ssh/known_hosts:1
Host key for $host has changed and you have requested strict checking.
Host key verification failed.
E
exit 255
X
one "wrong host key" "host key is not the one" -- "ssh-keygen -R"
host web1 << 'X'
printf 'No ED25519 host key is known for %s and you have requested strict checking.\r\nHost key verification failed.\r\n' "$host" >&2
exit 255
X
one "unknown host key" "host key is not in known_hosts" -- "connect once by hand"
host web1 << 'X'
printf 'root@%s: Permission denied (publickey).\r\n' "$host" >&2; exit 255
X
one "no key fits" "accepts none of our keys" "publickey" -- "ssh-agent"
host web1 << 'X'
user 1000; echo 'sudo: a password is required' >&2; exit 1
X
one "sudo wants a password" "sudo wants a password" -- "NOPASSWD"
host web1 << 'X'
user; echo belay-not-nixos; exit 1
X
one "not NixOS" "no NixOS host" -- "deploys to NixOS"
host web1 << 'X'
printf '\033[31mThis account is not available.\033[0m\007\n'; exit 1
X
one "only noise" "status 1" -- "by hand"
host web1 << 'X'
echo 'Welcome to web1'; user; banner; echo 'Segmentation fault'; sleep 10
X
one "noise instead of frames" "" -- "version of belay"
host web1 << 'X'
user; banner; printf '\377\377\377\177\001\000\000\000'; sleep 10
X
one "a frame too large" "" -- "version of belay"
host web1 << 'X'
user; banner; frame 1 version=99 agent=9 nonce=00 boot_id=b; sleep 10
X
one "an agent of another protocol" "version" -- "same version"
host web1 << 'X'
user; exec yes 'Welcome, and no end of it'
X
one "lines without end" "" -- ""
host web1 << 'X'
user; exec tr '\0' x < /dev/zero
X
one "one line without end" "" -- ""
host web1 << 'X'
hello; has_all; item disk 0 'no room for the new system on /nix' 'nix-collect-garbage there'; item memory 1 fine ''; frame 19 'reason=the preflight failed' remedy=; sleep 10
X
one "a preflight that fails" "no room for the new system" -- "nix-collect-garbage"
host web1 << 'X'
lines facts "$old" epoch=4 state=WAIT_CONFIRM open=1 owner=alice@laptop left_ms=7000
user; banner; frame 1 version=1 nonce=00 last_epoch=4 "${l[@]}"; sleep 10
X
one "an open transaction" "transaction 4 of alice@laptop is open" -- "ends by itself within 8 s"
host web1 << 'X'
user; banner; kill -9 $$
X
one "ssh is killed" "" -- "by hand"

# ---- copying fails
host web1 << 'X'
hello; take; frame 19 'reason=/nix/store/x: No space left on device' 'remedy=make room on the disk there'; sleep 10
X
one "copying fails" "copying the closure failed" "No space left" -- "make room"
host web1 << 'X'
user; echo "belay-need-agent x86_64"; sleep 10
X
fake nix << X
#!/bin/sh
echo "error: writing to file: No space left on device" >&2
exit 1
X
one "copying the agent fails" "copying the agent failed" "its disk is full" -- "make room"
fake_nix

# ---- it is cut off while it is sent its system, and comes back
good_host web1
mv "$tmp/hosts/web1" "$tmp/hosts/good"
host web1 << 'X'
if [ -z "$fresh" ] && [ ! -e "$TMP/cut" ]; then
  : > "$TMP/cut"
  hello; take
  echo 'client_loop: send disconnect: Broken pipe' >&2; exit 255
elif [ -z "$fresh" ] && [ ! -e "$TMP/away" ]; then
  : > "$TMP/away"; refuse_connection 'Connection refused'
fi
. "$TMP/hosts/good"
X
forget
run deploy --fleet-json fleet.json web1
exits "cut off while it is copied to: committed in the end" 0
says "cut off while it is copied to: told" "[web1] note: cut off while it was sent its system:" "; connecting again"
says "not there at once: told" "[web1] note: still away: nothing listens on its ssh port"
is "and sent what it lacks" "$(cat "$tmp/copied")" "web1 $a"
is "in three tries, and one to confirm" "$(lines_of "$tmp/ssh.log")" 4

# ---- ssh is missing
mv "$tmp/bin/ssh" "$tmp/ssh.away"
forget
mkdir -p "$tmp/only"
for p in sh timeout; do ln -sf "$(command -v "$p")" "$tmp/only/$p"; done
PATH=$tmp/bin:$tmp/only run deploy --fleet-json fleet.json web1
exits "no ssh on this machine: status 1" 1
says "no ssh on this machine: the remedy" "install OpenSSH's client"
mv "$tmp/ssh.away" "$tmp/bin/ssh"

# ---- other commands on such a host
echo 'refuse_connection "Connection refused"' | host web1
host web2 << 'X'
user; echo "belay-need-agent x86_64"; sleep 10
X
forget
run status --fleet-json fleet.json
exits "status of an unreachable host: 1" 1
told "status: names it and the reason" "web1: unreachable" "nothing listens"
told "status: a host that belay was never at" "web2: reachable; no agent"
check "status: no ssh is left running" none_left
run status --fleet-json fleet.json --json
check "status --json: JSON lines" jq -es 'map(.event) == ["status", "status"] and map(.reachable) == [false, true]' "$tmp/out"
run abort --fleet-json fleet.json '*'
exits "abort where nothing can be aborted: 1" 1
told "abort: the unreachable one" "web1: not aborted" "nothing listens"
told "abort: the one without an agent" "web2: not aborted"

# ---- the first contact itself, run by a real shell
echo run_command | host web1
forget
run status --fleet-json fleet.json web1
exits "first contact with what is not NixOS: 1" 1
told "first contact with what is not NixOS: says so" "web1: unreachable" "no NixOS host"
system=/nix/store/33333333333333333333333333333333-nixos-system-web1
mkdir -p $system /nix/var/nix/gcroots
ln -s $system /run/current-system
forget
run status --fleet-json fleet.json web1
told "first contact with a NixOS that belay was never at: status says so" "web1: reachable; no agent" 
exits "first contact with a NixOS that belay was never at: 0" 0
check "status leaves nothing there" sh -c '! ls /nix/var/nix/gcroots/* 2> /dev/null | grep .'
forget
fake nix << X
#!/bin/sh
echo "nix \$*" >> "$tmp/nix.log"
ls -l /nix/var/nix/gcroots/belay > "$tmp/roots"
X
run deploy --fleet-json fleet.json web1
check "a deployment roots system and agent there before it copies" grep -q -- "-> $a\$" "$tmp/roots"
exits "an agent that does not start: 1" 1
says "an agent that does not start: says so" "[web1]   reason:" "belay-agent"
done_testing
