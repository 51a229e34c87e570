#!/bin/bash
# Rollouts in waves against played agents: canaries, batches, how many may fail, taking back, jump hosts,
# connections lost while waiting.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
. "$(dirname "$0")/lib-waves.sh"

# ---- nothing said: all at once, as ever
anew; good "${all[@]}"
run deploy --fleet-json fleet.json
exits "nothing said: all are committed" 0
is "nothing said: no wave is told" "$(grep -c wave "$tmp/err")" 0
is "nothing said: a summary as ever" "$(tail -n 1 "$tmp/err")" "4 hosts: 4 committed"
is "nothing said: the usual time for the confirmation" "$(cut -d' ' -f3 "$tmp/start.log" | sort -u)" 2000

# ---- waves in their order
anew
run deploy --fleet-json fleet.json --canary 1 --batch 2 --soak 1
exits "waves: all are committed" 0
says "waves: the canary is told" "wave 1 of 3 (canary): web1"
says "waves: the second is told" "wave 2 of 3: web2, web3"
says "waves: the third is told" "wave 3 of 3: web4"
says "waves: the soak is told" "note: the canaries are committed; 1 s until the next wave"
check "waves: nobody is begun before the wave before has ended" test "$(line_of '[web1] Successfully')" -lt "$(line_of 'wave 2 of 3')" -a \
  "$(line_of '[web2] Successfully')" -lt "$(line_of 'wave 3 of 3')" -a "$(line_of '[web3] Successfully')" -lt "$(line_of 'wave 3 of 3')"
check "waves: all are prepared before the first" test "$(line_of '[web4] Copying')" -lt "$(line_of 'wave 1 of 3')"
run log web2
told "waves: the log has the host's wave" "wave 2 of 3"
run history --json
check "waves: so has the history" jq -es 'map({(.host): .wave}) | add == {"web1": 1, "web2": 2, "web3": 2, "web4": 3}' "$tmp/out"

sed 's/"nodes"/"rollout":{"canary":"web3","batch":"50%"},"nodes"/' fleet.json > rolled.json
anew
run deploy --fleet-json rolled.json --json
exits "the fleet's own rollout: committed" 0
check "--json: the waves" jq -es '[.[] | select(.event == "wave") | [.wave, .waves, .canary, .hosts]] ==
  [[1, 3, true, ["web3"]], [2, 3, false, ["web1", "web2"]], [3, 3, false, ["web4"]]]' "$tmp/out"
check "--json: each result has its wave" jq -es '[.[] | select(.event == "result") | [.host, .wave]] | sort == [["web1", 2], ["web2", 2], ["web3", 1], ["web4", 3]]' "$tmp/out"
anew
run deploy --fleet-json rolled.json --canary 0 --batch 100%
exits "the command line goes before the fleet: committed" 0
is "the command line goes before the fleet: one wave" "$(grep -c wave "$tmp/err")" 0
anew
run deploy --fleet-json rolled.json --batch 1 web1 web2
exits "a canary that is not selected" 0
says "a canary that is not selected: the others' waves stay" "wave 1 of 2: web1"
says "a canary that is not selected: there is none" "note: no canaries: none of this run's hosts is one"

# ---- failures
anew; good "${all[@]}"; bad web1 0
run deploy --fleet-json fleet.json --canary web1
exits "the canary fails: status 3" 3
is "the canary fails: nobody else was started" "$(started)" "web1"
says "the canary fails: the others say why" "[web2]   reason: 1 host of wave 1 failed"
says "the canary fails: so does the end" "note: 3 hosts were not switched, since 1 host of wave 1 failed"
says "the canary fails: the summary" "4 hosts: 3 skipped, 1 rolled back"
anew
run deploy --fleet-json fleet.json --batch 1 --max-failures 1
exits "one may fail: status 3" 3
is "one may fail: the others are switched" "$(in_order)" "web1 web2 web3 web4"
anew; bad web2 0
run deploy --fleet-json fleet.json --batch 1 --max-failures 1
is "a second one may not: nobody behind it" "$(in_order)" "web1 web2"
says "a second one may not: the reason counts both" "[web3]   reason: 2 hosts failed up to wave 2"
anew
run deploy --fleet-json fleet.json --batch 1 --keep-going
is "--keep-going: all are switched" "$(in_order)" "web1 web2 web3 web4"
exits "--keep-going: status 3" 3
anew; good web2; echo 'refuse_connection "Connection refused"' | host web1
run deploy --fleet-json fleet.json --batch 2 --max-failures 1
exits "one that is not reached may fail too: status 1" 1
is "one that is not reached may fail too: the others are switched" "$(started)" "web2 web3 web4"
anew
run deploy --fleet-json fleet.json
says "a failure before the first wave" "note: 3 hosts were not switched, since 1 host could not be prepared"

# ---- committed hosts go back
anew; good "${all[@]}"; bad web3 1
run deploy --fleet-json fleet.json --batch 2 --on-failure rollback-batch
exits "rollback-batch: status 3" 3
is "rollback-batch: only the failed wave's committed host is started again" "$(started)" "web1 web2 web3 web4 web4"
is "rollback-batch: with the system that it ran before" "$(tail -n 1 "$tmp/start.log" | cut -d' ' -f1,2)" "web4 $before"
says "rollback-batch: says so" "[web4] Taken back to the system that it ran before"
says "rollback-batch: and what it runs" "[web4]   state: runs nixos-system-old"
says "rollback-batch: the summary" "4 hosts: 2 committed, 1 rolled back, 1 taken back"
is "rollback-batch: the old system is not copied" "$(grep -c 'nix .*copy.*nixos-system-old' "$tmp/nix.log")" 0
run history
told "rollback-batch: the history has a run for it" " web4 " "taken_back"
is "rollback-batch: two runs" "$(cut -d' ' -f1 "$tmp/out" | sort -u | wc -l)" 2
check "rollback-batch: no key is left" sh -c "! find '$tmp/state' -name '*.key' | grep ."
anew
run deploy --fleet-json fleet.json --batch 2 --on-failure rollback-all --json
exits "rollback-all: status 3" 3
is "rollback-all: every committed host goes back" "$(tail -n 3 "$tmp/start.log" | sort | cut -d' ' -f1,2 | paste -sd' ')" "web1 $before web2 $before web4 $before"
check "rollback-all: the events of the second run have its name" jq -es '[.[] | select(.event == "run")] | length == 2 and .[0].run != .[1].run and .[1].hosts == ["web1", "web2", "web4"]' "$tmp/out"
check "rollback-all: the last word counts each host once" jq -es '.[-1] | .hosts == 4 and .outcomes == {"rolled_back": 1, "taken_back": 3} and .exitCode == 3' "$tmp/out"
# one whose way back fails keeps the new system
anew
host web4 << 'X'
if [ -n "$fresh" ]; then asked; fi
begin
if [ "$(epoch_now)" = 2 ]; then go_back 'the activation ended with status 1'; fi
waiting
X
run deploy --fleet-json fleet.json --batch 2 --on-failure rollback-batch
exits "it cannot be taken back: status 3, of the other" 3
says "it cannot be taken back: says so" "[web4] Could not be taken back! It keeps the new system"
says "it cannot be taken back: why" "[web4]   reason: the activation ended with status 1"
says "it cannot be taken back: the summary" "1 rolled back, 1 kept"
# taken back is back on the old system, also where the failure itself was less
anew; good "${all[@]}"
echo "ready; take; frame 19 'reason=somebody else works on it' remedy=look; exec sleep 20" | host web3
run deploy --fleet-json fleet.json --batch 2 --on-failure rollback-all
says "refused at the start, the others taken back" "4 hosts: 1 refused, 3 taken back"
exits "refused at the start, the others taken back: status 3" 3
# checks are for the new system: on the way back they decide nothing
NODE_FIELDS='"checks":[{"name":"x","type":"file","path":"/new"}]' fleet checks.json "web3=$a" "web4=$a"
anew; good web4
run deploy --fleet-json checks.json --on-failure rollback-all
says "with checks: taken back" "[web4] Taken back"
checks=$(sed -n 's/^web4 .* //p' "$tmp/start.log" | paste -sd' ')
check "with checks: not as required on the way back as forwards ($checks)" test "${checks% *}" != "${checks#* }" -a -n "${checks#* }"

# ---- hosts that others are reached through
echo 'echo "proxyjump root@web1"' > "$tmp/hosts/web3.config"
anew; good "${all[@]}"
run deploy --fleet-json fleet.json
exits "a jump host: committed" 0
says "a jump host: the others go first" "wave 1 of 2: web2, web3, web4"
says "a jump host: it goes alone" "wave 2 of 2: web1"
is "a jump host: no word of canaries" "$(grep -c canar "$tmp/err")" 0
is "a jump host: each is asked about once" "$(sort -u "$tmp/ssh-G.log" | wc -l) $(wc -l < "$tmp/ssh-G.log")" "4 4"
anew; bad web2 0
run deploy --fleet-json fleet.json
is "a jump host: not begun when one before it failed" "$(started)" "web2 web3 web4"
anew; good web2
run deploy --fleet-json fleet.json --canary web1
says "a jump host is no canary" "note: no canaries" "others are reached through it"
anew
run deploy --fleet-json fleet.json web1
exits "one host alone" 0
check "one host alone: nobody is asked about its way" test ! -e "$tmp/ssh-G.log"
echo 'exit 255' > "$tmp/hosts/web3.config"
anew
run deploy --fleet-json fleet.json
says "a way that ssh does not tell" "note: ssh -G does not tell the way to web3: taken for one that leads through no other host"
rm "$tmp/hosts/web3.config"

# ---- a connection that is lost before the host's wave has come
anew; slow web1 2
host web2 << 'X'
if [ -n "$fresh" ]; then asked; fi
if [ -e "$TMP/again" ]; then begin; waiting; fi
touch "$TMP/again"; ready; sleep 1; exit 255
X
run deploy --fleet-json fleet.json --batch 1
exits "lost while it waits for its wave: committed" 0
says "lost while it waits for its wave: says so" "[web2] note: lost while it waited for its turn" "connecting again"
is "lost while it waits for its wave: the order stays" "$(in_order)" "web1 web2 web3 web4"

# ---- what is refused
anew
run deploy --fleet-json fleet.json --canary web9
refused "a canary that there is not" "canary: no node matches 'web9'; did you mean 'web1'?"
run deploy --fleet-json fleet.json --batch 0
refused "a batch of nobody" "--batch: '0' is neither a number of hosts from 1 to 10000 nor a part like 25%"
run deploy --fleet-json fleet.json --on-failure rollback
refused "--on-failure of another kind" "--on-failure: 'rollback' is none of stop, rollback-batch, rollback-all"
run deploy --fleet-json fleet.json --max-failures 2 -k
refused "a limit and none" "--keep-going is --max-failures without a limit; give one"
run deploy --fleet-json fleet.json --soak 86401
refused "a soak of more than a day" "--soak: '86401' is not a number from 0 to 86400"
is "no host was asked in all this" "$(cat "$tmp/ssh.log")" ""
done_testing
