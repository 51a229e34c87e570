#!/bin/bash
# shellcheck disable=SC2317  # races are called by their names
# Others who work on the same host at the worst moment: between belay's look and its start (D4 D6), between
# confirmation and commit (D8), while a commit is undone (F10), on the way back.  What is theirs stays.
# Arguments: only these races.
. "$(dirname "$0")/lib.sh"
SUCCESS_TIMEOUT=15
profiles=/nix/var/nix/profiles spoilt=1 n=0 run=/run/belay

# ready: web1 as good as new, and a system of somebody else's on it
ready() {
  if [ -n "$spoilt" ]; then
    [ ! -e "$TB_STATE/web1/kind" ] || "$TB/host-down" web1
    up web1 11
    other=$(system web1 11 --argstr version other)
    ctl nix copy --no-check-sigs --to ssh://root@web1 "$other" > "$TEST/copy.log" 2>&1
    spoilt=
  fi
  baseline web1
  n=$((n + 1)) old=$(old_of web1) gen=$(generation_of web1) last=$(newest_txn web1)
  new=$(system web1 11 --argstr version "race$n")
}
# held_at POINT [FOLDER]: deploys $new and comes back when the agent stands at that point
held_at() {
  local at=${2:-$run}
  on web1 sh -c "mkdir -p $at; rm -f $at/point.hit; echo '$1 hold' > $at/point"
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  wait_for 40 on web1 test -e "$at/point.hit" || not_ok "gets as far as $1"
}
go_on() { on web1 rm -f "${1:-$run}/point.hit"; }
set_profile() { on web1 nix-env -p $profiles/system --set "$1" > "$TEST/set.log" 2>&1; }
# refused NAME REASON: the start is, and nothing has changed
refused() {
  go_on
  belay_wait
  is "$1: exit code" "$RC" 1
  like "$1: says so" "$OUT" "reason: .*$2"
  check_not "$1: nothing was begun" begun
  spoilt=1
}
begun() { [ "$(newest_txn web1)" != "$last" ]; }
# hands_off NAME: it is theirs now, and belay says so
hands_off() {
  go_on
  belay_wait
  is "$1: exit code" "$RC" 1
  is "$1: hands off" "$(state_of web1)" SUPERSEDED
  spoilt=1
}

race_system() {
  held_at before-start
  on web1 "$other/bin/switch-to-configuration" test > "$TEST/other.log" 2>&1
  refused "another system was activated since the look" 'it runs .*other now'
}
race_generation() {
  held_at before-start
  set_profile "$other"; set_profile "$old"
  refused "the profile has another generation since the look" 'its profile is at generation 3 now'
}
race_default() {
  held_at before-start
  boot_other
  refused "another system would boot since the look" 'it would boot .*other now'
}
boot_other() {
  on web1 sh -c "echo 'options init=$other/init' > /boot/loader/entries/other.conf; echo 'default other.conf' > /boot/loader/loader.conf"
}
race_epoch() {
  held_at before-start
  on web1 sh -c 'echo 50 > /var/lib/belay/epoch'
  refused "somebody's deployment came and went since the look" 'transaction 50 was started meanwhile'
}
# Somebody confirms what never began: its number is used up, and a start that comes later is refused.
race_used_up() {
  local next
  held_at before-start
  next=$(($(basename "${last:-0}") + 1))
  # shellcheck disable=SC2016  # expanded there
  on web1 sh -c '"$(readlink /nix/var/nix/gcroots/belay/agent)/bin/belay-agent" confirm '$next < /dev/null > "$TEST/used" 2>&1
  check "a transaction that never began is confirmed: told that there is none" grep -q 'state=NONE' "$TEST/used"
  refused "a transaction that never began is confirmed" "transaction $next was started meanwhile"
}
# Two that looked at the same time: the second one's transaction is there, its keeper not yet.
race_open() {
  local at=/var/lib/belay-point first first_out
  held_at before-start
  first=$BELAY_PID first_out=$OUT
  new=$(system web1 11 --argstr version raceopen)
  held_at before-keeper $at
  go_on
  wait_for 20 grep -q 'reason:' "$first_out"
  like "a deployment began since the look: says so" "$first_out" 'reason: transaction [0-9]* of .* is open'
  go_on $at
  belay_wait
  is "a deployment began since the look: that one goes on" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
  wait "$first" 2> /dev/null
  is "a deployment began since the look: exit code" $? 1
}

race_profile() {
  held_at after-CONFIRMED
  set_profile "$other"
  hands_off "D8 the profile was set before the commit"
  is "D8: it stays as it was set" "$(profile_of web1) $(generation_of web1)" "$other $((gen + 1))"
  is "D8: so does the boot loader" "$(default_of web1)" "$old"
}
# Too late to go back, and nobody is told that it does.
race_abort() {
  on web1 sh -c 'setsid -f flock /nix/var/nix/profiles/system.lock sleep 5 > /dev/null 2>&1 < /dev/null'
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  wait_for 40 newer_commits || not_ok "gets as far as the commit"
  # shellcheck disable=SC2016  # expanded there
  on web1 sh -c '"$(readlink /nix/var/nix/gcroots/belay/agent)/bin/belay-agent" abort '"$(basename "$(newest_txn web1)")" > "$TEST/abort" 2>&1
  check "an abort while it commits: refused" grep -q 'too late: it is confirmed already' "$TEST/abort"
  belay_wait
  is "an abort while it commits: exit code" "$RC" 0
  oracle web1 COMMITTED "$new" $((gen + 1))
}
newer_commits() { begun && state_is web1 COMMITTING; }
race_running() {
  held_at before-COMMITTING
  on web1 "$other/bin/switch-to-configuration" test > "$TEST/other.log" 2>&1
  hands_off "another system was activated before the commit"
  is "another system was activated before the commit: it runs" "$(on web1 readlink /run/current-system)" "$other"
  is "another system was activated before the commit: the profile stays" "$(profile_of web1)" "$old"
}
race_undo() {
  new=$(system web1 11 --argstr version undo --argstr bootloaderExtra 'exit 1')
  held_at after-profile
  set_profile "$other"
  hands_off "the profile was set before a commit was undone"
  is "the profile was set before a commit was undone: it stays so" "$(profile_of web1)" "$other"
}
race_back() {
  new=$(system web1 11 --argstr version back --argstr activationExtra 'exit 1')
  held_at trial-left
  on web1 "$other/bin/switch-to-configuration" test > "$TEST/other.log" 2>&1
  hands_off "another system was activated before the way back"
  is "another system was activated before the way back: it runs" "$(on web1 readlink /run/current-system)" "$other"
}
# The number of the generation that we made is somebody else's by now.
race_link() {
  local link
  new=$(system web1 11 --argstr version link --argstr bootloaderExtra 'exit 1')
  held_at before-undo
  link=$(on web1 readlink $profiles/system)
  on web1 ln -sfn "$other" "$profiles/$link"
  # the profile itself is ours again, or the undoing leaves everything alone
  go_on
  belay_wait
  is "a generation took our number: exit code" "$RC" 3
  is "a generation took our number: it stays" "$(on web1 readlink "$profiles/$link")" "$other"
  spoilt=1
}
# A generation that was there before we took it again.
race_highest() {
  local top
  new=$(system web1 11 --argstr version highest --argstr bootloaderExtra 'exit 1')
  ctl nix copy --no-check-sigs --to ssh://root@web1 "$new" > "$TEST/copy.log" 2>&1
  set_profile "$new"
  top=$(on web1 readlink $profiles/system)
  on web1 nix-env -p $profiles/system --switch-generation "$gen" > "$TEST/set.log" 2>&1
  deploy web1="$new"
  is "F10 the highest generation again, and its commit fails: exit code" "$RC" 3
  is "F10: it stays" "$(on web1 readlink "$profiles/$top")" "$new"
  oracle web1 ROLLED_BACK "$old" "$gen"
}

races=("$@")
[ $# -gt 0 ] || mapfile -t races < <(compgen -A function race_ | sed 's/^race_//')
for r in "${races[@]}"; do ready; "race_$r"; done
done_testing
