#!/bin/bash
# Virtual machines, without belay: both boot loaders, their one-shot entry, panics, power cuts.
# shellcheck disable=SC2016  # expanded in the guest
. "$(dirname "$0")/lib.sh"

copy() { ctl nix copy --no-check-sigs --to "ssh://root@$1" "$2"; }
running() { on "$1" readlink /run/booted-system; }
set_once() { # HOST PROFILE: the next boot alone is the newest generation of that profile
  case $(< "$TB_STATE/$1/loader") in
    systemd-boot) on "$1" /run/current-system/sw/bin/bootctl set-oneshot "nixos-$2-generation-1.conf" ;;
    grub) on "$1" bash -c "/run/current-system/sw/bin/grub-reboot \"\$(sed -n \"/^submenu .*'$2'/,/^}/s/^menuentry \\\"\\([^\\\"]*\\)\\\".*/NixOS - Profile '$2'>\\1/p\" /boot/grub/grub.cfg | head -n1)\"" ;;
  esac
}

machine() { # NAME INDEX LOADER
  local h=$1 old new n
  stopwatch; up_vm "$@"; say "# $3: new, to the baseline: $(elapsed) ms"
  old=$(old_of "$h")
  is "$3: the boot loader's default" "$(default_of "$h")" "$old"
  is "$3: host-shell passes input, output and status" "$(echo hello | on "$h" bash -c 'cat; exit 7'; echo $?)" $'hello\n7'
  oracle "$h" NONE "$old" 1
  check "$3: QMP" "$TB/vm-qmp" "$h" '{"execute":"query-status"}'
  check "$3: a watchdog" on "$h" test -c /dev/watchdog

  # a trial: another profile's entry, once
  new=$(system "$h" "$2" --argstr version b)
  copy "$h" "$new" 2> /dev/null
  on "$h" bash -c "mkdir -p /nix/var/nix/profiles/system-profiles; nix-env -p /nix/var/nix/profiles/system-profiles/trial --set $new" 2> /dev/null
  on "$h" /run/current-system/bin/switch-to-configuration boot > "$TEST/log" 2>&1
  is "$3: a trial leaves the default alone" "$(default_of "$h")" "$old"
  check "$3: sets the one-shot entry" set_once "$h" trial
  oracle_once "$h" NONE "$old" 1 > "$TEST/bad"
  like "$3: the oracle finds the one-shot" "$TEST/bad" "O3 a one-shot boot entry is left"
  stopwatch; check "$3: reboots" reboot_host "$h"; say "# $3: reboot: $(elapsed) ms"
  is "$3: into the trial" "$(running "$h")" "$new"
  check "$3: and once more" reboot_host "$h"
  is "$3: into the default" "$(running "$h")" "$old"

  # a trial that dies, and a panic: the machine comes back by itself
  new=$(system "$h" "$2" --argstr version c --argstr initrdKind broken)
  copy "$h" "$new" 2> /dev/null
  on "$h" bash -c "rm /nix/var/nix/profiles/system-profiles/*; nix-env -p /nix/var/nix/profiles/system-profiles/trial --set $new" 2> /dev/null
  on "$h" /run/current-system/bin/switch-to-configuration boot > "$TEST/log" 2>&1
  check "$3: sets it for a kernel that will panic" set_once "$h" trial
  n=$(boots "$h")
  on "$h" systemctl reboot > /dev/null 2>&1
  check "$3: comes back" comes_back "$h" "$n"
  is "$3: with the default" "$(running "$h")" "$old"
  check "$3: it had panicked" grep -aq 'Kernel panic' "$TB_STATE/$h/console.log"
  n=$(boots "$h")
  on "$h" bash -c 'echo written > /root/unsynced; cp /root/unsynced /root/synced; sync /root/synced'
  panic "$h"
  check "$3: comes back from a panic" comes_back "$h" "$n"
  is "$3: what was synced is there" "$(on "$h" cat /root/synced)" written

  # a switch by hand, and a power cut right behind it
  new=$(system "$h" "$2" --argstr version d)
  copy "$h" "$new" 2> /dev/null
  on "$h" bash -c "nix-env -p /nix/var/nix/profiles/system --set $new && $new/bin/switch-to-configuration boot" > "$TEST/log" 2>&1
  on "$h" sync
  crash "$h"
  is "$3: off, its disk names the new default" "$(default_of "$h")" "$new"
  is "$3: and the profile" "$(profile_of "$h")" "$new"
  stopwatch; check "$3: powers on" power_on "$h"; say "# $3: power on: $(elapsed) ms"
  is "$3: the new default runs" "$(running "$h")" "$new"
  "$TB/host-down" "$h"
}
# selftest.sh [LOADER]: that one alone
[ "${1:-}" = grub ] || machine efi 11 systemd-boot
[ "${1:-}" = systemd-boot ] || machine bios 12 grub
done_testing
