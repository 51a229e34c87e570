#!/bin/bash
# Boot trials with real firmware, systemd-boot and kernels, and by kexec: G8 to G12, G18, G20, G21.
. "$(dirname "$0")/lib.sh"
up_vm $h 11 systemd-boot
did_not_come_up='the new system did not come up'

G11() {
  STRATEGY=boot trial 600 "$(new g11 --argstr initrdKind other)"
  trial_commits "G11 a new initrd that boots" 1
  check "G11: the default is whole" whole
}

G8() {
  STRATEGY=boot trial 600 "$(new g8-initrd --argstr initrdKind broken)"
  goes_back "G8 the kernel panics for want of an initrd" trial-panics "$did_not_come_up" 2
  STRATEGY=boot trial 600 "$(new g8-init --arg kernelParams '[ "init=/nope" ]')"
  goes_back "G8 there is no init" trial-panics "$did_not_come_up" 2
}

# Nothing covers a hang before the guard runs: a power cycle by hand leads back. Then the watchdog does.
G9() {
  STRATEGY=boot trial 600 "$(new g9 --argstr initrdKind hang)"
  check "G9 NEW is booted" wait_for $PATIENCE booted_since $h "$n"
  sleep 10
  crash $h
  check "G9 hangs in its initrd, power cycle: boots" power_on $h
  goes_back "G9 hangs in its initrd" '' "$did_not_come_up" 2

  STRATEGY=boot trial 600 "$(cut_off g9-late)"
  check "G9 NEW waits" waits TRIAL_WAIT
  check "G9 NEW hangs" "$TB/vm-hang" $h; stopwatch
  goes_back "G9 hangs behind its guard's start" trial-hangs 'the host restarted before it was confirmed' 2
}

G10() {
  SUCCESS_TIMEOUT=40 STRATEGY=boot trial 150 "$(cut_off g10)"
  goes_back "G10 NEW boots and cannot be reached" trial-unreachable "$nobody_confirmed" 2
}

G12() {
  STRATEGY=boot trial 600 "$(cut_off g12)"
  check "G12 NEW waits" waits TRIAL_WAIT
  crash $h; stopwatch
  check "G12 power loss in NEW: boots" power_on $h
  goes_back G12 power-loss 'the host restarted before it was confirmed' 2
}

refused() { # NAME STRATEGY REASON
  STRATEGY=$2 deploy $h="$(new refused)"
  is "$1: exit code" "$RC" 1
  like "$1: refused" "$OUT" "$3"
  is "$1: no reboot" "$(boots $h)" "$n"
}

G18() {
  before
  on $h sed -i /^default/d /boot/loader/loader.conf
  refused "G18 no default line" boot 'has no default line'
  on $h "$(profile_of $h)/bin/switch-to-configuration" boot
}

G20() {
  before
  on $h mount -o remount,ro /sys/firmware/efi/efivars
  refused "G20 EFI variables cannot be written" boot 'reason: strategy: boot: EFI variables'
  on $h mount -o remount,rw /sys/firmware/efi/efivars
}

# No firmware and no loader on the way there, both on the way back
G21() {
  STRATEGY=kexec trial 600 "$(new g21 --argstr initrdKind other)"
  trial_commits "G21 kexec to a system that is well" 0
  belay status --fleet-json "$FLEET"
  like "G21: firmware and boot loader are not proven" "$OUT" 'boot not proven'
  STRATEGY=kexec trial 600 "$(new g21-panic --argstr initrdKind broken)"
  goes_back "G21 kexec to a kernel that panics" trial-panics "$did_not_come_up" 1
  SUCCESS_TIMEOUT=40 STRATEGY=kexec trial 150 "$(cut_off g21-away)"
  goes_back "G21 kexec to a system that cannot be reached" trial-unreachable "$nobody_confirmed" 1
  before
  on $h sysctl -q kernel.kexec_load_disabled=1    # until the next boot
  refused "G21 kexec is disabled" kexec 'reason: strategy: kexec: kexec is disabled on this host'
}

rows G11 G8 G10 G12 G9 G18 G20 G21
done_testing
