#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# The rungs of the way back, each where it alone can help: other tests reach them only together, and the next one
# would hide that one is missing. Arguments: only these rungs.
. "$(dirname "$0")/../faults/lib.sh"

reboots() { echo $(($(boots web1) - boots)); }
# The keeper as the test's machine sees it.
keeper_pid() { pgrep --ns "$(< "$TB_STATE/web1/init.pid")" --nslist pid -f 'belay-agent keeper'; }

# R1: OLD is activated, and that is enough.
row_activate() {
  boots=$(boots web1)
  goes_back "R1 the old system is activated" activation-fails 'activation script failed' "$(new r1 --argstr activationExtra 'exit 1')"
  is "R1: no reboot was needed" "$(reboots)" 0
}

# R2: what was there before and is in no configuration; the next boot would not bring it back.
row_by_hand() {
  BELAY_LIMIT=300
  on web1 ip route add default via 10.77.0.1 dev eth0 metric 4000
  baseline web1
  boots=$(boots web1)
  goes_back "R2 a default route is put back by hand" unreachable 'activation script failed' \
    "$(new r2 --argstr activationExtra 'ip route del default metric 4000; exit 1')"
  is "R2: no reboot was needed" "$(reboots)" 0
  spoilt=1
}

# R3: never a reboot into anything but OLD. Somebody changes the boot loader's default while OLD cannot be activated.
row_default() {
  # shellcheck disable=SC2016  # for the activation
  fresh --argstr version r3old --argstr activationExtra '[ ! -e /run/fail ] || { kill -KILL $(pgrep -f bin/switch-to-configuration); sleep 1; }'
  bad=$(new r3 --argstr activationExtra 'touch /run/fail; sleep 3; exit 1')
  boots=$(boots web1)
  once_in ACTIVATING on web1 sh -c "echo 'options init=$bad/init' > /boot/loader/entries/other.conf; echo 'default other.conf' > /boot/loader/loader.conf"
  deploy web1="$bad"
  is "R3 another boot default before the reboot: exit code" "$RC" 3
  is "R3: one reboot" "$(reboots)" 1
  like "R3: what it booted" <(tail -n 1 "$TB_STATE/web1/boots") "nixos-generation-$gen.conf"
  oracle web1 ROLLED_BACK "$old" "$gen"
}

# R4: a PID 1 that stands still is not asked: reboot(2) at once.
row_deaf() {
  BELAY_LIMIT=400
  inject_ms rollback_ms 5000
  bad=$(new r4 --arg address null)
  boots=$(boots web1)
  begin "$bad"
  kill -STOP "$(< "$TB_STATE/web1/init.pid")"
  belay_wait
  is "R4 PID 1 does not answer: exit code" "$RC" 3
  like "R4: not asked" "$OUT" 'systemd did not answer'
  is "R4: one reboot" "$(reboots)" 1
  oracle web1 ROLLED_BACK "$old" "$gen"
}

# R5, R6: PID 1 stands still and reboot(2) does nothing. The watchdog is a file here; so is sysrq, where the kernel
# has one to put it over.
row_last() {
  local keeper tracer init=$TB_STATE/web1/init.pid
  command -v strace > /dev/null || { skip "R5, R6" "strace is missing"; return; }
  on web1 sh -c '
    [ ! -e /proc/sysrq-trigger ] || { : > /run/sysrq && mount --bind /run/sysrq /proc/sysrq-trigger; } || exit 1
    mountpoint -q /sys/class/watchdog || mount -t tmpfs tmpfs /sys/class/watchdog || exit 1
    mkdir -p /sys/class/watchdog/watchdog0 && cd /sys/class/watchdog/watchdog0 || exit 1
    echo "i6300ESB timer" > identity; echo inactive > state; echo 0 > nowayout
    : > /dev/watchdog; : > /dev/watchdog0' || { skip "R5, R6" "no place for a sysrq or a watchdog of our own"; spoilt=1; return; }
  bad=$(new r5 --arg address null)
  begin "$bad"
  keeper=$(keeper_pid)
  strace -f -q -e trace=sync,reboot,open,openat -e inject=reboot:error=EPERM -e signal=none -o "$TEST/last.trace" -p "$keeper" 2> /dev/null &
  tracer=$!
  kill -STOP "$(< "$init")"
  check "R5 reboot(2) does nothing: STUCK at last" wait_for 120 newer_is STUCK
  is "R4, R5: what is not written yet is written, then reboot(2), then sysrq" \
    "$(sed -n 's/^[0-9]* *\(sync\|reboot\)(.*/\1/p; s/.*"\/proc\/\(sysrq\)-trigger", O_WRONLY.*/\1/p' "$TEST/last.trace" | paste -sd' ')" "sync reboot sysrq"
  if on web1 test -e /run/sysrq; then is "R5: it was asked to reboot" "$(on web1 cat /run/sysrq)" b; fi
  kill -CONT "$(< "$init")"
  check "R6: the keeper ends" wait_for 120 keeper_gone
  like "R6: the watchdog was fed, and is not stopped" <(on web1 sh -c 'tr "\0" . < /dev/watchdog') '^\.+$'
  kill "$tracer" 2> /dev/null; wait "$tracer" 2> /dev/null
  leave
  spoilt=1
}
keeper_gone() { [ -z "$(keeper_pid)" ]; }

# The deadman is gone and the keeper stands still: systemd's own watchdog restarts it, and it goes on.
row_watchdog() {
  SUCCESS_TIMEOUT=80 BELAY_LIMIT=100
  new=$(new w1)
  inject after-WAIT_CONFIRM stop
  begin "$new" WAIT_CONFIRM
  on web1 systemctl stop "belay-deadman-$(epoch).timer"
  belay_wait
  is "WatchdogSec: a keeper that stands still is restarted and goes on" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
}

# A keeper that nobody watches is not to go on.
row_no_deadman() {
  local last
  commits "a first deployment" "$(new d1)"
  last=$(epoch)
  on web1 systemd-run --quiet --unit="belay-deadman-$((last + 1))" --on-active=1h true
  boots=$(boots web1)
  deploy web1="$(new d2 --argstr activationExtra 'sleep 3')"
  check "no deadman: not committed ($RC)" test "$RC" = 1 -o "$RC" = 3
  like "no deadman: says so" "$OUT" "could not set the deadman's timer"
  on web1 systemctl stop "belay-deadman-$((last + 1)).timer" 2> /dev/null
  oracle web1 "$(state_of web1)" "$old" "$gen"
}

rows "$@"
