#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group F of the fault matrix: disk, store and files.
. "$(dirname "$0")/lib.sh"

row_F1() {
  small /var/lib/belay 24
  on web1 sh -c 'fallocate -l 12M /var/lib/belay/ballast'
  refused "F1 little space for the journal" 'space: /var/lib/belay has' "$(new f1)"
  on web1 sh -c 'dd if=/dev/zero of=/var/lib/belay/ballast bs=64k' > "$TEST/dd.log" 2>&1
  refused "F1 no space at all" '.' "$(new f1)"
  unsmall /var/lib/belay
}

# The disk fills up while NEW is activated, and stays full on the way back.
row_F2() {
  disk /var/lib/belay 40 || { skip "F2" "no loop device"; return; }
  bad=$(new f2 --argstr activationExtra 'dd if=/dev/zero of=/var/lib/belay/ballast bs=64k; dd if=/dev/zero of=/var/lib/belay/ballast2 bs=1; exit 1')
  boots=$(boots web1)
  clock disk-full
  deploy web1="$bad"
  clock_stop
  is "F2 the disk is full on the way back: exit code" "$RC" 3
  is "F2: no reboot was needed" $(($(boots web1) - boots)) 0
  is "F2: the old system runs" "$(on web1 readlink /run/current-system)" "$old"
  is "F2: and boots" "$(default_of web1) $(generation_of web1)" "$old $gen"
  check "F2: reachable" ssh_ok web1
  on web1 sh -c 'rm -f /var/lib/belay/ballast*'
  oracle web1 ROLLED_BACK "$old" "$gen"
  commits "F2: and the next deployment works" "$(new f2good)"
  # somebody takes every byte that is set free, also those of the reserve
  bad=$(new f2more --argstr activationExtra 'systemd-run --quiet --unit=filler sh -c "while :; do cat /dev/zero >> /var/lib/belay/ballast; done" 2> /dev/null; sleep 1; exit 1')
  boots=$(boots web1)
  clock disk-full
  deploy web1="$bad"
  clock_stop
  on web1 sh -c 'systemctl stop filler; rm -f /var/lib/belay/ballast*; systemctl reset-failed filler' 2> /dev/null
  check "F2 nothing at all can be written: the old system runs" reached
  is "F2: no reboot was needed" $(($(boots web1) - boots)) 0
  is "F2: told as it is" "$RC" 3
  spoilt=1
}

# The kernel takes a file system with an error read-only: nothing can be recorded any more.
row_F3() {
  disk /var/lib/belay 40 || { skip "F3" "no loop device"; return; }
  SUCCESS_TIMEOUT=8
  bad=$(new f3 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  kill -STOP "$BELAY_PID"
  wait_for 30 newer_is WAIT_CONFIRM
  echo 1 > "/sys/fs/ext4/$(basename "$DISK")/trigger_fs_error"
  check_not "F3 nothing can be written" on web1 touch /var/lib/belay/x
  clock read-only now
  kill -CONT "$BELAY_PID"
  belay_wait
  check "F3 read-only before the confirmation: the old system is back" wait_for 60 reached
  clock_stop
  check "F3: never told as committed" test "$RC" != 0
  is "F3: told as rolled back" "$RC" 3
  is "F3: boots the old system" "$(default_of web1) $(generation_of web1)" "$old $gen"
  # as a reboot would find it after its check of the disk
  crash web1
  power_on web1
  next_out
  belay status --fleet-json "$FLEET"
  is "F3: and after a reboot" "$(on web1 readlink /run/current-system)" "$old"
  commits "F3: the next deployment works" "$(new f3good)"
  spoilt=1
}

row_F4() {
  local state
  for state in ARMED ACTIVATING CHECKING WAIT_CONFIRM CONFIRMED; do
    bad=$(new "f4$state")
    inject "before-$state" eio
    deploy web1="$bad"
    # before anything was done it is refused, later it goes back
    if [ "$(state_of web1)" = REFUSED ]; then want=1; else want=3; fi
    is "F4 an I/O error when $state is written: exit code" "$RC" $want
    check_not "F4: $state was not gone into" grep -qE "(^| )$state" "$(newest_txn web1)/agent.log"
    oracle web1 "$(state_of web1)" "$old" "$gen"
  done
  # the undoing must not need it
  bad=$(new f4loader --argstr bootloaderExtra "echo 'before-ROLLING_BACK eio' > /run/belay/point; exit 1")
  goes_back "F4 an I/O error when the way back is written" commit-fails 'boot loader failed' "$bad"
}

row_F5() {
  local kind
  SUCCESS_TIMEOUT=15
  # while it waits: the agent dies and finds it
  for kind in truncated flipped future; do
    bad=$(new "f5$kind" --argstr activationExtra 'sleep 1')
    begin "$bad" ACTIVATING
    kill -STOP "$BELAY_PID"
    wait_for 30 newer_is WAIT_CONFIRM
    damage $kind
    on web1 systemctl kill --signal=KILL "belay-$(epoch).service"
    check "F5 $kind while it waits: goes back" wait_for 30 newer_is ROLLED_BACK
    kill -CONT "$BELAY_PID"; belay_wait
    is "F5 $kind: told as it is" "$RC" 3
    check "F5 $kind: kept aside" test -e "$(newest_txn web1)/state.broken"
    oracle web1 ROLLED_BACK "$old" "$gen"
  done
  # while it is off
  for kind in zeros large; do
    bad=$(new "f5$kind" --argstr activationExtra 'sleep 1')
    begin "$bad" ACTIVATING
    kill -STOP "$BELAY_PID"
    wait_for 30 newer_is WAIT_CONFIRM
    crash web1
    damage $kind
    power_on web1
    kill -CONT "$BELAY_PID"; belay_wait
    is "F5 $kind at a boot: told as it is" "$RC" 3
    oracle web1 ROLLED_BACK "$old" "$gen"
  done
  # long after a commit: NEW stays
  commits "F5 a good one" "$(new f5good)"
  damage empty
  belay status --fleet-json "$FLEET"
  reboot_host web1
  is "F5 of a committed one: the new system stays" "$(on web1 readlink /run/current-system) $(default_of web1)" "$old $old"
  commits "F5 of a committed one: the next deployment works" "$(new f5next)"
}

# The journal is covered or lost in the same boot, and the keeper dies: what the roots know leads back.
row_F15() {
  local how
  for how in 'mount -t tmpfs tmpfs /var/lib/belay' 'rm -rf /var/lib/belay/txn/*'; do
    bad=$(new "f15${how%% *}" --argstr activationExtra "$how")
    inject activation-ended kill
    last=$(newest_txn web1)
    fleet web1="$bad"
    belay_start deploy --fleet-json "$FLEET"
    check "F15 $how: the old system runs again" wait_for 60 back_again
    leave
    check "F15: reachable" ssh_ok web1
    is "F15: and it boots" "$(default_of web1) $(generation_of web1)" "$old $gen"
    check "F15: nothing of ours runs on" wait_for 30 on web1 sh -c '! systemctl -q is-active "belay-[0-9]*.service"'
    on web1 sh -c '! mountpoint -q /var/lib/belay || umount /var/lib/belay'
    # a journal that is there again is closed by whoever looks
    belay status --fleet-json "$FLEET"
    check "F15: it is closed" wait_for 90 state_is web1 'ROLLED_BACK|NONE'
    commits "F15: the next deployment works" "$(new "f15good${how%% *}")"
  done
}
back_again() { [ ! -e "$TB_STATE/web1/upper/run/belay/point" ] && on web1 test ! -e /run/belay/point && [ "$(on web1 readlink /run/current-system)" = "$old" ]; }

row_F6() {
  SUCCESS_TIMEOUT=15
  bad=$(new f6 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  kill -STOP "$BELAY_PID"
  wait_for 30 newer_is WAIT_CONFIRM
  crash web1
  rm -rf "$TB_STATE/web1/upper/var/lib/belay"
  power_on web1
  kill -CONT "$BELAY_PID"; belay_wait
  is "F6 the journal is lost: told as it is" "$RC" 1
  like "F6: says so" "$OUT" 'reason: .*journal was lost'
  oracle web1 NONE "$old" "$gen"
  commits "F6: the next deployment works" "$(new f6good)"
}

# Collected without a pause.  A collection that had begun before the copy sees none of its roots and may take
# it away: then nothing is changed.  The boot loader's installer may look at a generation that goes away: then it goes
# back.  The next try may do better.
row_F7() {
  local i
  SUCCESS_TIMEOUT=20
  collect 0
  new=$(new f7good --arg ballastMB 8)
  for i in 1 2 3 4 5 6; do
    deploy web1="$new"
    [ "$RC" != 0 ] || break
    check "F7 collected under our hands: the old system runs ($RC)" reached
  done
  is "F7 collected all the time: committed at last" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
  adopt
  SUCCESS_TIMEOUT=5
  bad=$(new f7bad --arg address null)
  for i in 1 2 3 4 5 6; do
    deploy web1="$bad"
    [ "$RC" = 1 ] || break
  done
  is "F7 collected all the time: a bad one goes back" "$RC" 3
  check "F7: the last collection ends" stop_collecting
  oracle web1 ROLLED_BACK "$old" "$gen"
}

# A collection that goes on and on: whoever registers a root has to ask it, and it does not answer.
row_F8() {
  local bad; bad=$(new f8)
  inject_ms commit_ms 4000
  inject after-CONFIRMED sleep
  # the copy is over by then, and is not what is to be kept waiting
  once_in CONFIRMED on web1 sh -c 'mkdir -p /nix/var/nix/gc-socket
    setsid -f flock /nix/var/nix/gc.lock sleep 991 > /dev/null 2>&1 < /dev/null
    systemd-run --quiet --unit=collector --socket-property=ListenStream=/nix/var/nix/gc-socket/socket sleep infinity'
  clock commit-fails
  deploy web1="$bad"
  clock_stop
  # the oracle has questions that wait for it too
  on web1 sh -c 'systemctl stop collector.socket collector.service; pkill -f "sleep [9]91"'
  is "F8 a collection holds the lock: exit code of a rollback" "$RC" 3
  like "F8: reason" "$OUT" 'reason: .*set the profile [^:]*: no end in time'
  oracle web1 ROLLED_BACK "$old" "$gen"
  commits "F8: and when it has ended" "$(new f8good)"
}

row_F9() {
  # shellcheck disable=SC2016
  bad=$(new f9 --argstr bootloaderExtra 'nix-env -p /nix/var/nix/profiles/system --delete-generations old > /dev/null; exit 1')
  goes_back "F9 the old generation's link is deleted in the window" commit-fails 'boot loader failed' "$bad"
  is "F9: the link is there again" "$(readlink "$TB_STATE/web1/nix/var/nix/profiles/system-$gen-link")" "$old"
}

row_F10() {
  local before=$old first=$gen again
  again=$(new f10 --argstr bootloaderExtra '[ ! -e /run/fail ] || exit 1')
  commits "F10 a system" "$again"
  # back to the one before by hand; its successor stays the highest generation
  on web1 sh -c "nix-env -p /nix/var/nix/profiles/system --switch-generation $first && $before/bin/switch-to-configuration switch && touch /run/fail" > "$TEST/back.log" 2>&1
  adopt
  goes_back "F10 the highest generation again, its loader fails" commit-fails 'boot loader failed' "$again"
  is "F10: its generation is not deleted" "$(readlink "$TB_STATE/web1/nix/var/nix/profiles/system-$((first + 1))-link")" "$again"
  on web1 rm /run/fail
  commits "F10 and again, well" "$again"
  is "F10: under the number it had" "$gen" $((first + 1))
}

row_F11() {
  local i
  new=$(new f11 --arg ballastMB 12)
  "$TB/wan-set" 1 0 0 40000
  for i in 1 2 3; do
    fleet web1="$new"
    belay_start deploy --fleet-json "$FLEET"
    wait_for 60 compgen -G "$TB_STATE/web1/nix/store/*ballast*"
    sleep "0.$((RANDOM % 9))"
    kill -KILL "$BELAY_PID"; belay_wait
  done
  "$TB/wan-set" 0
  commits "F11 copied after three torn copies" "$new"
  is "F11: whole" "$(on web1 sh -c "nix-store --verify-path $new/ballast" > /dev/null 2>&1; echo $?)" 0
}

# What a power cut leaves of files that Nix did not flush: their names with nothing in them.
row_F12() {
  new=$(new f12 --argstr activationExtra true)
  ctl nix copy --no-check-sigs --to ssh://root@web1 "$new" > "$TEST/copy.log" 2>&1
  crash web1
  : > "$TB_STATE/web1$new/activate"
  power_on web1
  refused "F12 a file of the system is empty since a power cut" 'changed or lost' "$new"
}

# /etc that cannot take the unit for the next boot: live works all the same.
row_F13() {
  on web1 touch /etc/systemd/system.attached
  commits "F13 no place for the unit of the next boot" "$(new f13)"
  on web1 rm /etc/systemd/system.attached
}

rows "$@"
