#!/bin/bash
# H1, H2, E19: clocks that jump or are years apart, and a machine that sleeps. No decision may depend on
# the date; the time that a sleep takes counts.
. "$(dirname "$0")/lib.sh"
up_vm $h 11 systemd-boot
set_clock() { on $h date -s "$1"; }

jump() { # NAME DATE
  local ms
  before
  SUCCESS_TIMEOUT=60 start "$(cut_off "clock-$1")"
  check "H1 $1: waits for the confirmation" waits
  stopwatch
  check "H1 $1: sets the clock" set_clock "$2"
  check "H1 $1: rolls back" waits 'ROLLING_BACK|ROLLED_BACK'
  ms=$(elapsed)
  check "H1 $1: at the deadline, not before ($ms ms)" test "$ms" -gt 20000
  goes_back "H1 $1" '' "$nobody_confirmed" 0
}
H1() { jump future '+3 days'; jump past '-3 days'; jump 1970 @86400; set_clock "@$(date +%s)"; }

H2() {
  local years
  for years in 2 -2; do
    check "H2 $years years: sets the clock" set_clock "@$(date -d "$years years" +%s)"
    commits "H2 $years years" "$(new "years$years")"
    before
    SUCCESS_TIMEOUT=20 start "$(cut_off "years$years-bad")"
    goes_back "H2 $years years" '' "$nobody_confirmed" 0
  done
  set_clock "@$(date +%s)"
}

# /sys is read-only here, and the same for all that have it mounted
E19() {
  local ms
  before
  SUCCESS_TIMEOUT=120 start "$(cut_off sleep)"
  check "E19: waits for the confirmation" waits
  on $h sh -c 'mkdir -p /run/sys; mount -t sysfs sysfs /run/sys; mount -o remount,rw /run/sys
    { sleep 1; echo mem > /run/sys/power/state; mount -o remount,ro /run/sys; umount /run/sys; } > /run/sleep.log 2>&1 &'
  check "E19: sleeps" wait_for 60 asleep
  sleep 125
  check "E19: sleeps through the deadline" asleep
  check "E19: wakes up" "$TB/vm-qmp" $h '{"execute":"system_wakeup"}'
  stopwatch
  check "E19: rolls back" waits 'ROLLING_BACK|ROLLED_BACK'
  ms=$(elapsed)
  # not counted, the sleep would have left it about 115 s
  check "E19: at once ($ms ms)" test "$ms" -lt 80000
  goes_back E19 sleep "$nobody_confirmed" 0
}
asleep() { sleep 1; "$TB/vm-qmp" $h '{"execute":"query-status"}' | grep -q '"suspended"'; }

rows H1 H2 E19
oracle_again $h "$(new good)"
done_testing
