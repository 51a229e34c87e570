#!/bin/bash
# A watchdog that nobody feeds is fed by the keeper for the length of a transaction, and by nobody behind it. The
# device is a file here, so that what is written to it can be read: a zero byte each time, "V" to stop it.
. "$(dirname "$0")/lib.sh"
up web1 11
old=$(old_of web1)
written() { on web1 sh -c 'tr "\0" . < /dev/watchdog'; }
# device STATE NOWAYOUT: puts it there, as sysfs tells of it
device() {
  on web1 sh -c "
    mountpoint -q /sys/class/watchdog || mount -t tmpfs tmpfs /sys/class/watchdog
    mkdir -p /sys/class/watchdog/watchdog0 && cd /sys/class/watchdog/watchdog0 || exit 1
    echo 'i6300ESB timer' > identity; echo $1 > state; echo $2 > nowayout
    : > /dev/watchdog; : > /dev/watchdog0"
}
if ! device inactive 0; then skip "a watchdog of our own" "no /sys/class/watchdog in this kernel"; done_testing; fi

fleet web1="$old"
belay doctor --fleet-json "$FLEET"
like "doctor tells who is going to feed it" "$OUT" '^\[web1\] ok       hang in the kernel: i6300ESB timer, which belay feeds while a deployment is open, resets the host$'
like "doctor: PID 1" "$OUT" '^\[web1\] ok       hang in PID 1: belay.s keeper restarts the host without it while a deployment is open; i6300ESB timer, when'
like "doctor: shutdown" "$OUT" '^\[web1\] ok       hang in shutdown: systemd leaves i6300ESB timer running \(RebootWatchdogSec: 10min\)$'
is "doctor does not touch it" "$(written)" ""

new=$(system web1 11 --argstr version b --argstr activationExtra 'sleep 12')
check "a good deployment" deploy web1="$new"
like "it was fed, and stopped at the end" <(written) '^\.\.+V$'
is "no mark is left" "$(on web1 ls /run/belay | grep -c watchdog)" 0
oracle web1 COMMITTED "$new" 2

device inactive 0
on web1 sh -c 'mkdir -p /run/belay && echo "activation-ended kill 1" > /run/belay/point'
worse=$(system web1 11 --argstr version c)
fleet web1="$worse"
belay_start deploy --fleet-json "$FLEET"
wait_for 20 on web1 test -e /run/belay/watchdog
on web1 sh -c 'echo active > /sys/class/watchdog/watchdog0/state'   # as the kernel would say
belay_wait
is "the keeper is killed: it goes back" "$RC" 3
like "its successor took the device up and stopped it" <(written) 'V$'
is "and took the mark away" "$(on web1 ls /run/belay | grep -c watchdog)" 0
oracle web1 ROLLED_BACK "$new" 2

device active 0
next=$(system web1 11 --argstr version d)
check "somebody else has it: a good deployment" deploy web1="$next"
is "somebody else has it: it is not written to" "$(written)" ""
device inactive 1
next=$(system web1 11 --argstr version e)
check "it cannot be stopped: a good deployment" deploy web1="$next"
is "it cannot be stopped: it is not started" "$(written)" ""
like "it cannot be stopped: that is told" "$OUT" '^\[web1\] note: not covered on this host: .*hang in the kernel'
done_testing
