#!/bin/bash
# shellcheck disable=SC2034,SC2317  # settings are read elsewhere; rows are called by their names
# Group D of the fault matrix, where it takes several hosts: canaries, limits, atomic waves, jump hosts.
# They are h1, h2, ...; those that are there are kept for the next row.
#
#   FLEET_HOSTS   of row D14 (200)
#   FAULTS_SEED   which of them it breaks, and how
. "$(dirname "$0")/lib.sh"
: "${FLEET_HOSTS:=200}" "${FAULTS_SEED:=${BELAY_SEED:-7}}"
FIRST_INDEX=20

# What every row finds; hosts come with `need`.
ready() {
  SUCCESS_TIMEOUT=10 SWITCH_TIMEOUT=30 IGNORE_FAILING=false STRATEGY=live BELAY_LIMIT=300
  ELEVATE=(sudo -n) SSH_OPTIONS=() DEPLOY_ARGS=()
  if [ -n "$spoilt" ]; then for h in $(hosts); do "$TB/host-down" "$h"; done; fi
  spoilt=
  old=() gen=() new=()
}
# need N [AT-ONCE]: h1 to hN are up, and as good as new; old, gen
need() {
  local i wanted=()
  for ((i = 1; i <= $1; i++)); do
    if [ -e "$TB_STATE/h$i/kind" ]; then baseline "h$i"; else wanted+=("h$i:$((FIRST_INDEX + i))"); fi
    if [ ${#wanted[@]} -ge "${2:-4}" ]; then up_all "${wanted[@]}"; wanted=(); fi
  done
  [ ${#wanted[@]} = 0 ] || up_all "${wanted[@]}"
  remember "$1"
}
remember() { local i; for ((i = 1; i <= $1; i++)); do old[i]=$(old_of "h$i") gen[i]=$(generation_of "h$i"); done; }
# adopt N: what runs now is the old system from here on
adopt() { local i; for ((i = 1; i <= $1; i++)); do baseline "h$i"; done; remember "$1"; }
# one I NAME ARGS...: a system of hI, in new[I]
one() { local i=$1 name=$2; shift 2; new[i]=$(system "h$i" $((FIRST_INDEX + i)) --argstr version "$name" "$@"); }
# good FROM TO NAME: good systems for these
good() { local i; for ((i = $1; i <= $2; i++)); do one "$i" "$3"; done; }
fails=(--argstr activationExtra 'exit 1')
cut_off=(--arg address null)
# fleet_of FROM TO [ARGS...]: deploys new[FROM] to new[TO]
fleet_of() {
  local i args=() from=$1 to=$2; shift 2
  for ((i = from; i <= to; i++)); do args+=("h$i=${new[i]}"); done
  DEPLOY_ARGS=("$@")
  deploy "${args[@]}"
}
# counts DESC TEXT: the last word of the run
counts() { is "$1" "$(grep -E '^[0-9]+ hosts: ' "$OUT")" "$2"; }
back() { oracle "h$1" ROLLED_BACK "${old[$1]}" "${gen[$1]}"; }
done_well() { oracle "h$1" COMMITTED "${new[$1]}" $((gen[$1] + 1)); }
taken_back() { oracle "h$1" COMMITTED "${old[$1]}" $((gen[$1] + 2)); }
# untouched DESC FROM TO: no transaction since the row began, and the old system runs and boots
untouched() {
  local i wrong=
  for ((i = $2; i <= $3; i++)); do
    [ "$(on "h$i" readlink /run/current-system) $(default_of "h$i") $(generation_of "h$i")" = "${old[i]} ${old[i]} ${gen[i]}" ] || wrong+=" h$i"
    [ "$(newest_txn "h$i" || echo none)" = "${txn[i]}" ] || wrong+=" h$i:transaction"
  done
  is "$1" "$wrong" ""
}
mark() { local i; for ((i = 1; i <= $1; i++)); do txn[i]=$(newest_txn "h$i" || echo none); done; }
txn=()

row_D9() {
  need 12
  good 2 12 d9
  one 1 d9 "${fails[@]}"
  mark 12
  fleet_of 1 12 --canary h1 --batch 4
  is "D9: exit code" "$RC" 3
  counts "D9: counts" "12 hosts: 11 skipped, 1 rolled back"
  like "D9: why the others were not switched" "$OUT" 'note: 11 hosts were not switched, since 1 host of wave 1 failed'
  back 1
  untouched "D9: the other eleven are as before" 2 12
  oracle h12 "$(state_of h12)" "${old[12]}" "${gen[12]}"
}

row_D10() {
  local i
  need 20
  # so many may fail: the third of three waves is one too many for the fourth
  good 1 20 d10a
  for i in 2 7 12; do one $i d10a "${fails[@]}"; done
  mark 20
  fleet_of 1 20 --batch 25% --max-failures 2
  is "D10 three failures, two are allowed: exit code" "$RC" 3
  counts "D10 three failures, two are allowed" "20 hosts: 12 committed, 5 skipped, 3 rolled back"
  like "D10: why it stopped" "$OUT" 'note: 5 hosts were not switched, since 3 hosts failed up to wave 3'
  for i in 2 7 12; do back $i; done
  for i in 1 11 15; do done_well $i; done
  untouched "D10: the last wave is as before" 16 20
  adopt 20
  # the failed wave goes back
  good 1 20 d10b
  for i in 7 8 9; do one $i d10b "${fails[@]}"; done
  mark 20
  fleet_of 1 20 --batch 5 --on-failure rollback-batch
  is "D10 rollback-batch: exit code" "$RC" 3
  counts "D10 rollback-batch" "20 hosts: 5 committed, 10 skipped, 3 rolled back, 2 taken back"
  for i in 6 10; do taken_back $i; done
  for i in 7 8 9; do back $i; done
  for i in 1 5; do done_well $i; done
  untouched "D10 rollback-batch: the waves behind are as before" 11 20
  adopt 20
  # all that was committed does
  good 1 20 d10c
  for i in 7 8 9; do one $i d10c "${fails[@]}"; done
  mark 20
  fleet_of 1 20 --batch 5 --on-failure rollback-all
  is "D10 rollback-all: exit code" "$RC" 3
  counts "D10 rollback-all" "20 hosts: 10 skipped, 3 rolled back, 7 taken back"
  for i in 1 2 3 4 5 6 10; do taken_back $i; done
  for i in 7 8 9; do back $i; done
  untouched "D10 rollback-all: the waves behind are as before" 11 20
}

row_D11() {
  local i
  SUCCESS_TIMEOUT=5 SWITCH_TIMEOUT=8
  need 5
  good 1 5 d11
  one 3 d11 "${cut_off[@]}"
  for i in 1 2 3 4 5; do probe_start h$i; done
  fleet_of 1 5 --atomic
  is "D11: exit code" "$RC" 3
  counts "D11: none is committed" "5 hosts: 5 rolled back"
  for i in 1 2 3 4 5; do probe_stop h$i; back $i; done
  like "D11: the others say because of whom" "$OUT" '^\[h1\]   reason: h3 of its wave failed, and so none is confirmed'
}

# fresh_ssh HOST: the ssh that would confirm it
fresh_ssh() {
  local p args
  for p in $(ip netns pids "$TB_PREFIX-ctl"); do
    { args=$(tr '\0' ' ' < "/proc/$p/cmdline"); } 2> /dev/null
    if [[ $args == ssh\ * && $args == *" root@$1 "*'/bin/belay-agent" confirm'* ]]; then echo "$p"; fi
  done
}
has_fresh_ssh() { [ -n "$(fresh_ssh "$1")" ]; }
# held HOST...: the deployer said so of each
held() { local h; for h; do grep -q "^\[$h\] Could be confirmed" "$OUT" || return 1; done; }
# atomic_start NAME: h1 to h3 as a whole, of which h3 takes a while
atomic_start() {
  local i
  SUCCESS_TIMEOUT=15
  need 3
  good 1 2 "$1"
  one 3 "$1" --argstr activationExtra 'sleep 5'
  fleet h1="${new[1]}" h2="${new[2]}" h3="${new[3]}"
  belay_start deploy --fleet-json "$FLEET" --atomic
  wait_for 60 held h1 h2 || not_ok "$1: two wait for the third"
}
row_D12() {
  local p i
  atomic_start d12a
  # what h1's ssh would send is kept in it, so that the deployer's proof reaches all but this one
  p=$(fresh_ssh h1)
  kill -STOP $p || not_ok "D12: h1 has a fresh connection"
  check "D12 the others are confirmed" wait_for 60 eval '[ "$(state_of h2) $(state_of h3)" = "COMMITTED COMMITTED" ]'
  leave
  kill -KILL $p
  is "D12 the deployer is dead between two confirmations: the wave is split" "$(state_of h1)" WAIT_CONFIRM
  belay resume --fleet-json "$FLEET"
  is "D12 resume finishes it" "$RC" 0
  like "D12: the split is told" "$OUT" 'note: wave 1 was left while it was being confirmed, and may be split; still open: h1'
  for i in 1 2 3; do done_well $i; done
  # dead before that: nobody is confirmed by anybody, until all can be
  atomic_start d12b
  is "D12 dead before the decision" "$(state_of h1) $(state_of h2)" "WAIT_CONFIRM WAIT_CONFIRM"
  leave
  belay resume --fleet-json "$FLEET"
  is "D12 dead before the decision: resume waits for all" "$RC" 0
  like "D12 dead before the decision: says so" "$OUT" 'note: wave 1 was left before it was confirmed; it is when all of these can be: h1, h2, h3'
  for i in 1 2 3; do done_well $i; done
}

# when HOST's newest transaction began, and when it ended, in nanoseconds
began() { local t; t=$(stat -c %.9Y "$(newest_txn "$1")/key"); echo "${t/./}"; }
ended_at() { local t; t=$(stat -c %.9Y "$(newest_txn "$1")/state"); echo "${t/./}"; }
row_D13() {
  local b inner b_old inner_old b_gen inner_gen
  need 1
  if [ ! -e "$TB_STATE/bastion/kind" ]; then
    up bastion 15 --bastion
    up inner 16 --segment 3
    "$TB/jump-alias" inner inner bastion
  fi
  baseline bastion; baseline inner
  b_old=$(old_of bastion) inner_old=$(old_of inner) b_gen=$(generation_of bastion) inner_gen=$(generation_of inner)
  one 1 d13a
  b=$(system bastion 15 --argstr version d13a) inner=$(system inner 16 --argstr version d13a)
  DEPLOY_ARGS=()
  deploy bastion="$b" inner="$inner" h1="${new[1]}"
  is "D13 a jump host and one behind it: committed" "$RC" 0
  like "D13: the one behind goes first" "$OUT" '^wave 1 of 2: inner, h1$'
  like "D13: the jump host alone, behind it" "$OUT" '^wave 2 of 2: bastion$'
  check "D13: they are never unconfirmed together" test "$(ended_at inner)" -lt "$(began bastion)"
  oracle bastion COMMITTED "$b" $((b_gen + 1))
  oracle inner COMMITTED "$inner" $((inner_gen + 1))
  baseline bastion; baseline inner; adopt 1
  b_old=$b inner_old=$inner b_gen=$((b_gen + 1)) inner_gen=$((inner_gen + 1))
  # the one behind is cut off: it comes back by the road that nobody touches meanwhile
  SUCCESS_TIMEOUT=6
  one 1 d13b
  b=$(system bastion 15 --argstr version d13b) inner=$(system inner 16 --argstr version d13b --arg address null)
  deploy bastion="$b" inner="$inner" h1="${new[1]}"
  is "D13 the one behind is cut off: exit code" "$RC" 3
  oracle inner ROLLED_BACK "$inner_old" "$inner_gen"
  oracle bastion COMMITTED "$b_old" "$b_gen"
  baseline bastion; baseline inner; adopt 1
  # the jump host is: the one behind is committed by then, and reached again
  one 1 d13c
  b=$(system bastion 15 --argstr version d13c --arg address null) inner=$(system inner 16 --argstr version d13c)
  deploy bastion="$b" inner="$inner" h1="${new[1]}"
  is "D13 the jump host is cut off: exit code" "$RC" 3
  oracle bastion ROLLED_BACK "$b_old" "$b_gen"
  oracle inner COMMITTED "$inner" $((inner_gen + 1))
}

# What D14 breaks, one of these a host: the arguments of its system
faults=(
  "--argstr activationExtra 'exit 1'"
  "--argstr activationExtra 'kill -SEGV \$\$'"
  "--argstr activationExtra 'sleep 300'"
  "--arg units '{ \"x.service\".text = \"[Service]\\nType=oneshot\\nExecStart=/bin/false\\n\"; \"x.service\".wantedBy = [ \"multi-user.target\" ]; }'"
  "--arg address null"
  "--arg sshdEnable false"
  "--arg authorizedKeys '[ ]'"
  "--argstr bootloaderExtra 'exit 1'"
)
row_D14() {
  local i n=$FLEET_HOSTS bad=() kind args total=0 started
  started=$SECONDS
  need "$n"
  say "# D14: $n hosts are up after $((SECONDS - started)) s"
  mapfile -t bad < <(seq 2 "$n" | awk -v seed="$FAULTS_SEED" 'BEGIN { srand(seed) } { print rand(), $1 }' | sort -n |
    head -n $(((n + 19) / 20)) | cut -d' ' -f2)
  good 1 "$n" "d14-$FAULTS_SEED"
  for i in "${!bad[@]}"; do
    kind=$(((i + FAULTS_SEED) % ${#faults[@]}))
    eval "args=(${faults[kind]})"
    one "${bad[i]}" "d14-$FAULTS_SEED" "${args[@]}"
    say "# D14: h${bad[i]}: ${faults[kind]}"
  done
  say "# D14: FAULTS_SEED=$FAULTS_SEED; all systems are built after $((SECONDS - started)) s"
  BELAY_LIMIT=3000 SUCCESS_TIMEOUT=20
  for i in "${!bad[@]}"; do probe_start "h${bad[i]}"; done
  stopwatch
  fleet_of 1 "$n" --canary 1 --batch 25% --max-failures ${#bad[@]} --parallel 8
  say "# time: D14 $(elapsed)"
  is "D14: exit code" "$RC" 3
  counts "D14: counts" "$n hosts: $((n - ${#bad[@]})) committed, ${#bad[@]} rolled back"
  for ((i = 1; i <= n; i++)); do
    if [[ " ${bad[*]} " == *" $i "* ]]; then probe_stop "h$i"; back "$i"; else done_well "$i"; fi
  done
  spoilt=1
}

rows "$@"
