#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group D of the fault matrix: the deployer, and others who work on the same host.
. "$(dirname "$0")/lib.sh"

# kill_ssh: every ssh of belay's dies, the work connection first
kill_ssh() {
  local p
  for p in $(ip netns pids "$TB_PREFIX-ctl"); do
    if [ "$(cat "/proc/$p/comm" 2> /dev/null)" = ssh ]; then kill -KILL "$p"; fi
  done
}
# cut_at NAME STATE: a good deployment whose connections are cut at that state, which lasts for a second
cut_at() {
  local name=$1 state=$2; shift 2
  new=$(new "d2$name$state")
  inject "after-$state" sleep
  once_in "$state" "$@"
  deploy web1="$new"
  is "D2 $name at $state: exit code" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
  adopt
}
row_D2() {
  local state
  SUCCESS_TIMEOUT=20
  for state in ARMED ACTIVATING WAIT_CONFIRM CONFIRMED COMMITTING; do cut_at killed $state kill_ssh; done
  for state in ACTIVATING CONFIRMED; do
    cut_at silent $state sh -c "ip -n $HUB link set $PORT down; sleep 7; ip -n $HUB link set $PORT up"
  done
  # before the start: nothing is done
  new=$(new d2copy --arg ballastMB 12)
  once_copies kill_ssh
  deploy web1="$new"
  is "D2 killed while it copies: exit code" "$RC" 1
  oracle web1 COMMITTED "$old" "$gen"
}
# once_copies COMMAND...: as soon as a piece of the copy is there
once_copies() {
  "$TB/wan-set" 1 0 0 20000
  ( trap - EXIT INT TERM HUP
    wait_for 60 compgen -G "$TB_STATE/web1/nix/store/*ballast*" && "$@"
    "$TB/wan-set" 0 ) < /dev/null > "$TEST/once.log" 2>&1 3>&- &
}

row_D3() {
  SUCCESS_TIMEOUT=4
  bad=$(new d3 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  kill -STOP "$BELAY_PID"
  check "D3 the deployer is suspended: the host goes back" wait_for 30 newer_is ROLLED_BACK
  kill -CONT "$BELAY_PID"
  belay_wait
  is "D3: told as it is" "$RC" 3
  oracle web1 ROLLED_BACK "$old" "$gen"
}

row_D5() {
  local stale
  commits "D5 a first transaction" "$(new d5a)"
  stale=$(epoch)
  cp "$(newest_txn web1)/key" "$TEST/stale.key"
  SUCCESS_TIMEOUT=20
  new=$(new d5b --argstr activationExtra 'sleep 3')
  begin "$new" ACTIVATING
  next_out
  on web1 "$(agent_of)" abort "$stale" > "$OUT" 2>&1
  like "D5 a stale abort" "$OUT" 'no keeper|has ended'
  next_out
  timeout 30 "$TB/ctl" "$FAULT_GUEST" confirm "$TEST/stale.key" - 0 ssh -o BatchMode=yes root@web1 "$(agent_of)" confirm "$stale" < /dev/null > "$OUT" 2>&1
  like "D5 a stale confirmation" "$OUT" 'state COMMITTED|refused'
  is "D5: the new one goes on" "$(epoch)" $((stale + 1))
  belay_wait
  is "D5: and is committed" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
}

row_D7() {
  local third
  SUCCESS_TIMEOUT=60     # what is seen is seen long before its end
  third=$(new d7third)
  ctl nix copy --no-check-sigs --to ssh://root@web1 "$third" > "$TEST/copy.log" 2>&1
  bad=$(new d7 --argstr activationExtra 'sleep 1')
  begin "$bad" ACTIVATING
  kill -STOP "$BELAY_PID"
  wait_for 30 newer_is WAIT_CONFIRM
  wait_for 5 on web1 sh -c '! flock -n /run/nixos/switch-to-configuration.lock true'
  on web1 "$third/bin/switch-to-configuration" test > "$TEST/third.log" 2>&1
  is "D7 another switch while it waits is shut out" $? 11
  # and one that does not care for the lock
  on web1 sh -c "rm /run/nixos/switch-to-configuration.lock; $third/bin/switch-to-configuration test" > "$TEST/third.log" 2>&1
  check "D7 one that got through: hands off" wait_for 20 newer_is SUPERSEDED
  kill -CONT "$BELAY_PID"
  belay_wait
  is "D7: told as it is" "$RC" 1
  like "D7: says so" "$OUT" 'Somebody else changed this host'
  is "D7: the other's system runs" "$(on web1 readlink /run/current-system)" "$third"
  is "D7: the boot default was not touched" "$(default_of web1)" "$old"
  spoilt=1
}

row_D8() {
  local third before
  third=$(new d8third)
  ctl nix copy --no-check-sigs --to ssh://root@web1 "$third" > "$TEST/copy.log" 2>&1
  new=$(new d8)
  inject before-COMMITTING stop
  last=$(newest_txn web1)
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  wait_for 30 newer_is CONFIRMED
  sleep 0.5
  on web1 nix-env -p /nix/var/nix/profiles/system --set "$third"
  before=$(generation_of web1)
  on web1 systemctl kill --signal=CONT "belay-$(epoch).service"
  check "D8 somebody sets the profile before the commit: hands off" wait_for 20 newer_is SUPERSEDED
  belay_wait
  is "D8: told as it is" "$RC" 1
  is "D8: the other's profile was not touched" "$(profile_of web1) $(generation_of web1)" "$third $before"
  is "D8: nor the boot loader" "$(default_of web1)" "$old"
  spoilt=1
}

rows "$@"
