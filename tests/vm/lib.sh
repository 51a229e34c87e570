# shellcheck shell=bash
# Sourced first by every test of virtual machines: the host library, with the patience that
# an emulated machine needs, and what several of these tests do.  A row of the fault matrix is a
# function of its name; the script ends with `rows E8 E9 ...`.
# shellcheck disable=SC2034  # used by the library
VM_TOOLS="qemu-system-x86_64 qemu-img mcopy mkfs.vfat grub-mkimage sfdisk cpio modprobe"
: "${BELAY_LIMIT:=1500}"
. "$(dirname "${BASH_SOURCE[0]}")/../hosts/lib.sh"
[ -n "${BELAY_DATADIR:-}" ] || export BELAY_DATADIR=$ROOT/build/share-points
exec < /dev/null                # host-shell reads an open standard input to its end
# limits that a machine reaches which has a tenth of a processor; those that a test waits for it sets itself
ORACLE_PATIENCE=60 SUCCESS_TIMEOUT=200 SWITCH_TIMEOUT=600 STRATEGY=live PATIENCE=900
nobody_confirmed='nobody confirmed over a fresh connection'

ROWS="$*"                       # SCRIPT [ROW...]: those alone
h=vm1                           # a test's only machine: it is the emulation that takes the time

# rows NAME...: runs those functions, or those of them that the command line names
rows() {
  local r watch_row
  for r in "$@"; do
    [[ " ${ROWS:-$*} " == *" $r "* ]] || continue
    say "# row $r"
    watch_row=${EPOCHREALTIME/./}
    "$r"
    say "# end $r: $(((${EPOCHREALTIME/./} - watch_row) / 1000)) ms"
  done
}

# before: remembers what the machine must come back to, as $old and $gen; $n counts its boots
before() { baseline $h; old=$(old_of $h) gen=$(generation_of $h) n=$(boots $h); }
# new VERSION [arguments]: a system; cut_off VERSION [arguments]: one that nobody gets in to, and so
# stays unconfirmed
new() { system $h 11 --argstr version "$@"; }
cut_off() { new "$1" --arg authorizedKeys '[ ]' "${@:2}"; }
# hold_at POINT: the agent of the next deployment stops there; held: it has; let_go
hold_at() { on $h sh -c "mkdir -p /run/belay; rm -f /run/belay/point.hit; echo $1 hold > /run/belay/point"; }
held() { sleep 1; on $h test -e /run/belay/point.hit; }
let_go() { on $h rm /run/belay/point.hit; }
# start SYSTEM: a deployment in the background
start() { fleet "$h=$1"; belay_start deploy --fleet-json "$FLEET"; }
waits() { wait_for $PATIENCE state_is $h "${1:-WAIT_CONFIRM}"; }
booted() { on $h readlink /run/booted-system; }

# goes_back NAME CLASS REASON BOOTS: how the deployment that was started has to end, with so many
# boots, 0 for none; tells the stopwatch's time as one of CLASS, where there is one
goes_back() {
  belay_wait
  [ -z "$2" ] || time_of "$2"
  is "$1: exit code of a rollback" "$RC" 3
  like "$1: the reason" "$OUT" "reason: .*$3"
  oracle $h ROLLED_BACK "$old" "$gen"
  is "$1: boots" "$(boots $h)" $((n + $4))
  [ "$4" = 0 ] || is "$1: OLD was booted" "$(booted)" "$old"
}
# commits NAME SYSTEM
commits() {
  before
  check "$1: committed" deploy $h="$2"
  oracle $h COMMITTED "$2" $((gen + 1))
}

# ---- power ----------------------------------------------------------------------------

# crash_at POINT old|new: power loss at a point, without anything written down in time
crash_at() {
  local point=$1 new
  before
  new=$(new "crash-$point")
  hold_at "$point"
  start "$new"
  check "E8 $point: reached" wait_for $PATIENCE held
  crash $h
  if [ "$2" = old ]; then is "E8 $point: the disk's default at that moment" "$(default_of $h)" "$old"; fi
  stopwatch
  check "E8 $point: boots" power_on $h
  if [ "$2" = old ]; then goes_back "E8 $point" power-loss 'the host restarted before' 1; return; fi
  belay_wait
  is "E8 $point: belay tells the truth" "$RC" 0
  oracle $h COMMITTED "$new" $((gen + 1))
  is "E8 $point: booted" "$(booted)" "$new"
}

# panics: E10, in the window
panics() {
  before
  start "$(cut_off panic)"
  check "E10: waits for the confirmation" waits
  panic $h; stopwatch
  goes_back E10 panic 'the host restarted before it was confirmed' 1
}

# whole: the default entry's kernel and initrd are those of its system, and every store path
# of it is what Nix copied
whole() {
  on $h bash -s << 'X'
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

# ---- boot trials: with systemd-boot, GRUB and kexec alike -----------------------------------

# trial SECONDS SYSTEM: begins one that has so long to be confirmed; the stopwatch runs from the reboot
trial() {
  new=$2 PLAN="\"bootTimeout\":$1"
  before
  start "$new"
  PLAN=''
  wait_for $PATIENCE told_or_gone 'rebooting once'
  stopwatch
  like "a trial boot begins" "$OUT" 'rebooting once'
}
told_or_gone() { grep -q "$1" "$OUT" || belay_gone; }
# trial_commits NAME BOOTS
trial_commits() {
  belay_wait
  is "$1: exit code" "$RC" 0
  oracle $h COMMITTED "$new" $((gen + 1))
  is "$1: it was booted" "$(booted)" "$new"
  is "$1: boots" "$(boots $h)" $((n + $2))
}
