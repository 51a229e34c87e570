#!/bin/bash
# E8 to E12 and G4 with systemd-boot: what loses more than processes. Power cuts that take the write
# cache along, a panic, a kernel that hangs, a frozen PID 1, an ESP that cannot be written any more.
. "$(dirname "$0")/lib.sh"
up_vm $h 11 systemd-boot

E8() {
  crash_at after-ACTIVATING old
  crash_at after-WAIT_CONFIRM old
  crash_at after-CONFIRMED old
  crash_at after-profile old
  crash_at after-loader new
}

# The loader's files are being written, an initrd of NEW's own among them
cut_in_installer() { # MILLISECONDS
  local t=$1 sys end
  before
  sys=$(new "cut$t" --argstr initrdKind other --argstr bootloaderExtra 'mkdir -p /run/belay; : > /run/belay/installing')
  on $h rm -f /run/belay/installing
  start "$sys"
  check "E9 $t ms: installs" wait_for $PATIENCE on $h test -e /run/belay/installing
  sleep "$((t / 1000)).$(printf %03d $((t % 1000)))"
  crash $h
  end=$(default_of $h)
  check "E9 $t ms: boots" power_on $h
  is "E9 $t ms: what the disk said" "$(booted)" "$end"
  belay_wait
  check "E9 $t ms: the default is whole" whole
  case $RC in
    0) oracle $h COMMITTED "$sys" $((gen + 1)) ;;
    3) oracle $h ROLLED_BACK "$old" "$gen" ;;
    *) not_ok "E9 $t ms: exit code $RC" ;;
  esac
  say "# E9 $t ms: status $RC"
}
E9() { cut_in_installer 0; cut_in_installer 800; cut_in_installer 2500; }

E10() { panics; }

# The watchdog that the keeper feeds runs out
E11() {
  before
  start "$(cut_off hang)"
  check "E11: waits for the confirmation" waits
  is "E11: the watchdog runs" "$(on $h cat /sys/class/watchdog/watchdog0/state)" active
  check "E11: the kernel hangs" "$TB/vm-hang" $h; stopwatch
  check_not "E11: and nothing answers" env TB_CONSOLE_PATIENCE=5 "$TB/host-shell" $h true
  goes_back E11 hang 'the host restarted before it was confirmed' 1
  is "E11: the watchdog is stopped" "$(on $h cat /sys/class/watchdog/watchdog0/state)" inactive
}

# PID 1 freezes; the agent has to do without it
E12() {
  before
  SUCCESS_TIMEOUT=90 start "$(cut_off frozen)"
  check "E12: waits for the confirmation" waits
  on $h kill -SEGV 1; stopwatch
  goes_back E12 hang "units cannot be asked for|$nobody_confirmed" 1
}

# The ESP turns read-only before the commit, and once more when its loader.conf names nothing any more
G4() {
  before
  hold_at before-profile
  start "$(new read-only)"
  check "G4 before the commit: reached" wait_for $PATIENCE held
  on $h mount -o remount,ro /boot; let_go
  goes_back "G4 before the commit" '' 'installing the boot loader failed' 0
  on $h mount -o remount,rw /boot

  before
  hold_at after-loader
  start "$(new half)"
  check "G4 behind the loader: reached" wait_for $PATIENCE held
  on $h sh -c "sed -i 's/^default .*/default none.conf/' /boot/loader/loader.conf; mount -o remount,ro /boot"; let_go
  belay_wait
  is "G4 it cannot be put back: exit code" "$RC" 4
  is "G4: nothing more is done" "$(state_of $h)" STUCK
  like "G4: says why" "$OUT" 'boot default cannot be put back: .*; do not reboot this host'
  check "G4: can be reached" ssh_ok $h
  is "G4: did not reboot" "$(boots $h)" "$n"
  # what the operator does
  on $h mount -o remount,rw /boot
  check "G4: mended" on $h "$old/bin/switch-to-configuration" boot
  check "G4: reboots" reboot_host $h
  check "G4: and belay told so" belay abort --fleet-json "$FLEET" $h
  oracle $h SUPERSEDED "$old" "$gen"
}

rows E8 E9 E10 E11 E12 G4
oracle_again $h "$(new good)"
done_testing
