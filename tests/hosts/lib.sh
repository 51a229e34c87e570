# shellcheck shell=bash
# Sourced first by every host test: `. "$(dirname "$0")/lib.sh"`.  It starts a test bed of
# the script's own, speaks TAP on standard output and takes everything down at
# the end, however that comes.  A test then reads:
#
#   up web1 11                                       # boots; takes the baseline
#   new=$(system web1 11 --argstr version b)         # builds, does not deploy
#   probe_start web1
#   check "deploys" deploy web1="$new"               # belay deploy, status 0
#   probe_stop web1
#   oracle web1 COMMITTED "$new" 2
#   done_testing
#
# Environment:
#   BELAY         the program under test                      (<root>/build/belay)
#   BELAY_DATADIR its folder, with the agent that has fault points (<root>/build/share-points)
#   BELAY_LIMIT   seconds that one run of it may take         (120)
#   TB_PREFIX     names of this run; see ../testbed           (from the script's path)
#   VM_TOOLS      programs without which the test is skipped, set by it (none)
#   TB_KEEP=1     leave the hosts running at the end, to look at them
set -u
HOSTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HOSTS/../.." && pwd)
TB=$ROOT/tests/testbed
: "${BELAY:=$ROOT/build/belay}" "${BELAY_LIMIT:=120}" "${TB_CACHE:=/var/cache/belay-testbed}"
if [ -z "${TB_PREFIX:-}" ]; then
  TB_PREFIX=$(realpath "$0" | md5sum); TB_PREFIX=${TB_PREFIX:0:4}
fi
: "${TB_STATE:=/tmp/belay-testbed.$TB_PREFIX}"
TB_OWNER=$$
export BELAY TB_CACHE TB_PREFIX TB_STATE TB_OWNER
: "${BELAY_DATADIR:=$ROOT/build/share-points}"
export BELAY_DATADIR

# ---- TAP ----------------------------------------------------------------------

exec 3>&1                       # TAP goes here, also from inside $( )
tap_count=0 tap_failed=0 tap_done=

say() { echo "$*" >&3; }
diag() { local l; while IFS= read -r l; do say "#   $l"; done; }
ok() { tap_count=$((tap_count + 1)); say "ok $tap_count - ${1//#/}"; }
not_ok() {
  tap_count=$((tap_count + 1)) tap_failed=$((tap_failed + 1))
  say "not ok $tap_count - ${1//#/}"
  diagnostics
}
# check DESC CMD...: ok when CMD succeeds; its output is shown when it does not
check() {
  local desc=$1 log=$TEST/check.log; shift
  if "$@" > "$log" 2>&1; then ok "$desc"; else
    say "# failed (status $?): $*"; tail -n 20 "$log" | diag; not_ok "$desc"
  fi
}
# check_not DESC CMD...: ok when CMD fails
check_not() { local desc=$1; shift; if "$@" > "$TEST/check.log" 2>&1; then not_ok "$desc"; else ok "$desc"; fi; }
# is DESC GOT WANTED
is() { if [ "$2" = "$3" ]; then ok "$1"; else say "# got '$2', wanted '$3'"; not_ok "$1"; fi; }
# like DESC FILE REGEX
like() { if grep -qE -- "$3" "$2"; then ok "$1"; else say "# nothing in $2 matches '$3'"; not_ok "$1"; fi; }
skip() { tap_count=$((tap_count + 1)); say "ok $tap_count - $1 # SKIP ${2:-}"; }
plan() { say "1..$1"; tap_done=planned; }
# done_testing: the last line of a test
done_testing() {
  [ -n "$tap_done" ] || say "1..$tap_count"
  tap_done=1
  [ $tap_failed = 0 ]; exit
}
# bail TEXT: the test bed itself failed.  Works inside $( ) too.
bail() {
  say "Bail out! $*"
  tap_done=1
  [ "$BASHPID" = $$ ] || { : > "$TEST/bailed"; kill -TERM $$; }
  exit 1
}

# diagnostics: what one wants to see after a failure
diagnostics() {
  local d f h
  if [ -s "${OUT:-}" ]; then say "# last output of belay (status ${RC:-?}):"; tail -n 40 "$OUT" | diag; fi
  for d in "$TB_STATE"/*/; do
    [ -e "$d/kind" ] || continue
    h=$(basename "$d")
    look "$h"
    for f in "$d"/upper/var/lib/belay/txn/*/agent.log; do
      [ -s "$f" ] && { say "# $h: ${f##*/var/lib/belay/}:"; tail -n 40 "$f" | diag; }
    done
    f=$(newest_txn "$h") && { say "# $h: state of transaction ${f##*/}:"; diag < "$f/state"; } 2> /dev/null
    say "# $h: console:"; tail -n 15 "$d/console.log" | tr -d '\r\000' | diag
  done
}

# ---- start and end ---------------------------------------------------------------

if [ "$(id -u)" != 0 ] || ! unshare --mount --net --pid --fork true 2> /dev/null; then
  say "1..0 # SKIP host tests need root"; exit 0
fi
for p in ip nix-build busybox mmdebstrap setpriv cc ssh-keygen ${VM_TOOLS:-}; do
  command -v $p > /dev/null || { say "1..0 # SKIP host tests need $p (tests/testbed/README.md)"; exit 0; }
done
if "$TB/lib/owner-lives"; then
  say "Bail out! another test runs with the prefix $TB_PREFIX"; exit 1
fi

clean_up() {
  local rc=$?
  trap - EXIT INT TERM HUP
  if [ -z "$tap_done" ] && [ ! -e "$TEST/bailed" ]; then say "Bail out! the test ended early, status $rc"; [ $rc != 0 ] || rc=1; fi
  if [ "${TB_KEEP:-}" = 1 ]; then say "# kept: TB_PREFIX=$TB_PREFIX TB_STATE=$TB_STATE"; exit $rc; fi
  "$TB/net-down" || rc=1
  exit $rc
}
TEST=$TB_STATE/.test            # scratch files; gone at the end
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
"$TB/net-down"                  # what a killed run of this script left
"$TB/build-rootfs" > /dev/null || bail "no root file system for the hosts"
"$TB/net-up" || bail "no test network"
mkdir -p "$TEST"
OUT=$TEST/out.0 RC=0 FLEET=$TEST/fleet.json
: > "$OUT"

# ---- hosts ------------------------------------------------------------------------

ctl() { "$TB/ctl" "$@"; }                                  # as the deployer; to background it use "$TB/ctl" CMD &
on() { "$TB/host-shell" "$@"; }                            # on HOST, by its console
ssh_ok() { timeout "$(slowly "$1" 10)" "$TB/host-ssh" "$1" true; }          # a fresh connection works
crash() { "$TB/host-crash" "$1"; }                         # power loss
hosts() { local d; for d in "$TB_STATE"/*/kind; do [ -e "$d" ] && basename "$(dirname "$d")"; done; }

# system NAME INDEX [build-system arguments]: prints a system's store path
system() { "$TB/build-system" "$@" || bail "system of $1 does not build"; }
# settled HOST: has finished starting, with failed units or without
settled() { timeout "$(slowly "$1" 60)" "$TB/host-shell" "$1" systemctl is-system-running --wait > /dev/null 2>&1; [ $? -lt 124 ]; }
is_vm() { [ "$(cat "$TB_STATE/$1/kind" 2> /dev/null)" = vm ]; }
# slowly HOST SECONDS: that time limit, eight times as long for a virtual machine: emulation is slow already
# where nothing else runs
slowly() { if is_vm "$1"; then echo $(($2 * 8)); else echo "$2"; fi; }
# up NAME INDEX [host-up and build-system arguments]: boots a new host, takes its baseline
up() {
  "$TB/host-up" "$@" > "$TEST/up.$1" 2>&1 || { diag < "$TEST/up.$1"; bail "$1 does not come up"; }
  settled "$1" || bail "$1 does not finish starting"
  baseline "$1"
}
# up_vm NAME INDEX LOADER [vm-up and build-system arguments]: the same for a virtual machine
up_vm() {
  local name=$1 i=$2 loader=$3; shift 3
  "$TB/vm-up" "$name" "$i" --loader "$loader" "$@" > "$TEST/up.$name" 2>&1 || { diag < "$TEST/up.$name"; bail "$name does not come up"; }
  settled "$name" || bail "$name does not finish starting"
  baseline "$name"
}
# up_all NAME:INDEX... [-- arguments for all]: the same for several, at once
up_all() {
  local p pids=() names=() args=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do names+=("$1"); shift; done
  [ $# = 0 ] || { shift; args=("$@"); }
  for p in "${names[@]}"; do
    ( trap - EXIT INT TERM HUP; up "${p%%:*}" "${p##*:}" ${args[@]+"${args[@]}"} ) &
    pids+=($!)
  done
  for p in "${pids[@]}"; do wait "$p" || bail "not all hosts came up"; done
}
# power_on HOST: after a crash; until it has started
power_on() {
  local how=host-up; ! is_vm "$1" || how=vm-up
  "$TB/$how" "$1" "$(< "$TB_STATE/$1/index")" > "$TEST/up.$1" 2>&1 && settled "$1"
}
# boots HOST: how often it has booted
boots() {
  if is_vm "$1"; then grep -acE 'BdsDxe: starting Boot|SeaBIOS starts GRUB' "$TB_STATE/$1/console.log"; else wc -l < "$TB_STATE/$1/boots"; fi
}
booted_since() { [ "$(boots "$1")" -gt "$2" ]; }
# comes_back HOST BOOTS: has booted more often than that, and has started
comes_back() { wait_for "$(slowly "$1" 60)" booted_since "$1" "$2" && "$TB/host-wait" "$1" && settled "$1"; }
# panic HOST: of a virtual machine's kernel; with panic=5 it starts anew
panic() { on "$1" bash -c '(sleep 0.5; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &'; }
# reboot_host HOST: an orderly reboot, until it has started again
reboot_host() {
  local n; n=$(boots "$1")
  on "$1" systemctl reboot > /dev/null 2>&1
  comes_back "$1" "$n"
}

# wait_for SECONDS CMD...: until CMD succeeds; fails after SECONDS
wait_for() {
  local end=$((${EPOCHREALTIME/./} + $1 * 1000000)); shift
  until "$@" > /dev/null 2>&1; do
    [ "${EPOCHREALTIME/./}" -lt $end ] || return 1
    sleep 0.05
  done
}
# stopwatch starts, elapsed prints the milliseconds since, time_of CLASS tells them; see ../faults/README.md
stopwatch() { watch_start=${EPOCHREALTIME/./}; }
elapsed() { echo $(((${EPOCHREALTIME/./} - watch_start) / 1000)); }
time_of() { say "# time: $1 $(elapsed)"; }
stopwatch

# look HOST: the disk of a container host lies open; of a virtual machine's the folders that
# the functions below read are fetched, by its console or, when it is off, from the disk.
look() {
  local d=$TB_STATE/$1
  is_vm "$1" || return 0
  rm -rf "${d:?}"/{nix,boot,upper}
  if [ -e "$d/qemu.pid" ]; then
    # shellcheck disable=SC2016  # expanded in the guest
    "$TB/host-shell" "$1" bash -c 'cd /; shopt -s nullglob
      exec tar c nix/var/nix/profiles boot/loader/* boot/grub/grub{.cfg,env} var/lib/belay/txn/*/{state,key,agent.log} 2> /dev/null' \
      < /dev/null > "$d/look.tar" 2> /dev/null
  else
    "$TB/lib/vm-look" "$d" > "$d/look.tar"
  fi
  mkdir -p "$d/upper"
  tar x -C "$d" -f "$d/look.tar" 2> /dev/null
  [ ! -e "$d/var" ] || mv "$d/var" "$d/upper/"
}
# What a host would say, read from its disk; works on a host that is off.
profile_of() { look "$1"; readlink "$TB_STATE/$1/nix/var/nix/profiles/$(readlink "$TB_STATE/$1/nix/var/nix/profiles/system")"; }
generation_of() { local l; look "$1"; l=$(readlink "$TB_STATE/$1/nix/var/nix/profiles/system"); l=${l%-link}; echo "${l##*-}"; }
default_of() { # the system in init= of the boot loader's default entry
  local b=$TB_STATE/$1/boot/loader
  look "$1"
  if [ -e "$TB_STATE/$1/boot/grub/grub.cfg" ]; then # GRUB: the first entry is the default
    sed -n '/^menuentry/,/^}/s/^ *linux .* init=\([^ ]*\)\/init.*/\1/p' "$TB_STATE/$1/boot/grub/grub.cfg" | head -n1; return
  fi
  sed -n 's/^options .*init=\([^ ]*\)\/init.*/\1/p' "$b/entries/$(sed -n 's/^default //p' "$b/loader.conf")" 2> /dev/null
}
# newest_txn HOST: the folder of the transaction with the highest epoch
newest_txn() {
  local n dir=$TB_STATE/$1/upper/var/lib/belay/txn
  look "$1"
  # on a disk of its own it is seen through the host alone
  [ ! -s "$TB_STATE/$1/disks" ] || dir=/proc/$(cat "$TB_STATE/$1/init.pid" 2> /dev/null)/root/var/lib/belay/txn
  n=$(cd "$dir" 2> /dev/null && printf '%s\n' [0-9]* | grep -E '^[0-9]+$' | sort -n | tail -n1)
  [ -n "$n" ] && echo "$dir/$n"
}
# state_of HOST: the newest transaction's state; NONE when there is none
state_of() {
  local t s
  t=$(newest_txn "$1") || { echo NONE; return; }
  s=$(sed -n 's/^state=//p' "$t/state" 2> /dev/null)
  echo "${s:-UNREADABLE}"
}
# state_is HOST REGEX, for wait_for; a virtual machine that is asked all the time does nothing else
state_is() { ! is_vm "$1" || sleep 1; [[ $(state_of "$1") =~ ^($2)$ ]]; }

# ---- belay ------------------------------------------------------------------------

# write_fleet FILE NODE=PATH...: a fleet as `belay deploy --fleet-json FILE` reads it.
# Settings, all optional: SUCCESS_TIMEOUT, SWITCH_TIMEOUT, IGNORE_FAILING, STRATEGY,
# SSH_OPTIONS and ELEVATE (arrays), HOST_<node> (root@<node>), TAGS_<node> (words),
# PLAN_<node> or else PLAN (further fields as JSON: '"reboot":"allowed","checks":[...]');
# a dash in a node's name is an underscore there.
ELEVATE=(sudo -n) SSH_OPTIONS=() DEPLOY_ARGS=()
write_fleet() {
  local file=$1 a node host tags plan sep=''; shift
  {
    printf '{"belayFleet":1,"nodes":{'
    for a in "$@"; do
      node=${a%%=*} host=HOST_${a%%=*} tags=TAGS_${a%%=*} plan=PLAN_${a%%=*}
      host=${host//-/_} tags=${tags//-/_} plan=${plan//-/_}
      plan=${!plan-${PLAN-}}
      # shellcheck disable=SC2086  # tags are words
      printf '%s"%s":{"enable":true,"host":"%s","toplevel":{"drvPath":null,"path":"%s"},"system":"x86_64-linux","successTimeout":%s,"switchTimeout":%s,"ignoreFailingSystemdUnits":%s,"privilegeEscalationCommand":%s,"hasFastConnection":true,"substituteOnTarget":false,"tags":%s,"sshOptions":%s%s%s}' \
        "$sep" "$node" "${!host:-root@$node}" "${a#*=}" "${SUCCESS_TIMEOUT:-20}" "${SWITCH_TIMEOUT:-60}" "${IGNORE_FAILING:-false}" \
        "$(json_list "${ELEVATE[@]}")" "$(json_list ${!tags-})" "$(json_list "${SSH_OPTIONS[@]}")" \
        "${STRATEGY:+,\"strategy\":\"$STRATEGY\"}" "${plan:+,$plan}"
      sep=,
    done
    printf '}}\n'
  } > "$file"
}
json_list() { # WORD...: ["WORD", ...]
  local w out=
  for w in "$@"; do w=${w//\\/\\\\}; out+=${out:+,}\"${w//\"/\\\"}\"; done
  printf '[%s]' "$out"
}
# fleet NODE=PATH...: the same, into $FLEET
fleet() { write_fleet "$FLEET" "$@"; }

next_out() { belay_runs=$((${belay_runs:-0} + 1)); OUT=$TEST/out.$belay_runs; RC=0; }
# belay ARGS...: runs it as the deployer; output in the file $OUT, status in $RC and
# returned; 124 when it took longer than BELAY_LIMIT seconds.
belay() {
  next_out
  # in the background, because bash runs its traps during `wait` but not before a
  # foreground command has ended; there it ignores SIGINT, which env undoes
  env --default-signal=INT,QUIT timeout -k 5 "$BELAY_LIMIT" "$TB/ctl" "$BELAY" "$@" < /dev/null > "$OUT" 2>&1 3>&- &
  wait $!; RC=$?
  return $RC
}
# belay_start ARGS...: the same in the background.  BELAY_PID is belay itself, to be
# killed or stopped; belay_wait waits and sets RC.
belay_start() {
  next_out
  env --default-signal=INT,QUIT "$TB/ctl" "$BELAY" "$@" < /dev/null > "$OUT" 2>&1 3>&- &
  BELAY_PID=$!
}
belay_wait() {
  wait_for "$BELAY_LIMIT" belay_gone || kill -KILL "$BELAY_PID"
  { wait "$BELAY_PID"; RC=$?; } 2> /dev/null      # without the shell's "Killed"
  return $RC
}
belay_gone() { ! kill -0 "$BELAY_PID" || [[ $(< "/proc/$BELAY_PID/stat") == *') Z '* ]]; }
# deploy NODE=PATH...: fleet, then belay deploy, with DEPLOY_ARGS
deploy() { fleet "$@"; belay deploy --fleet-json "$FLEET" "${DEPLOY_ARGS[@]}"; }

# ---- how long a host is away ----------------------------------------------------

# clock CLASS [now]: from the moment at which web1's next transaction is in its activation (or from now) until
# clock_stop, which prints `# time: CLASS ms`; 0 when there has been no activation.  ../faults/times has the classes.
clock() {
  clock_class='' clock_file=$TEST/clock
  clock_stop
  clock_class=$1
  rm -f "$clock_file"
  if [ -n "${2:-}" ]; then echo "${EPOCHREALTIME/./}" > "$clock_file"; clock_pid=; return; fi
  local before; before=$(newest_txn web1)
  ( trap - EXIT INT TERM HUP
    until [ "$(newest_txn web1)" != "$before" ] && state_is web1 'ACTIVATING|CHECKING|WAIT_CONFIRM|TRIAL_REBOOT|CONFIRMED|COMMITTING|ROLLING_BACK'; do
      [ -e /proc/$$ ] || exit        # the test was killed
      sleep 0.02
    done
    echo "${EPOCHREALTIME/./}" > "$clock_file" ) < /dev/null > /dev/null 2>&1 3>&- &
  clock_pid=$!
}
clock_pid='' clock_class=''
clock_stop() {
  local now=${EPOCHREALTIME/./}
  [ -z "$clock_pid" ] || { kill "$clock_pid"; wait "$clock_pid"; } 2> /dev/null
  if [ -n "$clock_class" ]; then
    [ -s "$clock_file" ] || echo "$now" > "$clock_file"
    say "# time: $clock_class $(((now - $(< "$clock_file")) / 1000))"
  fi
  clock_pid='' clock_class=''
}
# ---- the oracle -----------------------------------------------------------------

# facts HOST [deep]: one fact a line, as the host itself sees them.  The script comes
# by standard input, so no process of ours has the words it looks for in its arguments.
facts() {
  timeout "$(slowly "$1" 30)" "$TB/host-shell" "$1" bash -s -- "${2:-}" 2> /dev/null << 'X'
systemctl list-units --state=failed --plain --no-legend --full | while read -r u _; do echo "failed $u"; done
ip route show default | sed -E 's/ proto [a-z]+//; s/ +$//; s/^/route /'
ip -o addr show scope global | sort | while read -r _ dev family addr _; do echo "address $dev $family $addr"; done
echo "resolver $(cksum < /etc/resolv.conf)" 2> /dev/null
echo "system $(readlink /run/current-system)"
[ "$1" = deep ] || { echo end; exit 0; }

for f in /sys/firmware/efi/efivars/LoaderEntryOneShot-*; do [ -e "$f" ] && echo "once $(tail -c +5 "$f" | tr -d '\0')"; done
[ ! -e /boot/grub/grubenv ] || sed -n 's/^next_entry=\(..*\)/once \1/p' /boot/grub/grubenv
# Units of the deployed system itself (a guard that starts at boot) may stay.
systemctl list-units --all --plain --no-legend --full 'belay-*' | while read -r u _; do
  [ -e "/etc/systemd/system/$u" ] || echo "left unit $u"
done
for f in /run/systemd/transient/belay-*; do [ -e "$f" ] && echo "left transient unit ${f##*/}"; done
for p in /proc/[0-9]*; do
  { exe=$(readlink "$p/exe"); args=$(tr '\0' ' ' < "$p/cmdline"); } 2> /dev/null
  case "$exe $args" in *belay-agent* | *switch-to-configuration*) echo "left process ${p#/proc/}: $args" ;; esac
done
for f in /run/belay/*.sock; do [ -e "$f" ] && echo "left socket $f"; done
if [ -d /var/lib/belay ]; then flock -n /var/lib/belay true || echo "left lock /var/lib/belay is held"; fi
find /sys/fs/cgroup -path '*belay*' -name cgroup.procs | while read -r f; do
  u=${f#/sys/fs/cgroup/}; u=${u##*.slice/}; u=${u%%/*}
  if [ ! -e "/etc/systemd/system/$u" ] && [ -n "$(cat "$f")" ]; then echo "left processes in cgroup $u"; fi
done
systemd-inhibit --list --no-legend 2> /dev/null | grep -i belay | sed 's/^/left inhibitor /'
nix-store --gc --print-dead 2> /dev/null | sed 's/^/dead /'

keys=
for f in /var/lib/belay/txn/*/key; do
  [ -s "$f" ] || continue
  k=$(tr -d '\0\n' < "$f")
  [[ $k =~ ^[0-9a-fA-F]{16,}$ ]] || k=$(od -An -v -tx1 "$f" | tr -d ' \n')
  keys+=$k$'\n'
done
if [ -n "$keys" ]; then
  has_key() { grep -aqiFf <(printf %s "$keys"); }
  cat /var/lib/belay/txn/*/*.log 2> /dev/null | has_key && echo "key in a log of a transaction"
  journalctl -q --no-pager -o export | has_key && echo "key in the journal"
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2> /dev/null | tr '\0' '\n' | has_key && echo "key in a command line or environment"
fi
echo end
X
}

# baseline HOST: what the oracle compares with.  `up` takes it; take it again after
# changes that are meant to stay.
baseline() {
  local d=$TB_STATE/$1
  facts "$1" > "$d/baseline"
  grep -q '^end$' "$d/baseline" || bail "$1 has no baseline"
}
# old_of HOST: the system of the baseline
old_of() { sed -n 's/^system //p' "$TB_STATE/$1/baseline"; }

# keys_of HOST: the keys of its transactions in hex, from outside
keys_of() {
  local f k
  look "$1"
  for f in "$TB_STATE/$1"/upper/var/lib/belay/txn/*/key; do
    [ -s "$f" ] || continue
    k=$(tr -d '\0\n' < "$f")
    [[ $k =~ ^[0-9a-fA-F]{16,}$ ]] || k=$(od -An -v -tx1 "$f" | tr -d ' \n')
    echo "$k"
  done
}

# oracle_once HOST STATE SYSTEM [GENERATION]: prints one line for each thing that is wrong
oracle_once() {
  local h=$1 want=$2 sys=$3 gen=${4:-} d=$TB_STATE/$1 now x keys f
  x=$(state_of "$h"); [ "$x" = "$want" ] || echo "O1 the transaction is $x, wanted $want"
  ssh_ok "$h" > /dev/null 2>&1 || echo "O2 a fresh ssh connection fails"

  now=$(facts "$h" deep)
  [ "${now##*$'\n'}" = end ] || { echo "O3 the host does not answer on its console"; return; }
  x=$(sed -n 's/^system //p' <<< "$now"); [ "$x" = "$sys" ] || echo "O3 runs $x"
  x=$(profile_of "$h"); [ "$x" = "$sys" ] || echo "O3 the profile names $x"
  x=$(default_of "$h"); [ "$x" = "$sys" ] || echo "O3 the boot loader's default is $x"
  if [ -n "$gen" ]; then
    x=$(generation_of "$h"); [ "$x" = "$gen" ] || echo "O3 the profile's generation is $x, wanted $gen"
  fi
  for f in "$d"/nix/var/nix/profiles/system-profiles/belaytrial*; do [ ! -L "$f" ] || echo "O3 the candidate of a trial boot is left: $f"; done

  sed -n 's/^once /O3 a one-shot boot entry is left: /p' <<< "$now"

  grep '^failed ' <<< "$now" | while read -r f; do
    grep -qxF "$f" "$d/baseline" || echo "O4 unit ${f#failed } has failed"
  done
  if [ "$sys" = "$(old_of "$h")" ]; then
    for x in route address resolver; do
      [ "$(grep "^$x " <<< "$now")" = "$(grep "^$x " "$d/baseline")" ] ||
        echo "O4 $x: $(grep "^$x " <<< "$now" | paste -sd, ), was $(grep "^$x " "$d/baseline" | paste -sd,)"
    done
  fi
  sed -n 's/^left /O5 left: /p' <<< "$now"
  for x in "$sys" "$(old_of "$h")"; do
    if grep -qxF "dead $x" <<< "$now"; then echo "O6 garbage collection would delete $x"; fi
  done
  sed -n 's/^key /O8 the key is /p' <<< "$now"
  keys=$(keys_of "$h")
  if [ -n "$keys" ]; then
    if grep -aqiFf <(echo "$keys") "$d/console.log" "$TEST"/out.*; then echo "O8 the key is in the console's or belay's output"; fi
    if (for f in $(ip netns pids "$TB_PREFIX-ctl"); do cat "/proc/$f/cmdline" "/proc/$f/environ"; done 2> /dev/null) |
      tr '\0' '\n' | grep -aqiFf <(echo "$keys"); then echo "O8 the key is in a command line or environment of the deployer"; fi
    # read as somebody else: what that finds, others can read
    if (setpriv --reuid 65534 --regid 65534 --clear-groups find "$TB_STATE/ctl/state" -type f -readable -exec cat {} + 2> /dev/null) |
      grep -aqiFf <(echo "$keys"); then echo "O8 the key is in a file of the deployer that others can read"; fi
  fi
}

# oracle HOST STATE SYSTEM [GENERATION]: what has to be true after every test, as one TAP
# line.  STATE: the newest transaction's, NONE for no transaction at all.  Things
# that take a moment to go away have ORACLE_PATIENCE seconds for it.
oracle() {
  local bad end=$((SECONDS + ${ORACLE_PATIENCE:-8}))
  while bad=$(oracle_once "$@"); [ -n "$bad" ]; do
    [ $SECONDS -lt $end ] || break
    sleep 0.3
  done
  if [ -z "$bad" ]; then ok "$1: oracle: $2"; return; fi
  say "# $1: the oracle wanted $2, $3"; diag <<< "$bad"
  not_ok "$1: oracle: $2"
}

# oracle_again HOST [SYSTEM]: O10, the host comes back from a reboot with the system that
# runs now; then O9, a good deploy of SYSTEM (a path of `system`) still works.
oracle_again() {
  local h=$1 sys now
  now=$(profile_of "$h")
  if ! reboot_host "$h"; then not_ok "$h: O10: comes back from a reboot"; return; fi
  is "$h: O10: the same system after a reboot" "$(on "$h" readlink /run/current-system)" "$now"
  sys=${2:-}; [ -n "$sys" ] || return 0
  check "$h: O9: the next deploy works" deploy "$h=$sys"
  is "$h: O9: and its system runs" "$(on "$h" readlink /run/current-system)" "$sys"
}

# ---- the probe -------------------------------------------------------------------

# probe_start HOST: watches from outside what the host would boot; see tb-probe.c
probe_start() {
  local d=$TB_STATE/$1
  rm -f "$d/probe.ready"
  "$TB_CACHE/tb-probe" "$d" "$d/probe.log" < /dev/null > "$d/probe.ready" 2>&1 3>&- &
  echo $! > "$d/probe.pid"
  wait_for 5 test -s "$d/probe.ready" || bail "the probe of $1 does not start"
}
# probe_found HOST: ends the probe; prints what it found
probe_found() {
  local d=$TB_STATE/$1 p
  p=$(< "$d/probe.pid"); rm -f "$d/probe.pid"
  kill "$p" 2> /dev/null || echo "the probe had ended by itself"
  wait "$p" 2> /dev/null
  cat "$d/probe.log"
}
# probe_stop HOST: one TAP line: nothing unconfirmed would ever have been booted
probe_stop() {
  local found
  probe_found "$1" > "$TEST/probe.$1"
  found=$(head -n 10 "$TEST/probe.$1")
  if [ -z "$found" ]; then ok "$1: probe: never boots the unconfirmed"; return; fi
  diag <<< "$found"; not_ok "$1: probe: never boots the unconfirmed"
}
