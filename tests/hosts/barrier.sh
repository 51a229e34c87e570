#!/bin/bash
# The prepare barrier: what fails before the switch on one of three hosts keeps all from being
# switched; with --keep-going the others go on. Two deployers at once (D4).
. "$(dirname "$0")/lib.sh"

up_all web1:11 web2:12 web3:13
for i in 1 2 3; do
  old[i]=$(old_of web$i)
  new[i]=$(system web$i 1$i --argstr version b)
done
# copying fails on web2: the database of its store cannot be written
big=$(system web2 12 --argstr version big --arg ballastMB 4)
check "web2 has the agent" belay doctor --target-host root@web2
on web2 sh -c 'mount --bind /nix/var/nix/db /nix/var/nix/db && mount -o remount,bind,ro /nix/var/nix/db
  systemctl stop nix-daemon.service' # the next one sees it
deploy web1="${new[1]}" web2="$big" web3="${new[3]}"
is "copying fails on one host: exit code" "$RC" 1
like "the host that failed is named, with what failed" "$OUT" '^\[web2\] +reason: copying the closure failed'
like "the others say why they were not switched" "$OUT" '^\[web1\] Not switched'
for i in 1 2 3; do
  is "web$i runs its old system" "$(on web$i readlink /run/current-system)" "${old[i]}"
  is "web$i: no transaction" "$(state_of web$i)" NONE
done

DEPLOY_ARGS=(--keep-going)
deploy web1="${new[1]}" web2="$big" web3="${new[3]}"
is "--keep-going: exit code" "$RC" 1
oracle web1 COMMITTED "${new[1]}" 2
is "--keep-going: web2 is as before" "$(on web2 readlink /run/current-system)" "${old[2]}"
oracle web3 COMMITTED "${new[3]}" 2
DEPLOY_ARGS=()
on web2 sh -c 'systemctl stop nix-daemon.service; umount /nix/var/nix/db'
check "web2 with its database back" deploy web2="$big"
oracle web2 COMMITTED "$big" 2

# a preflight that fails is a failed preparation as well
for i in 1 2 3; do baseline web$i; new[i]=$(system web$i 1$i --argstr version c); done
bad=$(system web2 12 --argstr version bad --argstr preSwitchCheck 'false')
deploy web1="${new[1]}" web2="$bad" web3="${new[3]}"
is "preflight fails on one host: exit code" "$RC" 1
oracle web1 COMMITTED "$(old_of web1)" 2
oracle web3 COMMITTED "$(old_of web3)" 2

# D4: two deployers at once, at several offsets: one wins, the other is told by whom
for ms in 0 100 300 600 900; do
  baseline web1
  a=$(system web1 11 --argstr version "a$ms") b=$(system web1 11 --argstr version "b$ms")
  write_fleet "$TEST/a.json" web1="$a"; write_fleet "$TEST/b.json" web1="$b"
  belay_start deploy --fleet-json "$TEST/a.json"; pid_a=$BELAY_PID out_a=$OUT
  sleep "0.$(printf %03d $ms)"
  belay_start deploy --fleet-json "$TEST/b.json"; pid_b=$BELAY_PID out_b=$OUT
  BELAY_PID=$pid_a; belay_wait; rc_a=$RC
  BELAY_PID=$pid_b; belay_wait; rc_b=$RC
  OUT=$TEST/both; cat "$out_a" "$out_b" > "$OUT"
  case "$rc_a $rc_b" in
    "0 1") win=$a ;;
    "1 0") win=$b ;;
    "0 0") win=$b; [ "$(grep -c Successfully "$OUT")" = 2 ] || win=none ;;   # one after the other
    *) win=none ;;
  esac
  is "D4 $ms ms apart: one wins ($rc_a, $rc_b)" "$(on web1 readlink /run/current-system)" "$win"
  if [ "$rc_a$rc_b" != 00 ]; then like "D4 $ms ms apart: the other is told" "$OUT" 'reason: .*(is open|meanwhile|runs .* now|profile is at|another)'; fi
  oracle web1 COMMITTED "$win"
done
done_testing
