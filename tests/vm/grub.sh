#!/bin/bash
# The rows of crash.sh and trial.sh that depend on the boot loader, with GRUB: E8, E10, G10 to G12, G14.
# shellcheck disable=SC2016  # expanded in the guest
. "$(dirname "$0")/lib.sh"
up_vm $h 11 grub

E8() {
  crash_at after-WAIT_CONFIRM old
  crash_at after-profile old
  crash_at after-loader new
  check "E8: the system is whole" whole
}
E10() { panics; }

next_entry() { on $h grub-editenv /boot/grub/grubenv list | sed -n 's/^next_entry=//p'; }

G10() {
  SUCCESS_TIMEOUT=40 STRATEGY=boot trial 150 "$(cut_off g10)"
  goes_back "G10 NEW boots and cannot be reached" trial-unreachable "$nobody_confirmed" 2
}
G11() {
  STRATEGY=boot trial 600 "$(new g11 --argstr initrdKind other)"
  trial_commits "G11 a new initrd that boots" 1
  is "G11: no entry for one boot is left" "$(next_entry)" ""
}
G12() {
  STRATEGY=boot trial 600 "$(cut_off g12)"
  check "G12 NEW waits" waits TRIAL_WAIT
  crash $h; stopwatch
  check "G12 power loss in NEW: boots" power_on $h
  goes_back G12 power-loss 'the host restarted before it was confirmed' 2
}

# /boot on what GRUB reads and cannot write: it would boot the candidate for ever
G14() {
  on_layer "device mapper" 'is on LVM, LUKS or RAID' 'modprobe dm-mod; umount /boot
    echo "0 $(blockdev --getsz /dev/vdb1) linear /dev/vdb1 0" | dmsetup --noudevsync create boot; mount /dev/dm-0 /boot' \
    'umount /boot; dmsetup --noudevsync remove boot; mount /dev/vdb1 /boot'
  on_layer RAID 'is on LVM, LUKS or RAID' 'modprobe raid1; umount /boot
    mdadm --build /dev/md0 --force --level=1 --raid-devices=1 /dev/vdb1; mount /dev/md0 /boot' \
    'umount /boot; mdadm --stop /dev/md0; mount /dev/vdb1 /boot'
  on_layer btrfs 'is on a file system that GRUB cannot write to' 'modprobe btrfs; modprobe loop
    truncate -s 256M /root/btrfs; mkfs.btrfs -q /root/btrfs; mount -o loop /root/btrfs /mnt
    cp -a /boot/. /mnt; umount /mnt /boot; mount -o loop /root/btrfs /boot' \
    'umount /boot; rm /root/btrfs; mount /dev/vdb1 /boot'
}
on_layer() { # NAME REASON COMMANDS COMMANDS: to get there, and back
  before
  check "G14 $1: /boot is there" on $h bash -ec "$3"
  STRATEGY=boot deploy $h="$(new g14)"
  is "G14 $1: exit code" "$RC" 1
  like "G14 $1: refused" "$OUT" "reason: strategy: boot: grubenv $2"
  is "G14 $1: no entry for one boot" "$(next_entry)" ""
  check "G14 $1: and back" on $h bash -ec "$4"
}

rows E8 E10 G14 G11 G10 G12
oracle_again $h "$(new good)"
done_testing
