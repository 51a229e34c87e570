#!/bin/bash
# shellcheck disable=SC2012,SC2016,SC2086  # store paths have no blanks; the quoted $ are GRUB's
# Boot loader installer: one Boot Loader Specification entry per generation of
# the system profile (as NixOS does for systemd-boot) and, where /boot/grub is
# there, a grub.cfg with the same entries.  Default: the system given as $1.
# A system that is in no generation of the profile gets no entry (the real
# systemd-boot installer does the same), so the old default stays.
set -e
top=$1
out=@out@
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ ! -s "$out/bootloader-extra" ] || bash "$out/bootloader-extra" "$top"
e=/boot/loader/entries
mkdir -p "$e"
root=${TESTBED_ROOTDEV:-/dev/vda}
default=
keep=" "
menu=
# the system profile's generations, newest first, then those of other profiles (boot
# trials), as NixOS lists them too
for link in $(ls -d /nix/var/nix/profiles/system-*-link 2>/dev/null | sort -t- -k2 -rn) \
  $(ls -d /nix/var/nix/profiles/system-profiles/*-link 2>/dev/null); do
  n=${link%-link}; n=${n##*-}
  p=; case $link in */system-profiles/*) p=${link##*/}; p=${p%-"$n"-link}- ;; esac
  t=$(readlink -f "$link")
  [ -x "$t/init" ] || continue
  f=nixos-${p}generation-$n.conf
  opts="init=$t/init root=$root $(cat "$t/kernel-params")"
  printf 'title NixOS\nversion Generation %s %s\nlinux /vmlinuz\ninitrd /initrd.img\noptions %s\n' \
    "$n" "$(cat "$t/nixos-version")" "$opts" > "$e/$f.tmp"
  mv "$e/$f.tmp" "$e/$f"
  keep="$keep$f "
  menu+="menuentry \"${f%.conf}\" --id ${f%.conf} { linux /boot/vmlinuz console=ttyS0 panic=1 $opts; initrd /boot/initrd.img; }"$'\n'
  if [ "$t" = "$(readlink -f "$top")" ] && [ -z "$default" ]; then default=$f; fi
done
for f in "$e"/nixos-*generation-*.conf; do
  [[ $keep == *" ${f##*/} "* ]] || rm -f "$f"
done
if [ -n "$default" ]; then
  printf 'timeout 0\ndefault %s\n' "$default" > /boot/loader/loader.conf.tmp
  sync -f /boot/loader/loader.conf.tmp
  mv /boot/loader/loader.conf.tmp /boot/loader/loader.conf
  if [ -d /boot/grub ]; then
    { # grubenv's next_entry makes one-shot boots possible, as grub-reboot does
      echo 'set timeout=0'
      echo "set default=${default%.conf}"
      echo 'if [ -s $prefix/grubenv ]; then load_env; fi'
      echo 'if [ "${next_entry}" ]; then set default="${next_entry}"; set next_entry=; save_env next_entry; fi'
      echo "$menu"
    } > /boot/grub/grub.cfg.tmp
    sync -f /boot/grub/grub.cfg.tmp
    mv /boot/grub/grub.cfg.tmp /boot/grub/grub.cfg
  fi
fi
sync -f /boot/loader
