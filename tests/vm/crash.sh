#!/bin/bash
# E8, E9, E10, E12, H1 with systemd-boot: what loses more than processes. Power cuts that take the
# write cache along, a panic, a frozen PID 1, a clock that jumps.
. "$(dirname "$0")/lib.sh"

up_vm vm1 11 systemd-boot
E8() {
  crash_at vm1 11 after-ACTIVATING old
  crash_at vm1 11 after-WAIT_CONFIRM old
  crash_at vm1 11 after-CONFIRMED old
  crash_at vm1 11 after-profile old
  crash_at vm1 11 after-loader new
}

# The loader's files are being written, an initrd of NEW's own among them
cut_in_installer() { # MILLISECONDS
  local new t=$1 end
  before vm1
  new=$(system vm1 11 --argstr version "cut$t" --argstr initrdKind other --argstr bootloaderExtra 'mkdir -p /run/belay; : > /run/belay/installing')
  on vm1 rm -f /run/belay/installing
  start vm1 "$new"
  check "E9 $t ms: installs" wait_for 240 on vm1 test -e /run/belay/installing
  sleep "$((t / 1000)).$(printf %03d $((t % 1000)))"
  crash vm1
  end=$(default_of vm1)
  check "E9 $t ms: boots" power_on vm1
  is "E9 $t ms: what the disk said" "$(on vm1 readlink /run/booted-system)" "$end"
  belay_wait
  check "E9 $t ms: the default is whole" whole vm1
  case $RC in
    0) oracle vm1 COMMITTED "$new" $((gen + 1)) ;;
    3) oracle vm1 ROLLED_BACK "$old" "$gen" ;;
    *) not_ok "E9 $t ms: exit code $RC" ;;
  esac
  say "# E9 $t ms: status $RC"
}
E9() { cut_in_installer 0; cut_in_installer 800; cut_in_installer 2500; }

E10() { panics vm1 11; }

# PID 1 freezes; the agent has to do without it
E12() {
  before vm1
  start vm1 "$(unreachable vm1 11 frozen)"
  check "E12: waits for the confirmation" wait_for 240 state_is vm1 WAIT_CONFIRM
  on vm1 kill -SEGV 1
  check "E12: reboots at the deadline" comes_back vm1 "$n"
  belay_wait
  is "E12: exit code of a rollback" "$RC" 3
  oracle vm1 ROLLED_BACK "$old" "$gen"
}

# Deadlines do not care what the clock says
clock() { # NAME DATE
  local ms
  before vm1
  start vm1 "$(unreachable vm1 11 "clock-$1")"
  check "H1 $1: waits for the confirmation" wait_for 240 state_is vm1 WAIT_CONFIRM
  stopwatch
  check "H1 $1: sets the clock" on vm1 date -s "$2"
  check "H1 $1: rolls back" wait_for 240 state_is vm1 'ROLLING_BACK|ROLLED_BACK'
  ms=$(elapsed)
  check "H1 $1: at the deadline, not before, not long after ($ms ms)" test "$ms" -gt 20000 -a "$ms" -lt 60000
  belay_wait
  is "H1 $1: exit code of a rollback" "$RC" 3
  oracle vm1 ROLLED_BACK "$old" "$gen"
}
H1() { clock future '+3 days'; clock past '-3 days'; clock epoch '@0'; }

rows E8 E9 E10 E12 H1
oracle_again vm1 "$(system vm1 11 --argstr version good)"
done_testing
