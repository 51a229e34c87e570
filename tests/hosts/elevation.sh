#!/bin/bash
# A user who is not root, with sudo -n; and a host that only ~/.ssh/config knows, behind a jump host.
. "$(dirname "$0")/lib.sh"

users='[ { name = "deploy"; authorizedKeys = [ "'$(cat "$TB_CACHE"/id_ed25519.pub 2> /dev/null || cat "$TB_STATE"/ctl/home/.ssh/id_ed25519.pub)'" ]; sudo = true; } ]'
nosudo=${users/sudo = true/sudo = false}
up web1 11 --arg users "$users"
new=$(system web1 11 --arg users "$users" --argstr version b)
# shellcheck disable=SC2034  # read by write_fleet
HOST_web1=deploy@web1
probe_start web1
check "a user with sudo deploys" deploy web1="$new"
probe_stop web1
oracle web1 COMMITTED "$new" 2
check "and there is nothing to do then" belay deploy --fleet-json "$FLEET"
baseline web1

# B13: the new system takes the sudo rule away: the login works, the confirmation does not
SUCCESS_TIMEOUT=6
bad=$(system web1 11 --arg users "$nosudo" --argstr version nosudo)
deploy web1="$bad"
is "B13 sudo rule gone: rolled back" "$RC" 3
oracle web1 ROLLED_BACK "$new" 2
unset HOST_web1
SUCCESS_TIMEOUT=20

up bastion 21 --bastion
up inner 31 --segment 3
"$TB/jump-alias" behind inner bastion
new=$(system inner 31 --argstr version b)
# shellcheck disable=SC2034
HOST_inner=root@behind
probe_start inner
check "a host that only ~/.ssh/config knows, by ProxyJump" deploy inner="$new"
probe_stop inner
is "it runs the new system" "$(on inner readlink /run/current-system)" "$new"
is "and would boot it" "$(default_of inner)" "$new"
SUCCESS_TIMEOUT=6
bad=$(system inner 31 --argstr version cut --arg address null)
deploy inner="$bad"
is "cut off behind the jump host: rolled back" "$RC" 3
is "it runs the system before" "$(on inner readlink /run/current-system)" "$new"
done_testing
