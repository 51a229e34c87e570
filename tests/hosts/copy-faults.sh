#!/bin/bash
# Copies while other things go on: collections on both sides, two senders at once, a host that loses its power, a
# daemon that dies, no room for what is to be sent. Nothing is lost, and the next run sends only what is missing.
. "$(dirname "$0")/lib.sh"
: "${BENCH_CLOSURE:=$(dirname "$BELAY")/tests/bench-closure}"

up_all web1:11 web2:12

# A store of the deployer's own, since the cache's is everybody's: what is collected there is nobody else's.
own=$TEST/own
mkdir -p "$own/nix"
# mine COMMAND...: as the deployer, with that store
# shellcheck disable=SC2016  # expanded there
mine() { "$TB/ctl" sh -c 'mount --bind "$0" /nix && exec "$@"' "$own/nix" "$@"; }
# Away from the others' processes: what those have in their arguments or open would be roots. Until there is a file stop.
# shellcheck disable=SC2016
collect_mine() {
  "$TB/ctl" unshare --pid --fork --kill-child --mount-proc sh -c 'mount --bind "$0/nix" /nix
    until [ -e "$0/stop" ]; do nix-collect-garbage > /dev/null || exit 1; done' "$own"
}
# as belay_start, with that store
mine_start() {
  next_out
  # shellcheck disable=SC2016
  env --default-signal=INT,QUIT "$TB/ctl" sh -c 'mount --bind "$0" /nix && exec "$@"' "$own/nix" "$BELAY" "$@" < /dev/null > "$OUT" 2>&1 3>&- &
  BELAY_PID=$!
}
copied() { mine_start copy "$@"; belay_wait; }
# closure NAME N: N small paths and one that has them all, the list in $TEST/NAME; prints that one
closure() {
  "$BENCH_CLOSURE" small "$2" "$TB_PREFIX$1" 0 < /dev/null | mine nix-store --import > "$TEST/$1" 2> "$TEST/err" || bail "no closure $1"
  tail -n 1 "$TEST/$1"
}
# whole HOST FILE: all paths of that list are valid there, and what they should be
whole() { on "$1" xargs nix-store --verify-path < "$2"; }
lacks() { on "$1" xargs nix-store --check-validity --print-invalid < "$2" | wc -l; }
# some HOST FILE: a few paths of that list are there
some() { [ "$(lacks "$1" "$2")" -le 985 ]; }
has() { on "$1" nix-store --check-validity "$2" > /dev/null 2>&1; }
keeps() { on "$1" ln -sfn "$2" /nix/var/nix/gcroots/faults; }

# ---- collections on both sides

next=$(system web1 11 --argstr version collected)
ctl nix copy --no-check-sigs --to "local?root=$own" "$(old_of web1)" "$next" > "$TEST/err" 2>&1 || bail "no store of the deployer's own"
many=$(closure many 1000)
keeps web1 "$many"
on web1 ln -sfn "$next" /nix/var/nix/gcroots/faults-next
"$TB/wan-set" 0 0 0 3000
mine_start copy "$many" "$next" --to root@web1
check "some of it came" wait_for 30 some web1 "$TEST/many"
on web1 sh -c 'until [ -e /run/stop ]; do nix-collect-garbage > /dev/null || exit 1; done' < /dev/null > "$TEST/collect.web1" 2>&1 3>&- & there=$!
collect_mine < /dev/null > "$TEST/collect.own" 2>&1 3>&- & here=$!
belay_wait
"$TB/wan-set" 0
is "copied while both sides collect garbage" "$RC" 0
on web1 touch /run/stop
touch "$own/stop"
wait $there; is "the host did so all the time" $? 0
wait $here; is "the deployer did" $? 0
check_not "and has nothing of it any more" test -e "$own$next"
check_not "nothing came twice" grep -q "sent again" "$OUT"
check "all of it is there and whole" whole web1 "$TEST/many"
check "the system is" on web1 sh -c "nix-store --verify-path \$(nix-store -qR $next)"
check "and stays" on web1 sh -c "nix-collect-garbage > /dev/null && nix-store -qR $many > /dev/null && nix-store --verify --check-contents"

# ---- two at once, of the same and of what it is a part of

many=$(closure twice 1000)
part=$(sed -n 600p "$TEST/twice")
for second in "$many" "$part"; do
  mine_start copy "$many" --to root@web2
  first_pid=$BELAY_PID first_out=$OUT
  mine_start copy "$second" --to root@web2
  belay_wait
  is "two senders: the one" "$RC" 0
  BELAY_PID=$first_pid OUT=$first_out
  belay_wait
  is "two senders: the other" "$RC" 0
  check "two senders: it is whole" whole web2 "$TEST/twice"
  [ "$second" = "$part" ] || on web2 nix-collect-garbage > /dev/null 2>&1
done

# ---- power loss in the middle: the next run sends what is missing

many=$(closure power 1000)
"$TB/wan-set" 0 0 0 800
mine_start copy "$many" --to root@web2
check "power loss: some of it came" wait_for 30 some web2 "$TEST/power"
crash web2
kill -INT "$BELAY_PID" 2> /dev/null
belay_wait
"$TB/wan-set" 0
check_not "power loss: it is not copied" test "$RC" = 0
power_on web2
before=$(lacks web2 "$TEST/power")
check "power loss: a part of it is there ($before of 1001 paths are not)" test "$before" -gt 0 -a "$before" -le 985
check "power loss: the store is sound" on web2 nix-store --verify --check-contents
check "power loss: once more" copied "$many" --to root@web2
sent=$(sed -n 's/^\[web2\] Copied \([0-9]*\) of 1001 paths.*/\1/p' "$OUT")
is "power loss: sent only what was missing" "$sent" "$before"
check "power loss: it is whole" whole web2 "$TEST/power"

# ---- the daemon there dies in the middle

many=$(closure dying 1000)
"$TB/wan-set" 0 0 0 800
mine_start copy "$many" --to root@web2
check "daemon: some of it came" wait_for 30 some web2 "$TEST/dying"
check "daemon: killed" on web2 pkill -KILL nix-daemon
belay_wait
"$TB/wan-set" 0
is "daemon: status" "$RC" 1
like "daemon: who died is told" "$OUT" 'Nix daemon: adding paths .*answered'
like "daemon: and what to do" "$OUT" 'systemctl status nix-daemon'
check "daemon: once more" copied "$many" --to root@web2
check "daemon: it is whole" whole web2 "$TEST/dying"

# ---- no room for what is to be sent

mkdir "$TEST/tiny"
next_out
# shellcheck disable=SC2016
ctl sh -c 'mount -t tmpfs -o size=64k none "$1" && mount --bind "$2" /nix && TMPDIR=$1 exec "$3" copy "$4" --to root@web1 --compression 0' \
  sh "$TEST/tiny" "$own/nix" "$BELAY" "$many" < /dev/null > "$OUT" 2>&1
is "no room: status" $? 1
like "no room: where" "$OUT" "$TEST/tiny: .*[Nn]o space left on device"
like "no room: what to do" "$OUT" 'set TMPDIR to a folder with more'
check_not "no room: nothing of it came" has web1 "$many"
done_testing
