#!/bin/bash
# A host with several addresses: one that does not answer is passed over, and the host's key is the one that is
# known under its name.
. "$(dirname "$0")/lib.sh"

up web1 11
new=$(system web1 11 --argstr version b)
# shellcheck disable=SC2034  # read by write_fleet
PLAN='"addresses":["10.77.0.250","10.77.0.251","10.77.0.13"]'
stopwatch
check "the third of three addresses answers" deploy web1="$new"
took=$(elapsed)
is "the first two were given two seconds each ($took ms)" "$([ "$took" -ge 4000 ] && [ "$took" -lt 30000 ] && echo yes)" yes
oracle web1 COMMITTED "$new" 2
check "status: the same" belay status --fleet-json "$FLEET"
check "plan: the same" belay plan --fleet-json "$FLEET"
check "doctor: the same" belay doctor --fleet-json "$FLEET"

# ---- somebody else's key at the first address that answers
up web2 12
# shellcheck disable=SC2034
PLAN='"addresses":["10.77.0.14","10.77.0.13"]'
next=$(system web1 11 --argstr version c)
check_not "another host answers first" deploy web1="$next"
like "its key is not the one of the name" "$OUT" "host key"
oracle web1 COMMITTED "$new" 2

# ---- none answers
# shellcheck disable=SC2034
PLAN='"addresses":["10.77.0.250","10.77.0.251"]'
check_not "no address answers" deploy web1="$next"
like "no address answers: said as ever" "$OUT" "Failed to reach the host! Nothing was changed"
done_testing
