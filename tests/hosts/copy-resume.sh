#!/bin/bash
# A copy that ends in the middle of a large path goes on there: the connection is cut, the agent is killed, the host reboots or
# loses its power. Counted is what ssh was given by both runs together; at most 103 % of what Nix hashes may that be.
. "$(dirname "$0")/lib.sh"

valid() { on web1 sh -c "nix-store --check-validity $1 && nix-store --verify-path $1"; }
cat > "$TEST/big.nix" << 'X'
{ name, bytes }: derivation { inherit name; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "PATH=/bin:/usr/bin; mkdir $out; head -c ${toString bytes} /dev/urandom > $out/random; echo $out > $out/self" ]; }
X
big() { "$TB/ctl" nix-build --no-out-link "$TEST/big.nix" --argstr name "$1" --arg bytes "$2" 2> /dev/null; }
kept=$TB_STATE/web1/upper/var/lib/belay/incoming
kept_bytes() { stat -c %s "$kept" 2> /dev/null || echo 0; }
has_kept() { [ "$(kept_bytes)" -ge "$1" ]; }
# belay_by PROGRAM ARGUMENTS...: belay, started by that
belay_by() { local BELAY=$1; shift; belay "$@"; }
# of what a process has read so far
read_by() { awk '/^rchar/ { print $2 }' "/proc/$1/io"; }

# begin PATH KEPT: a copy, until the host has KEPT bytes of it; its ssh is stopped then. Sets SSH and SENT
begin() {
  belay_start copy --json "$1" --to root@web1
  wait_for 60 has_kept "$2" || { diag < "$OUT"; bail "nothing comes"; }
  SSH=$(pgrep -P "$BELAY_PID" -x ssh) || bail "no ssh"
  kill -STOP "$SSH"
  SENT=$(read_by "$SSH")
}
# it would connect again by itself
end() { kill -KILL "$SSH"; kill -INT "$BELAY_PID"; belay_wait; is "$1: the first run is over" "$RC" 130; }
# finish DESC PATH [KNOWN] [CUTS]: the last run, and what both have sent, without what the host can tell it by
finish() {
  check "$1: copied" belay copy --json "$2" --to root@web1
  tell "$@"
}
tell() {
  local nar all
  check "$1: it is there, whole" valid "$2"
  nar=$("$TB/ctl" nix-store --query --size "$2")
  all=$((SENT + $(jq -s 'map(select(.event == "result"))[0].wire_bytes' "$OUT")))
  nar=$((nar - ${3:-0}))
  say "# $1: $SENT and $((all - SENT)) bytes sent for $nar: $((all * 1000 / nar)) per mille"
  check "$1: no more than 3 % again for each cut" test "$all" -le $((nar * (100 + 3 * ${4:-1}) / 100))
  check_not "$1: nothing in full again" grep -q "sent again" "$OUT"
  check_not "$1: nothing is left behind" test -e "$kept"
}

# an old path that the host runs, and a new one of that name, the first half of which is the old one's
cat > "$TEST/half.nix" << 'X'
{ old }: derivation { name = "half"; system = builtins.currentSystem; builder = "/bin/sh"; old = builtins.storePath old;
  args = [ "-c" "PATH=/bin:/usr/bin; mkdir $out; { cat $old/random; head -c 60000000 /dev/urandom; } > $out/random; echo $out > $out/self" ]; }
X
old=$(big half 60000000)
half=$("$TB/ctl" nix-build --no-out-link "$TEST/half.nix" --argstr old "$old" 2> /dev/null)
up web1 11 --arg activationExtra "\"# \${builtins.storePath $old}\""

small=$(big small 1000)
check "the agent is brought" belay copy "$small" --to root@web1
"$TB/wan-set" 10 0 0 160000

# ---- a connection that is cut is made again by the same run
path=$(big again 100000000)
begin "$path" 50000000
kill -KILL "$SSH"
belay_wait
is "cut, and connected again: copied" "$RC" 0
like "cut, and connected again: told" "$OUT" 'cut off: .*; connecting again'
SENT=0 # the result has both
tell "cut, and connected again" "$path"

path=$(big cut 100000000)
begin "$path" 50000000
end "cut"
like "what is kept is for root alone" <(stat -c '%a %u' "$kept") '^600 0$'
finish "cut" "$path"

path=$(big killed 100000000)
begin "$path" 50000000
on web1 pkill -KILL -x belay-agent
end "agent killed"
finish "agent killed" "$path"

path=$(big rebooted 100000000)
begin "$path" 50000000
reboot_host web1
end "host rebooted"
finish "host rebooted" "$path"

path=$(big crashed 100000000)
begin "$path" 50000000
crash web1
end "power lost"
check "power lost: it boots" power_on web1
finish "power lost" "$path"

# ---- twice
path=$(big twice 100000000)
begin "$path" 30000000
end "twice"
first=$SENT
begin "$path" 60000000
end "twice, again"
SENT=$((SENT + first))
finish "twice" "$path" 0 2

# ---- told by an old path, in slices: of the first half next to nothing is sent
begin "$half" 90000000
end "told"
finish "told" "$half" 60000000

# ---- nobody tells the host that the connection has gone: what its agent has open is in the way of the next one
no_agent() { ! on web1 pgrep -x belay-agent; }
path=$(big silent 100000000)
begin "$path" 50000000
"$TB/wan-set" 10 0 100 160000
end "silent"
check_not "silent: the agent is still there" no_agent
check "silent: it goes by itself" wait_for 40 no_agent
"$TB/wan-set" 10 0 0 160000
finish "silent" "$path"

# ---- a deployer that takes its time for a piece says that it is there: each thread's third write of what it has made
# takes longer than an agent waits for one that says nothing
if command -v strace > /dev/null; then
  path=$(big slow 20000000)
  check "slow: copied" belay_by strace -f -qq -o /dev/null -e trace=pwrite64 -e inject=pwrite64:delay_enter=34000000:when=3 "$BELAY" \
    copy "$path" --to root@web1
  check "slow: it is there, whole" valid "$path"
else
  skip "slow: copied" "strace is missing"
fi

# ---- what is kept and damaged is sent again in full
path=$(big damaged 30000000)
begin "$path" 15000000
end "damaged"
printf 'xxxxxxxx' | dd of="$kept" bs=1 seek=9000000 conv=notrunc status=none
check "damaged: copied" belay copy "$path" --to root@web1
like "damaged: in full" "$OUT" "sent again, in full"
check "damaged: it is there, whole" valid "$path"

# ---- what is kept of a path that nobody wants any more goes
path=$(big unwanted 30000000)
begin "$path" 15000000
end "unwanted"
check "unwanted: another copy" belay copy "$(big other 1000)" --to root@web1
check_not "unwanted: nothing is left behind" test -e "$kept"
done_testing
