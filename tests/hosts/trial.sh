#!/bin/bash
# Trial boots: NEW is booted once beside an untouched default, and confirmed there or left again.
# Container hosts: lib/supervise plays systemd-boot.  tests/vm has the real loaders.
. "$(dirname "$0")/lib.sh"

ONESHOT=efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
STRATEGY=boot PLAN='"bootTimeout":40'
h=web1
up $h 11
new_version() { baseline $h; new=$(system $h 11 --argstr version "$1" "${@:2}"); old=$(profile_of $h); gen=$(generation_of $h); n=$(boots $h); }
candidates() { compgen -G "$TB_STATE/$h/boot/loader/entries/*belaytrial*"; }
# entry_of N: what the N-th boot after this point started
entry_of() { tail -n +"$((n + $1))" "$TB_STATE/$h/boots" | head -n 1 | cut -d' ' -f3; }

# G11: the boot path of NEW is proved before it becomes the default
new_version g11
probe_start $h
check "G11 a trial boot that works is committed" deploy $h="$new"
probe_stop $h
oracle $h COMMITTED "$new" $((gen + 1))
is "G11 one reboot" "$(boots $h)" $((n + 1))
like "G11 by the candidate's entry" <(entry_of 1) belaytrial
is "G11 no entry of the candidate is left" "$(candidates)" ""
like "G11 the operator is told of the reboot" "$OUT" 'rebooting once into the new system'
is "G11 it is what was booted" "$(on $h readlink /run/booted-system)" "$new"

# G10: NEW boots and cannot be reached
PLAN='"bootTimeout":12'
new_version g10 --arg authorizedKeys '[ ]'
probe_start $h
clock trial-unreachable
deploy $h="$new"
clock_stop
is "G10 exit code" "$RC" 3
probe_stop $h
oracle $h ROLLED_BACK "$old" "$gen"
like "G10 the reason" "$OUT" 'reason: nobody confirmed over a fresh connection within 12 s of the trial boot'
is "G10 two reboots: into NEW and back" "$(boots $h)" $((n + 2))
is "G10 no entry of the candidate is left" "$(candidates)" ""

# a unit of NEW fails in the trial boot
PLAN='"bootTimeout":40'
new_version unit --arg units '{ "bad.service".text = "[Service]\nType=oneshot\nExecStart=/bin/false\n"; }'
deploy $h="$new"
is "a unit fails in the trial boot: exit code" "$RC" 3
oracle $h ROLLED_BACK "$old" "$gen"
like "a unit fails in the trial boot: the reason" "$OUT" 'reason: units failed .* bad.service'

# G12: power loss in NEW before the confirmation
new_version g12 --arg authorizedKeys '[ ]'
fleet $h="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 60 state_is $h TRIAL_WAIT
crash $h; power_on $h
belay_wait
is "G12 exit code" "$RC" 3
oracle $h ROLLED_BACK "$old" "$gen"

# the keeper dies in the trial boot: PID 1 brings it back, and it goes on
new_version killed
fleet $h="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 60 state_is $h 'TRIAL_CHECKING|TRIAL_WAIT'
on $h sh -c 'kill -9 $(systemctl show -p MainPID --value belay-guard.service)'
belay_wait
is "the keeper is killed in the trial boot: exit code" "$RC" 0
oracle $h COMMITTED "$new"

# G13: a loader that does not clear its one-shot
new_version g13
: > "$TB_STATE/$h/sticky-oneshot"
deploy $h="$new"
is "G13 exit code" "$RC" 3
oracle $h ROLLED_BACK "$old" "$gen"
like "G13 the reason" "$OUT" 'did not clear the one-shot'
is "G13 into NEW and back, no more" "$(boots $h)" $((n + 2))
deploy $h="$new"
is "G13 such a host is refused trial boots: exit code" "$RC" 1
like "G13 and says why, and what to do" "$OUT" 'did not clear a one-shot'
oracle $h ROLLED_BACK "$old" "$gen"
rm "$TB_STATE/$h/sticky-oneshot"; on $h rm /var/lib/belay/not-trial-safe

# G15: between one-shot and reboot
for action in kill stop; do
  new_version "g15$action"
  on $h sh -c "echo 'trial-armed $action 1' > /run/belay/point"
  deploy $h="$new"
  is "G15 $action between one-shot and reboot: exit code" "$RC" 3
  oracle $h ROLLED_BACK "$old" "$gen"
  is "G15 $action: no reboot" "$(boots $h)" "$n"
done
new_version g15abort
on $h sh -c "echo 'trial-armed sleep 3' > /run/belay/point"
fleet $h="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 60 test -e "$TB_STATE/$h/$ONESHOT"
crash $h; power_on $h
belay_wait
is "G15 power loss behind the one-shot: the trial boot has begun: exit code" "$RC" 0
oracle $h COMMITTED "$new"

# F6, G16: the journal is gone and NEW was booted
new_version g16 --arg authorizedKeys '[ ]'
fleet $h="$new"
belay_start deploy --fleet-json "$FLEET"
wait_for 60 state_is $h TRIAL_WAIT
crash $h
rm -rf "$TB_STATE/$h/upper/var/lib/belay"
# it boots NEW once more, by a one-shot that nobody knows of any more
{ printf '\7\0\0\0'; (cd "$TB_STATE/$h/boot/loader/entries" && printf '%s\0' *belaytrial*) | sed 's/./&\x00/g'; } > "$TB_STATE/$h/$ONESHOT"
n=$(boots $h)
power_on $h
comes_back $h $((n + 1))
is "G16 the guard leaves a system that nobody asked for" "$(on $h readlink /run/current-system)" "$old"
kill -INT "$BELAY_PID"; kill -INT "$BELAY_PID"; belay_wait
new_version after16
check "G16 the next deployment works" deploy $h="$new"
oracle $h COMMITTED "$new"

# G17: nobody would guard the trial boot
new_version g17
on $h sh -c 'mount --bind /etc/systemd /etc/systemd && mount -o remount,bind,ro /etc/systemd'
deploy $h="$new"
is "G17 no guard possible: exit code" "$RC" 1
like "G17 refused, with the remedy" "$OUT" 'services.belay'
oracle $h COMMITTED "$old" "$gen"
new=$(system $h 11 --argstr version g17b --arg guard true)
check "G17 a system that brings the guard itself" deploy $h="$new"
oracle $h COMMITTED "$new"
on $h umount /etc/systemd

# G20: no EFI variables
new_version g20
on $h mount -o remount,bind,ro /sys/firmware/efi/efivars
deploy $h="$new"
is "G20 EFI variables cannot be written: exit code" "$RC" 1
like "G20 refused" "$OUT" 'reason: strategy: boot: EFI variables'
on $h mount -o remount,bind,rw /sys/firmware/efi/efivars

# live+boot: a provisional confirmation, then the trial
STRATEGY=live+boot
new_version livetrial
check "live+boot that works" deploy $h="$new"
oracle $h COMMITTED "$new" $((gen + 1))
is "live+boot: one reboot" "$(boots $h)" $((n + 1))
like "live+boot: told" "$OUT" 'now a trial boot'
new_version livebad --arg authorizedKeys '[ ]'
SUCCESS_TIMEOUT=4 deploy $h="$new"
is "live+boot that is cut off live: exit code" "$RC" 3
oracle $h ROLLED_BACK "$old" "$gen"
is "live+boot that is cut off live: no reboot" "$(boots $h)" "$n"

# auto: a reboot only where it is allowed
STRATEGY=auto
new_version auto1 --arg kernelParams '[ "quiet" ]'
check "auto, other kernel parameters, no reboot allowed" deploy $h="$new"
oracle $h COMMITTED "$new"
is "auto: no reboot" "$(boots $h)" "$n"
like "auto: says what is not proven" "$OUT" 'boot path not proven: kernel-params changed'
belay status --fleet-json "$FLEET"
like "status says so too" "$OUT" 'boot not proven'
PLAN='"bootTimeout":40,"reboot":"allowed"'
new_version auto2 --arg kernelParams '[ "quiet" "x" ]'
check "auto with a reboot allowed" deploy $h="$new"
oracle $h COMMITTED "$new"
is "auto: a trial boot" "$(boots $h)" $((n + 1))
belay status --fleet-json "$FLEET"
check_not "status has nothing to say" grep -q 'boot not proven' "$OUT"
new_version auto3 --arg kernelParams '[ "quiet" "x" ]'
check "auto, nothing of the boot differs" deploy $h="$new"
is "auto: live" "$(boots $h)" "$n"

# unguarded-boot: says what it is
STRATEGY=unguarded-boot
new_version unguarded
check "unguarded-boot" deploy $h="$new"
is "unguarded-boot: OLD runs" "$(on $h readlink /run/current-system)" "$old"
is "unguarded-boot: NEW would boot" "$(default_of $h)" "$new"
like "unguarded-boot: told" "$OUT" 'not proven'
check "unguarded-boot: the reboot" reboot_host $h
is "unguarded-boot: NEW runs" "$(on $h readlink /run/current-system)" "$new"
done_testing
