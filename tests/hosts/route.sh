#!/bin/bash
# B4: the deployer reaches the host by its default gateway alone, and the new system drops it.
. "$(dirname "$0")/lib.sh"

up far1 31 --segment 2 --argstr networking scripted
SUCCESS_TIMEOUT=6
good=$(system far1 31 --argstr networking scripted --argstr version good)
check "a good deployment through the router" deploy far1="$good"
oracle far1 COMMITTED "$good" 2
baseline far1

bad=$(system far1 31 --argstr networking scripted --argstr version nogw --arg gateway null)
probe_start far1
stopwatch
deploy far1="$bad"
ms=$(elapsed)
is "B4: exit code of a rollback" "$RC" 3
check "B4: told soon ($ms ms)" test "$ms" -le 60000
probe_stop far1
like "B4: the default route is back" <(on far1 ip route) '^default via'
oracle far1 ROLLED_BACK "$good" 2

# the configuration does not want it so: the route went by an accident of the activation
stray=$(system far1 31 --argstr networking scripted --argstr version stray --argstr activationExtra 'ip route del default')
deploy far1="$stray"
is "the route is lost by accident: exit code of a rollback" "$RC" 3
like "the route is lost by accident: found on the host" "$OUT" "reason: default route gone, without a change of the network's configuration: eth0"
oracle far1 ROLLED_BACK "$good" 2
oracle_again far1
done_testing
