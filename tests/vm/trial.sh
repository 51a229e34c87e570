#!/bin/bash
# Boot trials with real firmware, systemd-boot and kernels: G8 to G12, G18, G20.
. "$(dirname "$0")/lib.sh"
STRATEGY=boot
h=vm1
up_vm $h 11 systemd-boot
trial() { # NAME BOOT-TIMEOUT [system arguments]: $new is started; $old, $gen, $n are before
  before $h
  new=$(system $h 11 --argstr version "$1" "${@:3}")
  PLAN="\"bootTimeout\":$2"
  stopwatch
  start $h "$new"
}
went_back() { # NAME REASON BOOTS
  belay_wait
  say "# time: $1 $(elapsed) ms"
  is "$1: exit code of a rollback" "$RC" 3
  like "$1: the reason" "$OUT" "reason: $2"
  oracle $h ROLLED_BACK "$old" "$gen"
  is "$1: OLD was booted" "$(on $h readlink /run/booted-system)" "$old"
  is "$1: boots" "$(boots $h)" $((n + $3))
}

trial g11 200 --argstr initrdKind other
belay_wait
is "G11 a new initrd that boots: exit code" "$RC" 0
oracle $h COMMITTED "$new" $((gen + 1))
is "G11 it was booted" "$(on $h readlink /run/booted-system)" "$new"
is "G11 by one reboot" "$(boots $h)" $((n + 1))
check "G11 the default is whole" whole $h

trial g8-initrd 200 --argstr initrdKind broken
went_back "G8 the kernel panics for want of an initrd" "the new system did not come up" 2
trial g8-init 200 --arg kernelParams '[ "init=/nope" ]'
went_back "G8 there is no init" "the new system did not come up" 2

trial g10 90 --arg authorizedKeys '[ ]'
went_back "G10 NEW boots and cannot be reached" "nobody confirmed" 2

trial g12 300 --arg authorizedKeys '[ ]'
check "G12 NEW waits" wait_for 240 state_is $h TRIAL_WAIT
crash $h
check "G12 power loss in NEW: boots" power_on $h
went_back "G12" "the host restarted before it was confirmed" 2

# G9: nothing covers a hang this early; a power cycle by hand leads back
trial g9 300 --argstr initrdKind hang
check "G9 NEW is booted" wait_for 240 booted_since $h "$n"
sleep 10
crash $h
check "G9 hangs in its initrd, power cycle: boots" power_on $h
went_back "G9" "the new system did not come up" 2

before $h
on $h sed -i /^default/d /boot/loader/loader.conf
new=$(system $h 11 --argstr version g18)
deploy $h="$new"
is "G18 no default line: exit code" "$RC" 1
like "G18 refused" "$OUT" 'has no default line'
on $h "$(profile_of $h)/bin/switch-to-configuration" boot
on $h mount -o remount,ro /sys/firmware/efi/efivars
deploy $h="$new"
is "G20 EFI variables cannot be written: exit code" "$RC" 1
like "G20 refused" "$OUT" 'reason: strategy: boot: EFI variables'
on $h mount -o remount,rw /sys/firmware/efi/efivars
is "no reboot for those" "$(boots $h)" "$n"
done_testing
