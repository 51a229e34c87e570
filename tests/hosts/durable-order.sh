#!/bin/bash
# I8, I18: what is on disk when. Three deployments are traced: one that is committed, one whose commit is undone,
# one that is booted for trial, up to its reboot. A ledger is kept of what was written and not flushed yet; whenever
# something is done that relies on it, nothing may be left in the ledger. Then: a rename that never reached the disk.
# Arguments: only these of good, undo, trial, lie.
. "$(dirname "$0")/lib.sh"
command -v strace > /dev/null || { say "1..0 # SKIP strace is missing"; tap_done=1; exit 0; }
LC_ALL=C; export LC_ALL

# trace FILE COMMAND...: the system calls that count, of PID 1 and all below it while COMMAND runs
trace() {
  local out=$1 tracer pids; shift
  mapfile -t pids < <(pgrep --ns "$init" --nslist pid .)
  strace --decode-pids=pidns -f -y -q -s 400 -e signal=none \
    -e trace=execve,fork,vfork,clone,clone3,write,fsync,fdatasync,syncfs,rename,renameat,symlink,symlinkat,unlink,mkdir,sendto,connect \
    -o "$out" "${pids[@]/#/-p}" 2> /dev/null &
  tracer=$!
  wait_for 30 traced_by $tracer "${pids[@]}" || bail "strace does not get hold of the host's processes"
  "$@"
  kill $tracer 2> /dev/null; wait $tracer 2> /dev/null
}
# traced_by TRACER PID...: all that are still there
traced_by() {
  local tracer=$1 p; shift
  for p; do [ ! -e "/proc/$p/status" ] || grep -q "^TracerPid:	$tracer\$" "/proc/$p/status" || return 1; done
}
# ledger OLD NEW FILE: a trace as one event a line, of the agent and of what it runs, but not of what
# switch-to-configuration does. "lost ..." is something that was relied on before it was on disk.
ledger() {
  awk -v old="$1" -v new="$2" '
    function say(what) { print what }
    function lost(class, what) { print "lost " class ": " what }
    function dir(path) { sub(/\/[^\/]*$/, "", path); return path }
    # not the profile of a trial: its entry in /boot names the system itself, which has roots of its own
    function kept(path) {
      return path ~ /^\/var\/lib\/belay|gcroots\/belay\/(old|new|agent)-|^\/nix\/var\/nix\/profiles\/system($|-[0-9])|\/system\.attached/
    }
    function arg(n,   a) { a = call; while (n--) sub(/^[^"]*"[^"]*"/, "", a); sub(/^[^"]*"/, "", a); sub(/".*/, "", a); return a }
    function fd_path(a) { a = call; sub(/^[^<]*</, "", a); sub(/>.*/, "", a); return a }
    # something is done that relies on all that was written before
    function relies(what,   p) {
      for (p in names) lost(p ~ /profiles/ ? "profile" : p ~ /gcroots/ ? "roots" : p ~ /systemd/ ? "unit" : "journal", "folder " p " before " what)
      say(what)
    }
    function put(path) { if (kept(path)) names[dir(path)] = 1 }
    function refers(what) { if (copied) lost("store", "copied and not flushed before " what) }
    function recorded() {
      if (boot && written ~ /^(COMMITTED|ROLLED_BACK|ROLLING_BACK|TRIAL_REBOOT)$/) lost("loader", "/boot before the record says " written)
      say("durable " written)
    }
    function event(   to, from, a) {
      if (call ~ /^execve\(/) {
        a = call; sub(/, 0x[0-9a-f]+ .*/, "", a)
        if (a ~ /switch-to-configuration/) {
          theirs[pid] = 1; ours[pid] = 0
          if (a ~ /"check"/) return
          relies("exec " (index(a, new "/bin") ? "NEW" : "OLD") " " (a ~ /"boot"/ ? "boot" : "test"))
          if (a ~ /"boot"/) boot = 1
        } else if (a ~ /bin\/nix-env/) relies("exec nix-env " arg(2))
        else if (a ~ /--unit=belay-[0-9]/) relies("exec keeper")
        else if (a ~ /--unit=belay-deadman-/) relies("exec deadman")
        else if (a ~ /"set-oneshot"/) relies("exec set-oneshot " (a ~ /"set-oneshot", ""/ ? "none" : "NEW"))
        else if (a ~ /systemctl.*"reboot"/) relies("exec reboot")
      } else if (call ~ /^write\(/) {
        to = fd_path()
        if (!kept(to)) return
        if (to ~ /\/state\.new$/ && match(call, /state=[A-Z_]+/)) written = substr(call, RSTART + 6, RLENGTH - 6)
        bytes[to] = 1
      } else if (call ~ /^fsync\(/) {
        to = fd_path()
        delete bytes[to]; delete names[to]
        if (written && renamed && to ~ /\/txn\/[0-9]+$/) { recorded(); written = ""; renamed = 0 }
        say("fsync " to)
      } else if (call ~ /^syncfs\(/) {
        to = fd_path()
        if (to ~ /^\/nix\/store/) copied = 0
        if (to ~ /^\/boot/) boot = 0
        say("syncfs " to)
      } else if (call ~ /^rename/) {
        from = arg(0); to = arg(1)
        if (call ~ /^renameat/) { from = fd_path() "/" from; to = fd_path() "/" to }
        if (from in bytes) { lost("bytes", from " before its name"); delete bytes[from] }
        if (kept(to) && from == to) lost("bytes", to " is written in its own place")
        if (to ~ /gcroots\/belay\/new-|profiles\/system-[0-9]+-link$/ && from in target && target[from] == new) refers(to)
        if (to ~ /gcroots\/belay\/agent$/) refers(to)
        put(to)
        if (to ~ /\/txn\/[0-9]+\/state$/) renamed = 1
        say("rename " to)
      } else if (call ~ /^symlink/) {
        to = arg(1); target[to] = arg(0)
        say("symlink " to)
      } else if (call ~ /^unlink\(/) { say("unlink " arg(0)) }
      else if (call ~ /^mkdir\(/) { put(arg(0)); say("mkdir " arg(0)) }
      else if (call ~ /^sendto\(/ && call ~ /provisional=/) relies("answer OK")
      # what the host is sent, Nix writes for us
      else if (call ~ /^connect\(/ && call ~ /nix\/daemon-socket/) { copied = 1; say("copy") }
    }
    # a child may be seen before its fork is told: the lines of a process that nobody knows yet wait for that
    function wait() { early[pid, ++waiting[pid]] = pid " " call }
    function handle(line,   child, i, n) {
      pid = line; sub(/ .*/, "", pid); call = line; sub(/^[0-9]+ +/, "", call)
      if (call ~ /<unfinished \.\.\.>$/) { sub(/ *<unfinished \.\.\.>$/, "", call); open[pid] = call; return }
      if (call ~ /^<\.\.\. [a-z0-9_]+ resumed>/) { sub(/^<\.\.\. [a-z0-9_]+ resumed>/, "", call); call = open[pid] call }
      if (match(call, /[0-9]+ in strace/) && call ~ /^(clone3?|v?fork)\(/) {
        child = substr(call, RSTART, RLENGTH - 10)
        if (ours[pid]) ours[child] = 1
        else if (theirs[pid]) theirs[child] = 1
        else { wait(); return }
        n = waiting[child]; delete waiting[child]
        for (i = 1; i <= n; i++) { handle(early[child, i]); delete early[child, i] }
        return
      }
      if (call !~ / = [0-9]+(<[^>]*>)?( .*)?$/) return            # it failed
      if (call ~ /^execve\("[^"]*\/bin\/belay-agent"/) { ours[pid] = 1; theirs[pid] = 0 }
      if (ours[pid]) event()
      else if (!theirs[pid]) wait()
    }
    { handle($0) }
    ' "$3" > "$EVENTS" || bail "the trace cannot be read"
}
# nothing_lost NAME: one line for each kind of thing
nothing_lost() {
  local class
  local -A what=([bytes]="a file's bytes are flushed before it gets its name" [journal]="the journal's folder is flushed before the next step"
    [roots]="roots are flushed before the next step" [profile]="the profile's folder is flushed before the next step"
    [unit]="the unit for the next boot is flushed before the next step" [store]="the store is flushed before anything refers to what came"
    [loader]="the boot loader's files are flushed before the record relies on them")
  for class in bytes journal roots profile unit store loader; do
    grep "^lost $class: " "$EVENTS" | sort -u | diag
    check_not "$1: ${what[$class]}" grep -q "^lost $class: " "$EVENTS"
  done
}
# in_order DESC REGEX...: there are such events, each behind the one before
in_order() {
  local desc=$1 re from=1 at; shift
  for re; do
    at=$(tail -n +$from "$EVENTS" | grep -m 1 -nE -- "$re")
    [ -n "$at" ] || { say "# '$re' is not there behind line $((from - 1)) of the events"; grep -nE 'durable|exec|answer|copy|syncfs' "$EVENTS" | tail -n 40 | diag; not_ok "$desc"; return; }
    from=$((from + ${at%%:*}))
  done
  ok "$desc"
}
# ahead DESC REGEX LATER: the first event of the one kind is ahead of the first of the other
ahead() {
  local a b
  a=$(grep -m 1 -nE -- "$2" "$EVENTS"); b=$(grep -m 1 -nE -- "$3" "$EVENTS")
  check "$1" test -n "$a" -a -n "$b" -a "${a%%:*}" -lt "${b%%:*}"
}
is_there() { check "$1" grep -qE -- "$2" "$EVENTS"; }

# ready VERSION ARGS...: a system to deploy, to a host that had a deployment before
ready() {
  if [ -z "$(newest_txn web1)" ]; then deploy web1="$(system web1 11 --argstr version a2)"; fi
  baseline web1
  new=$(system web1 11 --argstr version "$@")
  old=$(old_of web1) gen=$(generation_of web1) init=$(< "$TB_STATE/web1/init.pid")
}

# A first deployment, with the agent's first contact.
part_good() {
  local s
  old=$(old_of web1) new=$(system web1 11 --argstr version b) init=$(< "$TB_STATE/web1/init.pid")
  trace "$TEST/good.trace" deploy web1="$new"
  is "good: deployed under the tracer" "$RC" 0
  ledger "$old" "$new" "$TEST/good.trace"
  nothing_lost good
  for s in PREPARED ARMED ACTIVATING CHECKING WAIT_CONFIRM CONFIRMED COMMITTING COMMITTED; do is_there "good: $s is made durable" "^durable $s$"; done
  ahead "good: OLD, NEW and agent are rooted before the record" '^rename .*/agent-1$' '^durable PREPARED'
  is_there "good: OLD is rooted" '^rename .*gcroots/belay/old-1$'
  is_there "good: NEW is rooted" '^rename .*gcroots/belay/new-1$'
  ahead "good: the record is durable before the keeper starts" '^durable PREPARED' '^exec keeper'
  ahead "good: the deadman is set before the activation" '^exec deadman' '^exec NEW test'
  ahead "good: ACTIVATING is durable before the activation" '^durable ACTIVATING' '^exec NEW test'
  ahead "good: CONFIRMED is durable before the deployer is told" '^durable CONFIRMED' '^answer OK'
  ahead "good: CONFIRMED is durable before the profile changes" '^durable CONFIRMED' '^rename /nix/var/nix/profiles/system'
  ahead "good: the unit for the next boot is there before the profile changes" '^rename .*wants/belay-guard.service' '^rename /nix/var/nix/profiles/system'
  ahead "good: the profile is durable before the boot loader" '^fsync /nix/var/nix/profiles$' '^exec NEW boot'
  in_order "good: boot loader, its flush, the record" '^exec NEW boot' '^syncfs /boot' '^durable COMMITTED'
  is "good: OLD stays rooted until the next commit" "$(on web1 readlink /nix/var/nix/gcroots/belay/previous)" "$old"
  oracle web1 COMMITTED "$new" 2
}
# A commit whose boot loader cannot be installed, and that is undone.
part_undo() {
  ready undo --argstr bootloaderExtra 'exit 1'
  trace "$TEST/undo.trace" deploy web1="$new"
  is "undo: rolled back under the tracer" "$RC" 3
  ledger "$old" "$new" "$TEST/undo.trace"
  nothing_lost undo
  ahead "undo: NEW is rooted before it is copied" '^rename .*gcroots/belay/next$' '^copy$'
  in_order "undo: the profile goes back behind the confirmation" '^durable CONFIRMED' '^exec NEW boot' '^symlink /nix/var/nix/profiles/system.new' '^rename /nix/var/nix/profiles/system$' '^fsync /nix/var/nix/profiles$' '^exec OLD boot'
  in_order "undo: the boot loader goes back before the confirmation is taken away" '^exec OLD boot' '^syncfs /boot' '^durable ROLLING_BACK'
  ahead "undo: the confirmation is not taken away before that" '^exec OLD boot' '^durable ROLLING_BACK'
  ahead "undo: the generation that was made goes last" '^exec OLD boot' "^unlink /nix/var/nix/profiles/system-$((gen + 1))-link"
  in_order "undo: OLD is activated behind it" '^durable ROLLING_BACK' '^exec OLD test' '^durable ROLLED_BACK'
  oracle web1 ROLLED_BACK "$old" "$gen"
}
# A trial boot, traced up to its reboot.
part_trial() {
  ready trial
  STRATEGY=boot PLAN='"bootTimeout":40'
  trace "$TEST/trial.trace" deploy web1="$new"
  STRATEGY=live PLAN=''
  is "trial: committed" "$RC" 0
  ledger "$old" "$new" "$TEST/trial.trace"
  nothing_lost trial
  in_order "trial: the candidate's entry is flushed before the record" '^exec OLD boot' '^syncfs /boot' '^durable TRIAL_REBOOT'
  in_order "trial: TRIAL_REBOOT is durable before the one-shot, that before the reboot" '^durable TRIAL_REBOOT' '^exec set-oneshot NEW' '^exec reboot'
  ahead "trial: no one-shot before that" '^durable TRIAL_REBOOT' '^exec set-oneshot NEW'
  ahead "trial: the unit for the next boot is there before the one-shot" '^rename .*wants/belay-guard.service' '^exec set-oneshot NEW'
  oracle web1 COMMITTED "$new" $((gen + 1))
}
# A disk that lies: the rename of the record that says CONFIRMED does nothing and says that it did.
part_lie() {
  local keeper tracer
  ready lie
  on web1 sh -c 'mkdir -p /run/belay; rm -f /run/belay/point.hit; echo "before-CONFIRMED hold" > /run/belay/point'
  fleet web1="$new"
  belay_start deploy --fleet-json "$FLEET"
  wait_for 120 on web1 test -e /run/belay/point.hit || not_ok "lie: gets as far as the confirmation"
  keeper=$(pgrep --ns "$init" --nslist pid -f 'belay-agent keeper')
  strace -q -e trace=renameat -e inject=renameat:retval=0:when=1 -e signal=none -o "$TEST/lie.trace" -p "$keeper" 2> /dev/null &
  tracer=$!
  wait_for 10 traced_by $tracer "$keeper" || bail "strace does not get hold of the keeper"
  on web1 rm -f /run/belay/point.hit
  belay_wait
  kill $tracer 2> /dev/null; wait $tracer 2> /dev/null
  check "lie: the record's rename was left out" grep -q 'INJECTED' "$TEST/lie.trace"
  is "lie: not confirmed, rolled back" "$RC" 3
  like "lie: the reason" "$OUT" 'reason: .*state reads back differently'
  oracle web1 ROLLED_BACK "$old" "$gen"
}

# what is traced is slow
SUCCESS_TIMEOUT=90 SWITCH_TIMEOUT=180 BELAY_LIMIT=400
up web1 11
EVENTS=$TEST/events
[ $# -gt 0 ] || set -- good undo trial lie
for part; do "part_$part"; done
done_testing
