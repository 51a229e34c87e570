#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group G of the fault matrix: the boot loader, live.  The boot trial has tests of its own.
. "$(dirname "$0")/lib.sh"

row_G3() {
  small /boot 32
  on web1 fallocate -l 24M /boot/ballast
  refused "G3 /boot is almost full" 'space: /boot has' "$(new g3)"
  on web1 rm /boot/ballast
  bad=$(new g3late --argstr activationExtra 'dd if=/dev/zero of=/boot/ballast bs=64k; dd if=/dev/zero of=/boot/ballast2 bs=1; true')
  goes_back "G3 /boot fills up before the commit" commit-fails '(boot loader|boot)' "$bad"
  is "G3: what would boot" "$(on web1 sh -c 'sed -n "s/^default //p" /boot/loader/loader.conf')" "nixos-generation-$gen.conf"
  unsmall /boot
}

# A copy on /boot that an earlier power cut left short: installers take what is there for a good one.
row_G22() {
  local kernel='builtins.toFile "kernel" "a kernel of some length"' args
  args=(--arg lean false --arg kernel "$kernel" --arg initrd 'builtins.toFile "initrd" "an initrd, g22"')
  bad=$(new g22 "${args[@]}" --argstr bootloaderExtra 'mkdir -p /boot/EFI/nixos
    i=$(readlink -f "$1/initrd"); i=${i#/nix/store/}; i=/boot/EFI/nixos/${i//\//-}.efi
    [ -e "$i" ] || printf "an in" > "$i"')
  goes_back "G22 an initrd on /boot is cut short" commit-fails 'is not the initrd of the system' "$bad"
  on web1 sh -c 'rm -f /boot/EFI/nixos/*initrd*'
  good=$(new g22good "${args[@]}" --argstr bootloaderExtra 'true')
  commits "G22: a whole one" "$good"
  # and before the next deployment the one that would have to boot is looked at
  on web1 sh -c 'for f in /boot/EFI/nixos/*kernel*; do : > "$f"; done'
  refused "G22 the kernel of the old system is lost" 'boot default: /boot/EFI/nixos/.*kernel.efi is not the kernel' "$(new g22next)"
  spoilt=1
}

# The new system's own script makes it the boot default, unconfirmed.
row_G23() {
  bad=$(new g23 --arg authorizedKeys '[ ]' --argstr activationExtra 'cd /boot/loader/entries &&
    sed "s|init=[^ ]*/init|init=$1/init|" "$(sed -n "s/^default //p" ../loader.conf)" > own.conf &&
    printf "timeout 0\ndefault own.conf\n" > ../loader.conf')
  clock unreachable
  deploy web1="$bad"
  clock_stop
  is "G23 the default was moved in the window: exit code of a rollback" "$RC" 3
  is "G23: the old system boots again" "$(default_of web1)" "$old"
  on web1 rm -f /boot/loader/entries/own.conf
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_G5() {
  inject_ms commit_ms 4000
  bad=$(new g5 --argstr bootloaderExtra 'sleep 992')
  goes_back "G5 the installer hangs" commit-fails 'boot loader did not end in time' "$bad"
  check_not "G5: it is gone" on web1 sh -c 'ps -eo args | grep -q "[s]leep 992"'
}

# A boot menu that holds one entry a profile: the system before the last commit keeps one all the same.
in_menu() { grep -lF "init=$1/init " "$TB_STATE/web1/boot/loader/entries/"*.conf | wc -l; }
row_G19() {
  local first second bad limit=(--arg configurationLimit 1)
  fresh --argstr version g19old "${limit[@]}"
  first=$old
  commits "G19 the menu holds one entry" "$(new g19a "${limit[@]}")"
  second=$old
  is "G19: the system before has one too" "$(in_menu "$first")" 1
  # the second run of its installer is the one behind which the system before would have its entry
  bad=$(new g19bad "${limit[@]}" --argstr bootloaderExtra '[ ! -e /run/g19 ] || exit 1; : > /run/g19')
  goes_back "G19 a commit that fails late" commit-fails 'boot loader failed' "$bad"
  is "G19: the menu" "$(in_menu "$second") $(in_menu "$bad")" "1 0"
  is "G19: no profile is left for it" "$(compgen -G "$TB_STATE/web1/nix/var/nix/profiles/system-profiles/*")" ""
  commits "G19 the next one" "$(new g19b "${limit[@]}")"
  is "G19: the system before has one" "$(in_menu "$second")" 1
  is "G19: the first one has none any more" "$(in_menu "$first")" 0
  spoilt=1
}

rows "$@"
