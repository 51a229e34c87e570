#!/bin/bash
# Systems that are not built on this machine: on their own host, where they stay, and on another host, from
# which they come through here. A build that fails there changes nothing.
. "$(dirname "$0")/lib.sh"

up_all web1:11 web2:12
# the deployer's store outlives this test: only what nobody has built before shows where it is built
unique=$(date +%s)-$$

# derivation NODE INDEX VERSION [arguments]: instantiates a system; DRV and PATH_ of it
derivation() {
  local name=$1 i=$2 version=$3; shift 3
  DRV=$(ctl nix-instantiate "$TB/nix/toplevel.nix" --argstr hostName "$name" --argstr address "10.77.0.$((i + 2))/16" \
    --argstr authorizedKeys "$(< "$TB_CACHE/id_ed25519.pub")" --argstr version "$version-$unique" "$@" 2> /dev/null) ||
    bail "the system of $name does not instantiate"
  SYSTEM=$(ctl nix-store -q --outputs "$DRV")
}
# of_derivation NODE: in $FLEET the node is given as a derivation; write_fleet has only paths
of_derivation() { sed -i "s|\"drvPath\":null,\"path\":\"$SYSTEM\"|\"drvPath\":\"$DRV\",\"path\":\"$SYSTEM\"|" "$FLEET"; }
here() { ctl nix-store --check-validity "$1"; }
built_on() { on "$1" nix-store --check-validity "$2" && on "$1" nix-store --query --deriver "$2" | grep -qxF "$3"; }

# ---- on the target itself
derivation web1 11 own
fleet web1="$SYSTEM"; of_derivation
probe_start web1
check "web1 builds its own system" belay deploy --fleet-json "$FLEET" --build-host web1
probe_stop web1
like "the build there is told" "$OUT" '^build on web1: building .* \([0-9]+ of [0-9]+\)'
like "and its end" "$OUT" '^build on web1: built nixos-system-web1'
check "its system was built on web1" built_on web1 "$SYSTEM" "$DRV"
check_not "it was never here" here "$SYSTEM"
if grep -q "^\[web1\] copying path '$SYSTEM'" "$OUT"; then not_ok "it is not sent from here"; else ok "it is not sent from here"; fi
oracle web1 COMMITTED "$SYSTEM" 2
own=$SYSTEM
check "the same again is fine" belay deploy --fleet-json "$FLEET" --build-host web1
like "and there is nothing to do" "$OUT" '^\[web1\] Nothing to do'

# ---- on another host
derivation web2 12 elsewhere
fleet web2="$SYSTEM"; of_derivation
probe_start web2
check "web1 builds the system of web2" belay deploy --fleet-json "$FLEET" --build-host root@web1
probe_stop web2
check "it was built on web1" built_on web1 "$SYSTEM" "$DRV"
check "it came here" here "$SYSTEM"
like "and went on to web2" "$OUT" "^\[web2\] copying path '$SYSTEM'"
check_not "no root is left on web1" on web1 sh -c 'ls -d /nix/var/nix/gcroots/belay/build.*'
oracle web2 COMMITTED "$SYSTEM" 2
other=$SYSTEM

# ---- a build that fails there
cat > "$TEST/bad.nix" << 'X'
{ unique }: derivation {
  name = "nixos-system-bad"; system = "x86_64-linux"; builder = "/bin/sh"; inherit unique;
  args = [ "-c" "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo \"line $i of the log\"; done; echo 'no such option: foo'; exit 4" ];
}
X
DRV=$(ctl nix-instantiate "$TEST/bad.nix" --argstr unique "$unique" 2> /dev/null)
SYSTEM=$(ctl nix-store -q --outputs "$DRV")
good=$(system web2 12 --argstr version good)
fleet web1="$SYSTEM" web2="$good"; of_derivation
check_not "a build that fails on its host" belay deploy --fleet-json "$FLEET" --build-host web1
is "status 1" "$RC" 1
like "which one, and why" "$OUT" "^build on web1: nixos-system-bad failed: builder for '.*' failed with exit code 4"
like "the end of its log" "$OUT" 'line 12 of the log'
like "and the last line of it" "$OUT" 'no such option: foo'
like "where all of it is" "$OUT" "next: ssh root@web1 nix log $DRV"
is "web1: nothing is begun" "$(basename "$(newest_txn web1)")" 1
is "web2: nothing is begun either" "$(basename "$(newest_txn web2)")" 1
oracle web1 COMMITTED "$own" 2
oracle web2 COMMITTED "$other" 2
check "the log is there" sh -c "'$TB/ctl' ssh root@web1 nix log '$DRV' | grep -q 'line 1 of the log'"

# ---- what is no system is seen by the host alone
bad_drv=$DRV bad=$SYSTEM
DRV=$(ctl nix-instantiate -E 'derivation { name = "nixos-system-none"; system = "x86_64-linux"; builder = "/bin/sh";
  args = [ "-c" "PATH=/bin:/usr/bin; mkdir $out # '"$unique"'" ]; }' 2> /dev/null)
none=$(ctl nix-store -q --outputs "$DRV")
SYSTEM=$none
fleet web1="$SYSTEM"; of_derivation
check_not "a derivation that is no system" belay deploy --fleet-json "$FLEET" --build-host web1
is "no system: status 1" "$RC" 1
like "no system: web1 says so" "$OUT" "reason: system: $none is not a NixOS system: it has no activate"
oracle web1 COMMITTED "$own" 2
DRV=$bad_drv SYSTEM=$bad
fleet web1="$SYSTEM" web2="$good"; of_derivation

# ---- with --keep-going web2 goes on without it
check_not "with --keep-going" belay deploy --fleet-json "$FLEET" --build-host web1 --keep-going
is "with --keep-going: status 1" "$RC" 1
like "with --keep-going: who is left out" "$OUT" 'node web1: not built: nixos-system-bad failed'
oracle web2 COMMITTED "$good" 3
oracle web1 COMMITTED "$own" 2

# ---- a user other than root: Nix there becomes root by sudo
baseline web1; baseline web2
users='[ { name = "build"; authorizedKeys = [ "'$(< "$TB_CACHE/id_ed25519.pub")'" ]; sudo = true; } ]'
derivation web1 11 user --arg users "$users"
fleet web1="$SYSTEM"; of_derivation
check "web1 gets a user" belay deploy --fleet-json "$FLEET" --build-host web1
derivation web1 11 user2 --arg users "$users"
# shellcheck disable=SC2034  # read by write_fleet
HOST_web1=build@web1
fleet web1="$SYSTEM"; of_derivation
check "a user with sudo: web1 builds its own system" belay deploy --fleet-json "$FLEET" --build-host web1
check "it was built there" built_on web1 "$SYSTEM" "$DRV"
oracle web1 COMMITTED "$SYSTEM" 4

# ---- an interrupt stops what was begun there; the host is gone in the middle
cat > "$TEST/slow.nix" << 'X'
{ unique }: derivation {
  name = "nixos-system-slow"; system = "x86_64-linux"; builder = "/bin/sh"; inherit unique;
  args = [ "-c" "echo begun; PATH=/bin:/usr/bin; sleep 100" ];
}
X
DRV=$(ctl nix-instantiate "$TEST/slow.nix" --argstr unique "$unique" 2> /dev/null)
SYSTEM=$(ctl nix-store -q --outputs "$DRV")
unset HOST_web1
fleet web2="$SYSTEM"; of_derivation
builds_nothing() { ! on web1 pgrep -f 'sleep 100'; }
belay_start deploy --fleet-json "$FLEET" --build-host web1
check "a build is begun on web1" wait_for 30 grep -q 'building nixos-system-slow' "$OUT"
check "it runs" wait_for 10 on web1 pgrep -f 'sleep 100'
kill -INT "$BELAY_PID"
belay_wait
is "interrupted: status 130" "$RC" 130
check "interrupted: web1 stops building" wait_for 10 builds_nothing
check "interrupted: no root is left there" wait_for 5 on web1 sh -c '! ls -d /nix/var/nix/gcroots/belay/build.*'
belay_start deploy --fleet-json "$FLEET" --build-host web1
check "a build goes on on web1" wait_for 30 grep -q 'building nixos-system-slow' "$OUT"
crash web1
belay_wait
is "the build host loses its power: status 1" "$RC" 1
like "says so" "$OUT" '^belay: build on web1: the connection is lost: '
check "web1 comes back" power_on web1
oracle web2 COMMITTED "$good" 3
done_testing
