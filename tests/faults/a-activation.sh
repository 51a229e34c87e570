#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group A of the fault matrix: the activation.
. "$(dirname "$0")/lib.sh"
TB_MEMCG=1; export TB_MEMCG        # A8 limits the host's memory
MEMCG=/sys/fs/cgroup/memory/$TB_PREFIX-web1

# Bounded by its own depth: 1023 shells at once, each the child of another.
row_A7() {
  SWITCH_TIMEOUT=8
  # shellcheck disable=SC2016  # for the activation
  bad=$(new a7 --argstr activationExtra 'f() { if [ $1 = 9 ]; then sleep 994; else f $(($1 + 1)) & f $(($1 + 1)) & wait; fi; }; f 0')
  goes_back "A7 fork bomb" activation-hangs 'did not end in time' "$bad"
  check_not "A7: nothing of it is left" on web1 sh -c 'ps -eo args | grep -q "[s]leep 994"'
}

row_A8() {
  if [ ! -e "$MEMCG/memory.limit_in_bytes" ]; then skip "A8 memory hog" "no memory controller of version 1"; return; fi
  bad=$(new a8 --argstr activationExtra 'head -c 900M /dev/zero | tail > /dev/null; exit 1')
  echo 300M > "$MEMCG/memory.limit_in_bytes"
  goes_back "A8 memory hog" activation-fails 'activation script failed' "$bad"
  check "A8: the kernel killed it" grep -qE '^oom_kill [1-9]' "$MEMCG/memory.oom_control"
  is "A8: the agent was not restarted" "$(agent_log | grep -c 'transaction .*: ')" 1
  echo -1 > "$MEMCG/memory.limit_in_bytes"
}

row_A13() {
  # shellcheck disable=SC2016
  bad=$(new a13 --arg units "$(unit onlynew.service '[Service]\nExecStart=/bin/sleep 993\n')" \
    --argstr activationExtra 'echo onlynew.service >> /run/nixos/start-list; kill -KILL $(pgrep -f bin/switch-to-configuration); sleep 1')
  goes_back "A13 stale start-list" activation-fails 'killed by signal 9' "$bad"
  like "A13: the way back is clean" "$(newest_txn web1)/stc.log" 'of the old system: status 0'
  is "A13: it is dropped from the list" "$(on web1 sh -c 'cat /run/nixos/start-list 2> /dev/null')" ""
}

row_A15() {
  # shellcheck disable=SC2016
  fresh --argstr version a15old --argstr preSwitchCheck '[ "$(cat /run/current-system/nixos-version)" != a15bad ]'
  bad=$(new a15bad --arg address null)
  boots=$(boots web1)
  goes_back "A15 an inhibitor blocks the way back too" unreachable "$nobody_confirmed" "$bad"
  is "A15: no reboot was needed" $(($(boots web1) - boots)) 0
  # and the undoing of a commit, whose installer failed after half its work
  # shellcheck disable=SC2016
  bad=$(new a15bad --argstr bootloaderExtra 'printf "options init=%s/init\n" "$1" > /boot/loader/entries/half.conf; echo "default half.conf" > /boot/loader/loader.conf; exit 1')
  goes_back "A15 nor the undoing of a commit" commit-fails 'boot loader failed' "$bad"
  spoilt=1
}

row_A17() {
  new=$(new a17 --argstr activationExtra 'sleep 2; echo still here >&2')
  begin "$new" ACTIVATING
  # every session of the deployer, and sshd's children above them
  on web1 sh -c 'pkill -KILL -f "^sshd: root"'
  belay_wait
  is "A17 ssh is cut in the middle: goes on and is confirmed" "$RC" 0
  like "A17: the output went into a file" "$(newest_txn web1)/stc.log" 'still here'
  oracle web1 COMMITTED "$new" $((gen + 1))
}

# A system without ARGS, copied from a good one: in the deployer's store, but not whole.
truncated() {
  local good
  good=$(new "a18$1")
  ctl nix-build --no-out-link -E "derivation { name = \"nixos-system-web1-a18-$1\"; system = builtins.currentSystem;
    builder = \"/bin/sh\"; args = [ \"-c\" \"cp -a \${builtins.storePath \"$good\"} \$out; chmod -R u+w \$out; rm -rf \$out/$2\" ]; PATH = \"/bin\"; }" 2> "$TEST/truncated.log" ||
    bail "$(cat "$TEST/truncated.log")"
}
row_A18() {
  local part before
  before=$(state_of web1)
  for part in activate bin/switch-to-configuration init etc; do
    bad=$(truncated "${part##*/}" $part)
    deploy web1="$bad"
    check "A18 a system without $part: refused ($RC)" test "$RC" = 1 -o "$RC" = 2
    like "A18 a system without $part: says so" "$OUT" 'is not a NixOS system'
    oracle web1 "$before" "$old" "$gen"
  done
  # the copy is whole for Nix, and then a file of it is lost
  new=$(new a18 --argstr networkText 'lost')
  ctl nix copy --no-check-sigs --to ssh://root@web1 "$new" > "$TEST/copy.log" 2>&1
  on web1 sh -c "chmod u+w '$new/etc/systemd/system' && rm '$new/etc/systemd/system/sshd.service'"
  refused "A18 a file of the system is lost on the host" 'changed or lost' "$new"
}

row_A19() {
  # shellcheck disable=SC2016
  new=$(new a19 --argstr activationExtra 'pid() { systemctl show -p MainPID --value "$(systemctl list-units --plain --no-legend "belay-[0-9]*.service" | cut -d" " -f1)"; }
    pid > /run/a19; systemctl daemon-reexec; sleep 0.3; systemctl daemon-reexec; sleep 0.3; pid >> /run/a19')
  commits "A19 systemd executes itself again, twice" "$new"
  is "A19: the agent is the same process" "$(on web1 sort -u /run/a19 | wc -l)" 1
}

row_A20() {
  BELAY_LIMIT=300
  bad=$(new a20 --argstr activationExtra 'systemctl isolate --no-block emergency.target')
  clock isolated
  deploy web1="$bad"
  clock_stop
  if [ "$RC" = 0 ]; then state=COMMITTED sys=$bad gen=$((gen + 1)); else state=ROLLED_BACK sys=$old; fi
  check "A20 emergency.target: told as it is ($RC)" test "$RC" = 0 -o "$RC" = 3
  oracle web1 $state "$sys" "$gen"
}

row_A21() {
  bad=$(new a21 --argstr activationExtra 'systemctl mask --runtime --now dbus.socket dbus.service; exit 1')
  boots=$(boots web1)
  goes_back "A21 the bus dies in the activation" rollback-impossible 'activation script failed' "$bad"
  is "A21: only a reboot led back" $(($(boots web1) - boots)) 1
  # the same while it waits
  bad=$(new a21w --arg address null)
  once_in WAIT_CONFIRM on web1 systemctl mask --runtime --now dbus.socket dbus.service
  boots=$(boots web1)
  goes_back "A21 the bus dies while it waits" rollback-impossible . "$bad"
  is "A21: a reboot again" $(($(boots web1) - boots)) 1
}

row_A22() {
  local gone='[ "nix" "nix-env" "nix-store" "nix-daemon" "nix-copy-closure" "systemctl" "systemd-run" "sudo" "mount" "cat" "sync" "ls" ]'
  bad=$(new a22bad --arg dropPrograms "$gone" --arg address null)
  goes_back "A22 without tools and cut off" unreachable "$nobody_confirmed" "$bad"
  new=$(new a22 --arg dropPrograms "$gone")
  commits "A22 without tools, but well" "$new"
  spoilt=1                       # nothing can be copied there any more
}

# A file system of the new system's comes over /nix: nothing can be switched to any more, and nothing be read.
row_A24() {
  boots=$(boots web1)
  bad=$(new a24 --argstr activationExtra 'mkdir -p /run/nothing; mount --bind /run/nothing /nix')
  goes_back "A24 something is mounted over /nix" rollback-fails 'the new system is not the running one' "$bad"
  is "A24: a reboot cleared it" $(($(boots web1) - boots)) 1
}

# No unit of the system fails when a user's does: the status and a line of the output are all there is.
row_A23() {
  local users='[ { name = "ann"; } ]' app
  app() { printf '{ "app.service".text = "[Unit]\nConditionUser=ann\n[Service]\nType=exec\nExecStart=%s\n"; }' "$1"; }
  # shellcheck disable=SC2016  # expanded there
  runs_app() { on web1 sh -c 'XDG_RUNTIME_DIR=/run/user/$(id -u ann) setpriv --reuid ann --regid ann --init-groups systemctl --user -q is-active app.service'; }
  fresh --argstr version a23old --arg users "$users" --arg userUnits "$(app '/bin/sleep 986')"
  on web1 loginctl enable-linger ann
  check "A23 a lingering user has a unit that runs" wait_for 20 runs_app
  bad=$(new a23 --arg users "$users" --arg userUnits "$(app /nonexistent)")
  goes_back "A23 a user's unit fails" activation-fails 'user@ann.service' "$bad"
  check "A23: the old one runs again" wait_for 20 runs_app
  PLAN='"units":{"policy":"new-failures","ignore":["user@ann.service"]}'
  commits "A23: ignored as asked for" "$bad"
  like "A23: and told" "$OUT" 'ignored as asked for: user@ann.service'
  PLAN=
  commits "A23: a good one" "$(new a23good --arg users "$users" --arg userUnits "$(app '/bin/sleep 985')")"
  spoilt=1
}

rows "$@"
