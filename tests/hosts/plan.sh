#!/bin/bash
# `belay plan`: what it says of a deployment is what the deployment then does, and saying it changes nothing.
. "$(dirname "$0")/lib.sh"

up_all web1:11 web2:12
old=$(old_of web1)
unique=$(date +%s)-$$ # what no host has seen
# plan_json FILTER [ARGS]: of the object of web1
plan_json() { local filter=$1; shift; "$TB/ctl" "$BELAY" plan --fleet-json "$FLEET" --json "$@" 2> "$TEST/json.err" | jq -c "select(.host == \"web1\") | $filter"; }

# ---- nothing to do
fleet web1="$old"
check "the system runs: status 0" belay plan --fleet-json "$FLEET"
like "the system runs: nothing to do" "$OUT" '^web1: runs nixos-system-web1-a, generation 1: nothing to do$'
is "the system runs: and as JSON" "$(plan_json '[.reachable,.same,.generation,.copy,.added,.removed,.changed,.rebuilt,.network,.boot.changed,.units]')" \
  '[true,true,1,{"paths":0,"bytes":0},[],[],[],0,[],[],null]'

# ---- another system: packages, what is copied, how it is reached
new=$(system web1 11 --argstr version "b-$unique" --arg ballastMB 3 --argstr sshdConfig 'ClientAliveInterval 17')
fleet web1="$new"
valid() { on web1 nix-store --check-validity "$new"; }
before=$(on web1 sh -c 'cd /nix/store && ls -d *; ls /nix/var/nix/gcroots')
check "another system: status 0" belay plan --fleet-json "$FLEET"
is "another system: nothing is there that was not" "$(on web1 sh -c 'cd /nix/store && ls -d *; ls /nix/var/nix/gcroots')" "$before"
check_not "another system: it was not copied" valid
oracle web1 NONE "$old" 1
like "another system: both by name" "$OUT" "^web1: nixos-system-web1-a \\(generation 1\\) -> nixos-system-web1-b-$unique\$"
like "another system: what could cut it off" "$OUT" '^  network:  etc/ssh/sshd_config, sshd.service$'
like "another system: nothing about the boot" "$OUT" '^  boot:     nothing changes'
like "another system: how it is tried" "$OUT" '^  strategy: live: beside the running kernel'
like "another system: what comes" "$OUT" "^    \\+ ballast 3-b-$unique\$"
like "another system: what it weighs" "$OUT" '^  closure:  .* \(\+3\.[0-9] MiB\)$'
copy=$(plan_json .copy)
is "another system: JSON" "$(plan_json '[.event,.reachable,.system_old,.system_new,.generation,.same,.network,.boot.kernel,.strategy,.units]')" \
  "[\"plan\",true,\"$old\",\"$new\",1,false,[\"etc/ssh/sshd_config\",\"sshd.service\"],false,\"live\",null]"
is "another system: JSON, what comes" "$(plan_json '.added | map(select(.name == "ballast"))')" "[{\"name\":\"ballast\",\"version\":\"3-b-$unique\"}]"
is "another system: JSON, the closures are as large as Nix says" "$(plan_json '[.closure.old_bytes, .closure.new_bytes]')" \
  "[$(ctl nix --extra-experimental-features nix-command path-info -S "$old" | awk '{ print $2 }'),$(ctl nix --extra-experimental-features nix-command path-info -S "$new" | awk '{ print $2 }')]"

# ---- the units, which the host itself tells
check "--units: status 0" belay plan --fleet-json "$FLEET" --units
like "--units: that it was copied" "$OUT" '^  units: .*the closure was copied there'
like "--units: what would be restarted" "$OUT" '^    would (restart|reload|stop|start).*sshd.service'
check "--units: the closure is there" valid
oracle web1 NONE "$old" 1
is "--units: JSON" "$(plan_json '(.units | map(select(test("would .*sshd"))) | length > 0)' --units)" true
is "--units: now nothing is to be copied" "$(plan_json .copy)" '{"paths":0,"bytes":0}'
on web1 nix-store --gc > /dev/null 2>&1
is "once it is gone, as before" "$(plan_json .copy)" "$copy"

# ---- what is copied then, and what the agent says then
on web1 sh -c 'cd /nix/store && ls -d *-*' | sort > "$TEST/before"
check "the deployment" deploy web1="$new"
on web1 sh -c 'cd /nix/store && ls -d *-*' | sort > "$TEST/after"
comm -13 "$TEST/before" "$TEST/after" | grep -v -e '-belay-agent$' | sed 's|^|/nix/store/|' > "$TEST/came"
mapfile -t came < "$TEST/came"
is "what was copied is what was planned" "{\"paths\":${#came[@]},\"bytes\":$(ctl nix-store -q --size "${came[@]}" | awk '{ n += $1 } END { print n }')}" "$copy"
is "what the agent says is unproven is what was planned" "$(grep -ohE 'boot path of the network not proven: .* changed' "$OUT" | sort -u)" \
  'boot path of the network not proven: etc/ssh/sshd_config, sshd.service changed'
oracle web1 COMMITTED "$new" 2
baseline web1
check "afterwards" belay plan --fleet-json "$FLEET"
like "afterwards there is nothing to do" "$OUT" 'generation 2: nothing to do'

# ---- what it boots
boot=$(system web1 11 --argstr version "c-$unique" --arg kernelParams '[ "quiet" ]' --argstr initInterfaceVersion "systemd 3")
fleet web1="$boot"
check "a system that boots otherwise" belay plan --fleet-json "$FLEET"
like "boots otherwise: which parts" "$OUT" '^  boot:     kernel-params, init-interface-version: the new ones run after the next reboot'
like "boots otherwise: in the agent's words" "$OUT" 'boot path not proven: kernel-params, init-interface-version changed'
like "boots otherwise: what would prove it" "$OUT" 'with .reboot. allowed'
is "boots otherwise: JSON" "$(plan_json '.boot')" '{"kernel":false,"initrd":false,"modules":false,"params":true,"changed":["kernel-params","init-interface-version"]}'
PLAN='"reboot":"allowed"'
fleet web1="$boot"
check "a reboot is allowed" belay plan --fleet-json "$FLEET"
like "a reboot is allowed: one reboot" "$OUT" '^  strategy: boot: one reboot to try it'
PLAN=''

# ---- built there, and nowhere else
drv=$(ctl nix-instantiate "$TB/nix/toplevel.nix" --argstr hostName web1 --argstr address 10.77.0.13/16 \
  --argstr authorizedKeys "$(< "$TB_CACHE/id_ed25519.pub")" --argstr version "own-$unique" 2> /dev/null)
own=$(ctl nix-store -q --outputs "$drv")
fleet web1="$own"
sed -i "s|\"drvPath\":null|\"drvPath\":\"$drv\"|" "$FLEET"
check "built on the host itself" belay plan --fleet-json "$FLEET" --build-host web1
check_not "built there: it is not here" ctl nix-store --check-validity "$own"
like "built there: nothing is copied" "$OUT" '^  copy:     nothing, it was built there'
like "built there: what goes" "$OUT" '^    - ballast 3-b-'
like "built there: what reaches it" "$OUT" '^  network:  etc/ssh/sshd_config, sshd.service'
is "built there: the closure" "$(plan_json '.closure.new_bytes > 0' --build-host web1)" true
oracle web1 COMMITTED "$new" 2

# ---- a user other than root, and a host that is down
users='[ { name = "ops"; authorizedKeys = [ "'$(< "$TB_CACHE/id_ed25519.pub")'" ]; sudo = true; } ]'
more=$(system web1 11 --argstr version "u-$unique" --arg users "$users")
check "web1 gets a user" deploy web1="$more"
baseline web1
# shellcheck disable=SC2034  # read by write_fleet
HOST_web1=ops@web1
fleet web1="$new"
check "a user with sudo" belay plan --fleet-json "$FLEET" --units
like "a user with sudo: what would be" "$OUT" '^    would '
crash web2
fleet web1="$new" web2="$(old_of web2)"
belay plan --fleet-json "$FLEET"
is "a host is down: status 1" "$RC" 1
like "a host is down: which" "$OUT" '^web2: unreachable: '
like "a host is down: the other is planned for" "$OUT" "^web1: .* -> nixos-system-web1-b-$unique"
oracle web1 COMMITTED "$more" 3
done_testing
