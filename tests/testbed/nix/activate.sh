#!/bin/bash
# Activation: makes /etc, the host name and /run/current-system those of this
# system.  Runs on every switch and on every boot (from init).
out=@out@
status=0
trap 'status=1' ERR
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

# Few processes: in an emulated machine one costs 10 ms and more.
relink() { # target link: replace without a moment of absence
  [ -L "$2" ] && [ "$2" -ef "$1" ] && return 0
  if [ -d "$2" ] && [ ! -L "$2" ]; then rm -rf "$2"; fi
  [ -d "${2%/*}" ] || mkdir -p "${2%/*}"
  ln -sfn "$1" "$2.tmp$$" && mv -T "$2.tmp$$" "$2"
}

relink "$out/etc" /etc/static
while read -r f; do relink "/etc/static/$f" "/etc/$f"; done < "$out/etc-links"
while read -r f; do
  mode=0444; [ "$f" != sudoers ] || mode=0440
  install -D -m $mode "$out/etc/$f" "/etc/$f.tmp"
  mv -f "/etc/$f.tmp" "/etc/$f"
done < "$out/etc-copies"
# what an earlier system linked and this one does not
LC_ALL=C sort -u "$out/etc-links" "$out/etc-copies" > /etc/.testbed-new
if [ -f /etc/.testbed-files ]; then
  LC_ALL=C comm -23 /etc/.testbed-files /etc/.testbed-new | while read -r f; do rm -f "/etc/$f"; done
fi
mv -f /etc/.testbed-new /etc/.testbed-files
: > /etc/NIXOS

# The shell is the system's: a system without it locks everybody out.
shell=/run/current-system/sw/bin/bash
grep -q "^root:.*:$shell\$" /etc/passwd || usermod -s $shell root 2> /dev/null
while read -r u; do
  [ -n "$u" ] || continue
  grep -q "^$u:" /etc/passwd || useradd -m -U -p '*' -s $shell "$u"
done < "$out/users"
mkdir -p /run/wrappers/bin
for p in sudo su ping mount umount passwd; do relink "/usr/bin/$p" "/run/wrappers/bin/$p"; done

hostname -F "$out/etc/hostname"
mkdir -p /run/nixos
# -s, and synced: a crash soon after the first boot must not leave an empty key behind
if [ ! -s /etc/ssh/ssh_host_ed25519_key ]; then
  rm -f /etc/ssh/ssh_host_ed25519_key*
  ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
  sync -f /etc/ssh/ssh_host_ed25519_key
fi

trap - ERR
bash "$out/activation-extra" "$out" || status=1

relink "$out" /run/current-system
exit $status
