# shellcheck shell=bash
# Sourced first by every test of virtual machines: the host library, with the patience that
# an emulated machine needs, and what several of these tests do.
# shellcheck disable=SC2034  # used by the library
VM_TOOLS="qemu-system-x86_64 qemu-img mcopy mkfs.vfat grub-mkimage sfdisk cpio modprobe"
: "${BELAY_LIMIT:=1500}"
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/lib.sh"
exec < /dev/null                # host-shell reads an open standard input to its end
ORACLE_PATIENCE=60 SUCCESS_TIMEOUT=40 SWITCH_TIMEOUT=300 STRATEGY=live

ROWS="$*"                       # SCRIPT [ROW...]: those alone

# before HOST: remembers what the host must come back to, as $old and $gen; $n counts its boots
before() { baseline "$1"; old=$(old_of "$1") gen=$(generation_of "$1") n=$(boots "$1"); }
# hold_at HOST POINT: the agent of the next deployment stops there; held HOST: it has
hold_at() { on "$1" sh -c "mkdir -p /run/belay; rm -f /run/belay/point.hit; echo $2 hold > /run/belay/point"; }
held() { sleep 1; on "$1" test -e /run/belay/point.hit; }
# start HOST SYSTEM: a deployment in the background
start() { fleet "$1=$2"; belay_start deploy --fleet-json "$FLEET"; }
# unreachable HOST INDEX VERSION [arguments]: a system that nobody gets in to; so it stays unconfirmed
unreachable() { system "$1" "$2" --argstr version "$3" --arg authorizedKeys '[ ]' "${@:4}"; }

# rows NAME...: runs those functions, or those of them that the command line names
rows() {
  local r
  for r in "$@"; do [[ " ${ROWS:-$*} " != *" $r "* ]] || "$r"; done
}

# crash_at HOST INDEX POINT old|new: power loss at a point, without anything written down in time
crash_at() {
  local h=$1 point=$3 new
  before "$h"
  new=$(system "$h" "$2" --argstr version "crash-$point")
  hold_at "$h" "$point"
  start "$h" "$new"
  check "E8 $point: reached" wait_for 240 held "$h"
  crash "$h"
  if [ "$4" = old ]; then is "E8 $point: the disk's default at that moment" "$(default_of "$h")" "$old"; fi
  check "E8 $point: boots" power_on "$h"
  belay_wait
  if [ "$4" = new ]; then
    is "E8 $point: belay tells the truth" "$RC" 0
    oracle "$h" COMMITTED "$new" $((gen + 1))
  else
    is "E8 $point: belay tells the truth" "$RC" 3
    oracle "$h" ROLLED_BACK "$old" "$gen"
  fi
  is "E8 $point: booted" "$(on "$h" readlink /run/booted-system)" "$([ "$4" = new ] && echo "$new" || echo "$old")"
}

# panics HOST INDEX: E10, in the window
panics() {
  local h=$1
  before "$h"
  SUCCESS_TIMEOUT=300 start "$h" "$(unreachable "$h" "$2" panic)"
  check "E10: waits for the confirmation" wait_for 240 state_is "$h" WAIT_CONFIRM
  panic "$h"
  check "E10: comes back by itself" comes_back "$h" "$n"
  belay_wait
  is "E10: exit code of a rollback" "$RC" 3
  oracle "$h" ROLLED_BACK "$old" "$gen"
  is "E10: one boot" "$(boots "$h")" $((n + 1))
}

# whole HOST: the default entry's kernel and initrd are those of its system, and every store path
# of it is what Nix copied
whole() {
  on "$1" bash -s << 'X'
set -e
top=$(readlink -f /nix/var/nix/profiles/system) e=/boot/loader/entries
if [ -d $e ]; then
  e=$e/$(sed -n 's/^default //p' /boot/loader/loader.conf)
  top=$(sed -n 's/^options .*init=\([^ ]*\)\/init .*/\1/p' "$e")
  cmp "$top/kernel" "/boot$(sed -n 's/^linux //p' "$e")"
  cmp "$top/initrd" "/boot$(sed -n 's/^initrd //p' "$e")"
fi
nix-store --verify-path $(nix-store -qR "$top")
X
}
