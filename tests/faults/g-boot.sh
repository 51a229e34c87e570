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

row_G5() {
  inject_ms commit_ms 4000
  bad=$(new g5 --argstr bootloaderExtra 'sleep 992')
  goes_back "G5 the installer hangs" commit-fails 'boot loader did not end in time' "$bad"
  check_not "G5: it is gone" on web1 sh -c 'ps -eo args | grep -q "[s]leep 992"'
}

rows "$@"
