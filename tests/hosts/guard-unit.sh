#!/bin/bash
# The boot guard as a unit of the system, as the NixOS module brings it: it harms neither a host without
# deployments, nor a deployment in progress, nor a boot with none open; and it can be taken away again.
. "$(dirname "$0")/lib.sh"

# shown HOST PROPERTY: of the guard's unit
shown() { on "$1" systemctl show -p "$2" --value belay-guard.service; }

up web1 11 --arg guard true
is "no deployment yet: it is there" "$(shown web1 FragmentPath)" /etc/systemd/system/belay-guard.service
is "no deployment yet: it is not started" "$(shown web1 ConditionResult)" no
is "systemd takes every line of it" "$(on web1 journalctl -q --no-pager -b | grep -c 'belay-guard.service:[0-9]*: ')" 0

new=$(system web1 11 --arg guard true --argstr version b)
check "deploys from a system with it to a system with it" deploy web1="$new"
oracle web1 COMMITTED "$new" 2

reboot_host web1
is "a boot after a deployment: it was started" "$(shown web1 ConditionResult)" yes
is "a boot after a deployment: it had nothing to do" "$(shown web1 Result) $(shown web1 ActiveState)" "success inactive"
is "a boot after a deployment: the system is up" "$(on web1 systemctl is-system-running --wait)" running
is "a boot after a deployment: the transaction is as it was" "$(state_of web1)" COMMITTED

without=$(system web1 11 --argstr version c)
check "deploys to a system without it" deploy web1="$without"
oracle web1 COMMITTED "$without" 3
is "it is gone" "$(shown web1 LoadState)" not-found

again=$(system web1 11 --arg guard true --argstr version d)
check "deploys to a system that brings it, while the agent is at work" deploy web1="$again"
oracle web1 COMMITTED "$again" 4
is "it left the agent alone" "$(shown web1 Result) $(shown web1 ActiveState)" "success inactive"
done_testing
