#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group E of the fault matrix: the agent, PID 1 and the host itself.
. "$(dirname "$0")/lib.sh"

# An OLD whose own switch-to-configuration dies as long as /run/fail is there.
# shellcheck disable=SC2016  # for the activation
broken_old='[ ! -e /run/fail ] || { kill -KILL $(pgrep -f bin/switch-to-configuration); sleep 1; }'

row_E4() {
  SWITCH_TIMEOUT=3 SUCCESS_TIMEOUT=3
  bad=$(new e4)
  inject after-WAIT_CONFIRM ping
  begin "$bad" WAIT_CONFIRM
  clock agent-frozen now
  check "E4 it pings and does nothing: the deadman ends it" wait_for 90 newer_is ROLLED_BACK
  clock_stop
  belay_wait
  is "E4: told as it is" "$RC" 3
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_E5() {
  SUCCESS_TIMEOUT=20
  new=$(new e5)
  inject after-WAIT_CONFIRM stop
  begin "$new" WAIT_CONFIRM
  on web1 systemctl stop "belay-deadman-$(epoch).timer"
  clock agent-killed now
  on web1 systemctl kill --signal=KILL "belay-$(epoch).service"
  belay_wait
  clock_stop
  is "E5 the deadman is stopped and the agent killed: goes on" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
}

row_E7() {
  BELAY_LIMIT=400
  SUCCESS_TIMEOUT=6
  bad=$(new e7 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  kill -STOP "$BELAY_PID"
  wait_for 30 newer_is WAIT_CONFIRM
  local n pid; n=$(epoch)
  pid=$(on web1 systemctl show -p MainPID --value "belay-$n.service")
  on web1 systemctl stop "belay-$n.service" > "$TEST/stop.log" 2>&1
  check "E7 systemctl stop: refused" grep -q 'may be requested by dependency only' "$TEST/stop.log"
  clock isolated now
  on web1 systemctl isolate --no-block rescue.target > /dev/null 2>&1
  wait_for 10 on web1 sh -c '! systemctl -q is-active sshd.service'
  is "E7 isolate rescue.target: the same agent" "$(on web1 systemctl show -p MainPID --value "belay-$n.service")" "$pid"
  kill -CONT "$BELAY_PID"
  belay_wait
  clock_stop
  is "E7: told as it is" "$RC" 3
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_E13() {
  SUCCESS_TIMEOUT=20
  bad=$(new e13 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  kill -STOP "$BELAY_PID"
  wait_for 30 newer_is WAIT_CONFIRM
  probe_start web1
  clock reboot now
  check "E13 the operator reboots it in the window: it comes back" reboot_host web1
  check "E13: with the old system" wait_for 20 reached
  clock_stop
  kill -CONT "$BELAY_PID"
  belay_wait
  is "E13: told as it is" "$RC" 3
  like "E13: says why" "$OUT" 'reason: the host restarted before it was confirmed'
  probe_stop web1
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_E14() {
  new=$(new e14 --arg ballastMB 16)
  "$TB/wan-set" 1 0 0 20000
  last=$(newest_txn web1)
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  wait_for 60 compgen -G "$TB_STATE/web1/nix/store/*ballast*"
  sleep 1
  clock power-loss now
  crash web1
  power_on web1
  check "E14 power loss while it copies: the old system is back" wait_for 20 reached
  clock_stop
  "$TB/wan-set" 0
  belay_wait
  is "E14: told as it is" "$RC" 1
  oracle web1 "$([ -n "$last" ] && state_of web1 || echo NONE)" "$old" "$gen"
  commits "E14: and once more" "$new"
  is "E14: the copy is whole" "$(on web1 nix-store --verify-path "$new/ballast" > /dev/null 2>&1; echo $?)" 0
}

# The way back ends in a reboot, and that does not come to its end.
row_E15() {
  BELAY_LIMIT=240
  fresh --argstr version e15old --argstr activationExtra "$broken_old"
  bad=$(new e15 --arg address null --argstr activationExtra 'touch /run/fail' \
    --arg units "$(unit hang.service '[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep infinity\nTimeoutStopSec=infinity\n')")
  boots=$(boots web1)
  goes_back "E15 the shutdown hangs" rollback-fails "$nobody_confirmed" "$bad"
  is "E15: it was reset" $(($(boots web1) - boots)) 1
}

row_E16() {
  fresh --argstr version e16old --argstr activationExtra "$broken_old"
  on web1 systemd-run --quiet --unit=inhibit systemd-inhibit --what=shutdown:idle:sleep --mode=block sleep infinity
  bad=$(new e16 --arg address null --argstr activationExtra 'touch /run/fail')
  boots=$(boots web1)
  goes_back "E16 somebody inhibits the reboot" rollback-fails "$nobody_confirmed" "$bad"
  is "E16: it rebooted" $(($(boots web1) - boots)) 1
}

row_E17() {
  fresh --argstr version e17old --argstr activationExtra "$broken_old"
  bad=$(new e17 --arg address null --argstr activationExtra 'touch /run/fail')
  boots=$(boots web1)
  goes_back "E17 the old system cannot be switched to" rollback-fails "$nobody_confirmed" "$bad"
  is "E17: one reboot led back" $(($(boots web1) - boots)) 1
  like "E17: says so" "$OUT" 'rebooted into the old system'
}

# Firmware that boots the candidate again and again, whatever its default: three reboots of ours, then a
# person has to look.
row_E18() {
  BELAY_LIMIT=240
  SUCCESS_TIMEOUT=20
  bad=$(new e18 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  kill -STOP "$BELAY_PID"
  wait_for 30 newer_is WAIT_CONFIRM
  sed "s|init=[^ ]*/init|init=$bad/init|" "$TB_STATE/web1/boot/loader/entries/nixos-generation-$gen.conf" > "$TB_STATE/web1/boot/loader/entries/once.conf"
  echo once.conf > "$TB_STATE/web1/stubborn"
  crash web1
  boots=$(boots web1)
  power_on web1
  kill -CONT "$BELAY_PID"
  belay_wait
  is "E18 it comes up with the new system for ever: exit code" "$RC" 4
  is "E18: at most three reboots of ours" "$(($(boots web1) - boots)) $(state_of web1)" "4 STUCK"
  is "E18: the boot default is the old system" "$(default_of web1)" "$old"
  rm -f "$TB_STATE/web1/stubborn"
  spoilt=1
}

rows "$@"
