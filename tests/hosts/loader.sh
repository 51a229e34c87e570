#!/bin/bash
# The boot loader's installer fails, before and after half its work, hangs, or lies: G1 G2 G5 G6.
. "$(dirname "$0")/lib.sh"

up web1 11
old=$(old_of web1)

undone() {
  local name=$1 reason=$2 bad; shift 2
  bad=$(system web1 11 --argstr version "${name%% *}" "$@")
  clock commit-fails
  deploy web1="$bad"
  clock_stop
  is "$name: exit code of a rollback" "$RC" 3
  like "$name: reason" "$OUT" "reason: .*$reason"
  oracle web1 ROLLED_BACK "$old" 1
  check_not "$name: its generation is gone" test -e "$TB_STATE/web1/nix/var/nix/profiles/system-2-link"
}
# it fails only when it installs this very system: the way back runs the old one's installer
undone "G1 installer exits 1" 'boot loader failed \(status 1\)' --argstr bootloaderExtra 'exit 1'
undone "G2 fails after half its work" 'boot loader failed' --argstr bootloaderExtra \
  'printf "options init=%s/init\n" "$1" > /boot/loader/entries/half.conf; printf "default half.conf\n" > /boot/loader/loader.conf; exit 1'
rm -f "$TB_STATE/web1/boot/loader/entries/half.conf"
# as another program that writes there would: behind the installer, before anybody reads
undone "G6 succeeds, but another default" 'read back' --argstr bootloaderExtra \
  '(until grep -q generation-2 /boot/loader/loader.conf; do :; done; printf "default nixos-generation-1.conf\n" > /boot/loader/loader.conf) & exit 0'
oracle_again web1 "$(system web1 11 --argstr version good)"
done_testing
