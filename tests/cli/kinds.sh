#!/bin/bash
# The agent that fits the host, whatever machine belay itself runs on: of a system by what it is for, else by what the
# host says of itself. Hosts are shells here, on whose PATH `uname` says what they are.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"

mkdir -p "$tmp/share/agent/aarch64-linux/bin" "$tmp/share/agent/README"
echo 'the agent for arm' > "$tmp/share/agent/aarch64-linux/bin/belay-agent"
# its path in the store tells which one was added
fake nix-store << X
#!/bin/sh
echo "nix-store \$*" >> "$tmp/nix.log"
for f; do :; done
case \$(cat "\$f/bin/belay-agent") in
*arm) echo /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-belay-agent ;;
*) echo /nix/store/88888888888888888888888888888888-belay-agent ;;
esac
X
fake uname << 'X'
#!/bin/sh
if [ "$1" = -m ]; then echo "$MACHINE"; else exec /usr/bin/uname "$@"; fi
X
arm=/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-belay-agent
pc=/nix/store/88888888888888888888888888888888-belay-agent
# machine NAME MACHINE: a host of that kind, where belay-agent tells which one it is
machine() { printf 'export MACHINE=%s\nrun_command\n' "$2" | host "$1"; }
machine a1 aarch64
machine p1 x86_64
machine r1 riscv64
new=$(system new)
ln -s "$new" /run/current-system
mkdir -p /nix/var/nix/gcroots/belay
# plays PATH: an agent at PATH, which says hello and what it was asked for
plays() {
  mkdir -p "$1/bin"
  cat > "$1/bin/belay-agent" << X
#!/bin/bash
export TMP=$tmp
. "$tmp/agent.sh"
echo "${1##*/} \$1 \$MACHINE" >> "$tmp/began"
banner
if [ "\$1" = confirm ]; then runs=$new; state COMMITTED 0; sleep 5; exit; fi
frame 1 version=1 agent=0.1.0 nonce=00 last_epoch=0 state=NONE open=0 "system=$new" "profile=$new" "boot_default=$new" generation=7 boot_id=b
sleep 5
X
  chmod +x "$1/bin/belay-agent"
}
plays $arm
plays $pc
is_there() { ln -sfn "$1" /nix/var/nix/gcroots/belay/agent; }
began() { cat "$tmp/began" 2> /dev/null; rm -f "$tmp/began"; }
# as status finds the nodes of a Nix file, whose systems it does not evaluate
unknown() {
  local n sep=''
  printf '{"belayFleet":1,"nodes":{'
  for n; do printf '%s"%s":{"host":"%s","successTimeout":2,"toplevel":{"drvPath":null,"path":"%s"}}' "$sep" "$n" "$n" "$new"; sep=,; done
  echo '}}'
}
unknown a1 p1 > fleet.json

# ---- commands that do not know what a host's system is for
forget
is_there $arm
run status --fleet-json fleet.json a1
exits "status of a host of another kind: 0" 0
told "status of a host of another kind: its agent answers" "a1: runs nixos-system-new"
is "status of a host of another kind: the one that fits" "$(began)" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-belay-agent serve aarch64"
is_there $pc
run status --fleet-json fleet.json p1
told "status of a host of the usual kind: its agent answers" "p1: runs nixos-system-new"
is "status of a host of the usual kind: the one that fits" "$(began)" "88888888888888888888888888888888-belay-agent serve x86_64"
is_there $pc
run status --fleet-json fleet.json a1
told "an agent of another kind on the host is none" "a1: reachable; no agent of this version"
is "an agent of another kind on the host is not started" "$(began)" ""

# ---- a kind that there is no agent for
unknown r1 a1 > kinds.json
is_there $arm
run status --fleet-json kinds.json
exits "status where an agent is missing: 1" 1
told "status where an agent is missing: the file" "r1: reachable: no agent at $tmp/share/agent/riscv64-linux/bin/belay-agent"
told "status where an agent is missing: the remedy" "next:" "install belay's agent for riscv64-linux there"
told "status where an agent is missing: the others" "a1: runs nixos-system-new"
run status --fleet-json kinds.json --json r1
check "status --json: it is reachable, and why nothing is told" \
  jq -es '.[0].reachable and (.[0].reason | contains("riscv64-linux"))' "$tmp/out"
run abort --fleet-json kinds.json r1
exits "abort where an agent is missing: 1" 1
told "abort where an agent is missing: why" "r1: not aborted: no agent at $tmp/share/agent/riscv64-linux"
run doctor --fleet-json kinds.json r1
exits "doctor where an agent is missing: 1" 1
told "doctor where an agent is missing: why" "no agent at $tmp/share/agent/riscv64-linux/bin/belay-agent"
told "doctor where an agent is missing: the remedy" "install belay's agent for riscv64-linux there"
is "no agent was started for that" "$(began)" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-belay-agent serve aarch64"
run deploy --fleet-json kinds.json r1
exits "deploy where an agent is missing: 1" 1
says "deploy where an agent is missing: why" "[r1]   reason: no agent at $tmp/share/agent/riscv64-linux/bin/belay-agent"
check "nothing was copied there" sh -c "! grep -q ' copy ' '$tmp/nix.log'"
check "nothing was left there" test ! -e /nix/var/nix/gcroots/belay/next

# ---- the agent that a host lacks is the one that is copied
rm /nix/var/nix/gcroots/belay/agent
forget
run doctor --fleet-json fleet.json a1
is "an agent is copied: the one that fits" "$(grep ' copy ' "$tmp/nix.log" | grep -o '/nix/store/[a-z0-9]*-belay-agent')" "$arm"
check "and it is what was started" grep -q "^aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-belay-agent serve aarch64" "$tmp/began"
rm -f "$tmp/began"


# ---- the fresh connection: a run whose deployer died is taken up
for h in a1 r1; do
  host $h << 'X'
if [ -n "$fresh" ]; then refuse_connection 'Connection refused'; fi
up_to_start; state WAIT_CONFIRM 1 left_ms=20000; touch "$TMP/waits.$host"; exec sleep 20
X
done
forget
"$BELAY" deploy --fleet-json kinds.json < /dev/null > "$tmp/out" 2> "$tmp/err" &
for _ in $(seq 100); do [ ! -e "$tmp/waits.a1" ] || [ ! -e "$tmp/waits.r1" ] || break; sleep 0.1; done
kill -KILL $!; { wait $!; } 2> /dev/null
: > "$tmp/ssh.log"
machine a1 aarch64
machine r1 riscv64
rm -f "$tmp/began"
run resume --fleet-json kinds.json a1
exits "resume: it is confirmed" 0
says "resume: by the agent that fits" "[a1] Successfully"
is "resume: it alone is started" "$(began)" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-belay-agent confirm aarch64"
env --default-signal=INT,TERM "$BELAY" resume --fleet-json kinds.json r1 < /dev/null > "$tmp/out" 2> "$tmp/err" &
for _ in $(seq 50); do ! grep -q -- ' r1 .*-belay-agent. confirm' "$tmp/ssh.log" || break; sleep 0.1; done
for _ in 1 2; do sleep 0.5; kill -TERM $!; done
wait $!
run log r1
told "resume: the log says that an agent is missing" "confirm" "no agent for riscv64"
is "resume: no other is started" "$(began)" ""

# ---- this machine as the host: what is for another kind is not started here
real_nix "a system of another kind"
cat > foreign.nix << X
{ config.system.build.toplevel = derivation { name = "nixos-system-foreign"; system = "riscv64-linux"; builder = "/bin/sh"; }; }
X
for verb in switch test boot; do
  run $verb -f ./foreign.nix --no-confirm
  refused "$verb here, of a system of another kind" "is for riscv64-linux, and this machine is" "--target-host"
done
done_testing
