#!/bin/bash
# A good deployment to three hosts, then the same again: nothing to do, one connection a host.
. "$(dirname "$0")/lib.sh"

# accepted HOST: how many logins its sshd has accepted
accepted() { on "$1" journalctl -q --no-pager -u sshd.service | grep -c 'Accepted publickey'; }

up_all web1:11 web2:12 web3:13
declare -A new
for i in 1 2 3; do
  new[web$i]=$(system web$i 1$i --argstr version b)
  before[i]=$(accepted web$i)
  probe_start web$i
done
check "deploys to three hosts" deploy web1="${new[web1]}" web2="${new[web2]}" web3="${new[web3]}"
for i in 1 2 3; do
  probe_stop web$i
  is "web$i: one connection for the work and one to confirm" $(($(accepted web$i) - before[i])) 2
  grep "^\[web$i\] " "$OUT" | grep -v -e 'copying path' -e 'note:' | sed 's/ of [0-9]* paths: .*/ of N paths: so much/' > "$TEST/lines"
  printf "[web$i] %s\n" "Copying closure to host.." "copying 2 paths..." "copied 2 of N paths: so much" "Triggering system switcher.." \
    "Trying to confirm success.." "Successfully activated new system!" > "$TEST/wanted"
  check "web$i: the lines that users know, in their order" diff "$TEST/wanted" "$TEST/lines"
done
like "says the bound" "$OUT" 'within [0-9]+ s at the most'
# sessions linger for a moment: the oracle's own logins come later
for i in 1 2 3; do oracle web$i COMMITTED "${new[web$i]}" 2; before[i]=$(accepted web$i); done

# what they have is kept here, to tell the next systems by
ctl nix-store --gc --print-roots > "$TEST/roots" 2> /dev/null
for i in 1 2 3; do like "web$i: its system is kept on the deployer" "$TEST/roots" "/belay/deployed/web$i -> ${new[web$i]}\$"; done

# the record of the run
check "log of one host" belay log web2
like "log: what the activation printed" "$OUT" 'activation .*activating the configuration'
like "log: what the agent decided" "$OUT" 'agent .*COMMITTING'
check "history" belay history
like "history: who and how" "$OUT" 'web3 +committed'

check "the same again is fine" belay deploy --fleet-json "$FLEET"
for i in 1 2 3; do
  like "web$i: says that there is nothing to do" "$OUT" "^\[web$i\] Nothing to do"
  is "web$i: one connection" $(($(accepted web$i) - before[i])) 1
  is "web$i: still the first transaction" "$(basename "$(newest_txn web$i)")" 1
done
for i in 1 2 3; do oracle web$i COMMITTED "${new[web$i]}" 2; done

check "status" belay status --fleet-json "$FLEET"
like "status: what runs and boots" "$OUT" '^web1: runs nixos-system-web1-b, generation 2, and would boot it'
check "selection narrows" belay deploy --fleet-json "$FLEET" web1
if grep -q web2 "$OUT"; then not_ok "only the named host"; else ok "only the named host"; fi

oracle_again web1 "$(system web1 11 --argstr version c)"
done_testing
