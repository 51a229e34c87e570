#!/bin/bash
# `belay doctor`: what a deployment checks before its first change, and what this host would not come back from by
# itself. Its words are those of `belay deploy`, it fails where that would refuse, and it changes nothing.
. "$(dirname "$0")/lib.sh"
up web1 11
old=$(old_of web1)
new=$(system web1 11 --argstr version b)
doctor() { fleet web1="$new"; belay doctor --fleet-json "$FLEET" "$@"; }

# found FILE: what a run of doctor found wrong, one "name: text" a line; refused FILE: the same of a deployment
found() { sed -n 's/^\[web1\] failed   //p' "$1" | sort; }
refused() { sed -nE 's/^\[web1\] (  reason|note): //p' "$1" | grep -v '^not covered' | sort; }
remedies() { sed -nE 's/^\[web1\]   (remedy|next): //p' "$1"; }

# both DESC REGEX: doctor fails with a line like that, and deploy refuses with the same words and the same remedy
both() {
  local seen=$TEST/doctor.out
  doctor
  is "$1: doctor fails" "$RC" 1
  like "$1: doctor says so" "$OUT" "^\[web1\] failed   $2"
  like "$1: doctor's last word" "$OUT" '^\[web1\] A deployment would be refused'
  cp "$OUT" "$seen"
  deploy web1="$new"
  is "$1: deploy refuses" "$RC" 1
  is "$1: the same words" "$(refused "$OUT")" "$(found "$seen")"
  check "$1: the same remedy" grep -qxF -- "[web1]   remedy: $(remedies "$OUT")" "$seen"
  oracle web1 NONE "$old" 1
}

# ---- a host in good health, that belay was never at
doctor
is "healthy: status 0" "$RC" 0
like "healthy: a line for the journal" "$OUT" '^\[web1\] ok       journal: durable$'
for name in rehearsal transaction space 'boot default' 'way back' 'nobody else switches' systemd systemd-run bus session baseline; do
  like "healthy: $name" "$OUT" "^\[web1\] ok       $name: "
done
for name in panic 'hang in the kernel' 'hang in PID 1' 'hang in boot' 'hang in shutdown'; do
  like "healthy: $name is looked at" "$OUT" "^\[web1\] (ok      |warning ) $name: "
done
is "healthy: nothing failed" "$(found "$OUT")" ""
like "healthy: says so" "$OUT" '^\[web1\] Ready for a deployment$'
is "healthy: each warning has a remedy" "$(grep -c '^\[web1\]   remedy: .' "$OUT")" "$(grep -c '^\[web1\] warning ' "$OUT")"
is "healthy: a system that is not there is not judged" "$(grep -c ' system: ' "$OUT")" 0
uncovered=$(sed -n 's/^\[web1\] warning  \([^:]*\): .*/\1/p' "$OUT" | paste -sd, | sed 's/,/, /g')
check "healthy: something is not covered in a container without a watchdog" test -n "$uncovered"
oracle web1 NONE "$old" 1
is "healthy: no root holds the new system" "$(on web1 readlink /nix/var/nix/gcroots/belay/next)" ""
is "healthy: no run is in the history" "$(belay history > "$TEST/h" 2>&1; cat "$OUT")" ""

# ---- without a fleet, and for programs
belay doctor --target-host root@web1
is "--target-host: status 0" "$RC" 0
like "--target-host: says so" "$OUT" '^\[web1\] Ready for a deployment$'
belay doctor --target-host root@web1 --with-system "$old"
is "--with-system: status 0" "$RC" 0
like "--with-system: what is there is judged" "$OUT" '^\[web1\] ok       system: complete$'
belay doctor --target-host root@web1 --with-system "$new"
is "--with-system: what is not there is left out" "$RC $(grep -c ' system: ' "$OUT")" "0 0"
doctor --json
is "--json: status 0" "$RC" 0
like "--json: an item" "$OUT" '^\{"event":"item",.*"host":"web1","item":"journal","level":"ok","text":"durable","remedy":null\}$'
like "--json: the result" "$OUT" '^\{"event":"result",.*"host":"web1","outcome":"ready"'

# ---- what a deployment would refuse
on web1 mount -t tmpfs tmpfs /var/lib/belay
both "journal on tmpfs" 'journal: /var/lib/belay would not survive a reboot$'
on web1 umount /var/lib/belay

on web1 sh -c 'cp -a /boot /root/boot && mount -t tmpfs -o size=4m tmpfs /boot && cp -a /root/boot/. /boot'
both "no room for the boot loader" 'space: /boot has [0-9]+ MiB free, 16 MiB wanted$'
on web1 umount /boot

on web1 sh -c 'mv /usr/bin/systemd-run /usr/bin/systemd-run.away && printf "#!/bin/sh\necho no transient units today >&2\nexit 1\n" > /usr/bin/systemd-run && chmod +x /usr/bin/systemd-run'
both "systemd-run is broken" 'systemd-run: status 1: no transient units today$'
on web1 mv /usr/bin/systemd-run.away /usr/bin/systemd-run

on web1 sh -c "exec 9> /run/nixos/switch-to-configuration.lock && flock 9 && exec sleep 1000" > /dev/null 2>&1 3>&- &
holder=$!
wait_for 10 sh -c "! '$TB/host-shell' web1 flock -n /run/nixos/switch-to-configuration.lock true"
both "somebody else switches" 'nobody else switches: '
on web1 sh -c 'fuser -k /run/nixos/switch-to-configuration.lock || kill $(pgrep -x sleep)' > /dev/null 2>&1
wait "$holder"

other=$(system web1 11 --argstr version other)
ctl nix copy --no-check-sigs --to ssh://root@web1 "$other" > /dev/null 2>&1
on web1 sh -c "ln -sfn $other /run/current-system"
doctor
is "drifted: doctor fails" "$RC" 1
like "drifted: says what would boot" "$OUT" "^\[web1\] failed   boot default: this host runs $other but would boot $old\$"
like "drifted: the remedy" "$OUT" '^\[web1\]   remedy: reboot it .*--force-drift'
cp "$OUT" "$TEST/doctor.out"
deploy web1="$new"
is "drifted: the same words" "$(refused "$OUT")" "$(found "$TEST/doctor.out")"
on web1 sh -c "ln -sfn $old /run/current-system"

on web1 systemctl stop dbus.socket dbus.service > /dev/null 2>&1
doctor
is "no D-Bus: doctor fails" "$RC" 1
is "no D-Bus: says so first" "$(grep -m 1 ' failed ' "$OUT" | cut -c -37)" '[web1] failed   bus: status 1: Failed'
on web1 systemctl start dbus.socket dbus.service > /dev/null 2>&1

# ---- a deployment that is open
bad=$(system web1 11 --argstr version bad --argstr activationExtra 'sleep 8')
fleet web1="$bad"
belay_start deploy --fleet-json "$FLEET"
wait_for 20 state_is web1 ACTIVATING
before=$OUT
doctor
is "an open transaction: doctor fails" "$RC" 1
like "an open transaction: whose" "$OUT" '^\[web1\] failed   transaction: transaction 1 of [^ ]+@[^ ]+ is open \(ACTIVATING\)$'
OUT=$before
belay_wait
is "the deployment beside it is not disturbed" "$RC" 0
is "deploy tells in one line what is not covered" "$(grep 'not covered' "$OUT")" "[web1] note: not covered on this host: $uncovered (belay doctor web1)"
oracle web1 COMMITTED "$bad" 2

doctor
is "after a deployment: status 0" "$RC" 0
belay doctor --target-host root@nowhere
is "a host that is not there: status 1" "$RC" 1
done_testing
