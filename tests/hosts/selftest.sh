#!/bin/bash
# The test bed itself, without belay: hosts, the deployer's side, the oracle, the probe.
# An oracle that cannot fail proves nothing, so most of it is made to fail here.
# shellcheck disable=SC2317  # functions given to check
. "$(dirname "$0")/lib.sh"

# oracle_finds DESC REGEX ORACLE-ARGUMENTS...: the oracle objects, and for this reason
oracle_finds() {
  local desc=$1 regex=$2; shift 2
  oracle_once "$@" > "$TEST/bad"
  like "oracle finds: $desc" "$TEST/bad" "$regex"
}
by_hand() { ctl ssh "root@$1" "$2/bin/switch-to-configuration" "$3"; }
copy() { ctl nix copy --no-check-sigs --to "ssh://root@$1" "$2"; }

stopwatch
up web1 11
say "# boot to the baseline: $(elapsed) ms"
old=$(old_of web1)

# ---- the deployer
check "ssh by name, without flags" ctl ssh root@web1 true
is "sessions have the PATH of NixOS" "$(ctl ssh root@web1 printenv PATH)" /run/wrappers/bin:/run/current-system/sw/bin
check_not "an unknown host key is refused" ctl ssh -o HostKeyAlias=other root@web1 true
check_not "the deployer has no way out of the test network" ctl bash -c 'exec 5<> /dev/tcp/192.0.2.1/80'
stopwatch; ctl true; ms=$(elapsed); say "# ctl costs $ms ms"
is "standard input and output pass through ctl" "$(echo hello | ctl cat)" hello
"$TB/ctl" sleep 100 3>&- & p=$!
sleep 0.2; is "ctl is the command" "$(tr '\0' ' ' < /proc/$p/cmdline)" "sleep 100 "
kill $p; wait $p; is "signals reach the command" $? 143

mkdir "$TEST/nix"
cat > "$TEST/nix/default.nix" << 'X'
derivation {
  name = "greet"; system = "x86_64-linux"; builder = "/bin/sh";
  args = [ "-c" "echo '#!/bin/sh' > $out; echo 'echo hello' >> $out; chmod 755 $out" ]; PATH = "/bin";
}
X
check "nix-build in ctl" ctl nix-build -o "$TEST/nix/result" "$TEST/nix"
is "the result runs" "$(ctl "$TEST/nix/result")" hello

# ---- systems
new=$(system web1 11 --argstr version b --arg units '{ "app.service".text="[Service]\nExecStart=/bin/sleep infinity\n"; }')
stopwatch; check "nix copy" copy web1 "$new"; say "# nix copy: $(elapsed) ms"
check "oracle_once is content with the old system" test -z "$(oracle_once web1 NONE "$old" 1)"
stopwatch; oracle web1 NONE "$old" 1; say "# oracle: $(elapsed) ms"

probe_start web1
stopwatch; check "switch-to-configuration test" by_hand web1 "$new" test; say "# test: $(elapsed) ms"
is "runs the new system" "$(on web1 readlink /run/current-system)" "$new"
check "its unit runs" on web1 systemctl -q is-active app.service
check "switch-to-configuration check" by_hand web1 "$new" check
sleep 0.2; probe_stop web1
oracle_finds "another system runs" "O3 runs $new" web1 NONE "$old" 1
on web1 "$old/bin/switch-to-configuration" test > "$TEST/log" 2>&1
is "and back" "$(on web1 readlink /run/current-system)" "$old"
sleep 0.3; oracle web1 NONE "$old" 1
on web1 bash -c "$new/bin/switch-to-configuration test 2>&1 | true; exit \${PIPESTATUS[0]}" > "$TEST/log"
is "switch-to-configuration with nobody to read its output: 101" $? 101
on web1 "$old/bin/switch-to-configuration" test > "$TEST/log" 2>&1

# ---- the oracle and the probe can fail
probe_start web1
on web1 nix-env -p /nix/var/nix/profiles/system --set "$new"
sleep 0.2
probe_found web1 > "$TEST/probe"
like "probe finds a profile set too early" "$TEST/probe" "profile $new"
oracle_finds "a wrong profile" "O3 the profile names $new" web1 NONE "$old" 1
oracle_finds "a wrong generation" "O3 the profile's generation is 2" web1 NONE "$old" 1
oracle_finds "no transaction" "O1 the transaction is NONE" web1 COMMITTED "$new" 2
on web1 "$new/bin/switch-to-configuration" switch > "$TEST/log" 2>&1
is "switch by hand sets the boot loader's default" "$(default_of web1)" "$new"
oracle web1 NONE "$new" 2
on web1 bash -c 'echo "[Service]
ExecStart=/bin/false" > /run/systemd/system/bad.service; systemctl start bad; sleep 0.1' 2> /dev/null
oracle_finds "a failed unit" "O4 unit bad.service" web1 NONE "$new" 2
on web1 systemctl reset-failed
on web1 systemd-run -q --unit belay-7 sleep 100
oracle_finds "a unit left" "O5 left: unit belay-7" web1 NONE "$new" 2
on web1 systemctl stop belay-7
on web1 bash -c 'mkdir -p /var/lib/belay/txn/2 /var/lib/belay/txn/10; cd /var/lib/belay
  echo state=COMMITTED > txn/10/state; echo state=ROLLED_BACK > txn/2/state; echo 00112233445566778899aabbccddeeff > txn/10/key'
oracle web1 COMMITTED "$new" 2
on web1 bash -c 'mkdir -p /var/lib/belay; exec 9< /var/lib/belay; flock 9; exec setsid sleep 100' < /dev/null > /dev/null 2>&1 &
wait_for 5 on web1 bash -c '! flock -n /var/lib/belay true'
on web1 bash -c 'setsid -f env K=00112233445566778899aabbccddeeff bash -c "exec -a belay-agent sleep 100"; logger key 00112233445566778899aabbccddeeff
  echo 00112233445566778899AABBCCDDEEFF > /var/lib/belay/txn/2/agent.log' > /dev/null 2>&1
echo 00112233445566778899aabbccddeeff > "$TB_STATE/ctl/state/open"
oracle_finds "a held lock" "O5 left: lock" web1 COMMITTED "$new" 2
like "oracle finds: a process" "$TEST/bad" "O5 left: process .*belay-agent"
like "oracle finds: the key in the journal" "$TEST/bad" "O8 the key is in the journal"
like "oracle finds: the key in an environment" "$TEST/bad" "O8 the key is in a command line or environment"
like "oracle finds: the key in a log" "$TEST/bad" "O8 the key is in a log"
like "oracle finds: the key in a readable file" "$TEST/bad" "O8 the key is in a file of the deployer"
on web1 bash -c 'rm -rf /var/lib/belay; pkill -x sleep'
rm "$TB_STATE/ctl/state/open"

# ---- power
crash web1
stopwatch; check "boots again after a power cut" power_on web1; say "# power on: $(elapsed) ms"
is "the system that was switched to" "$(on web1 readlink /run/booted-system)" "$new"
check "known by its host key" ssh_ok web1
mv "$TB_STATE/web1/nix/var/nix/profiles/system-1-link" "$TEST/"
oracle_finds "a system without a garbage collection root" "O6 .*$old" web1 NONE "$new" 2
mv "$TEST/system-1-link" "$TB_STATE/web1/nix/var/nix/profiles/"
oracle_again web1

# ---- a user with sudo, and without
key=$(cat "$TB_CACHE/id_ed25519.pub")
ann=$(system web1 11 --argstr version c --arg users "[ { name = \"ann\"; authorizedKeys = [ \"$key\" ]; sudo = true; } ]")
bob=$(system web1 11 --argstr version d --arg users "[ { name = \"ann\"; authorizedKeys = [ \"$key\" ]; } ]")
copy web1 "$ann" 2> /dev/null; copy web1 "$bob" 2> /dev/null
check "a system with a user" by_hand web1 "$ann" test
is "sudo without a password" "$(ctl ssh ann@web1 sudo -n id -u)" 0
is "sudo's PATH" "$(ctl ssh ann@web1 sudo -n printenv PATH)" /run/wrappers/bin:/run/current-system/sw/bin
check_not "sudo outside the wrappers does not work" ctl ssh ann@web1 /run/current-system/sw/bin/sudo -n id
check "the user reaches the Nix daemon" ctl ssh ann@web1 nix-store --store daemon -q --hash "$bob"
check "the same without sudo" by_hand web1 "$bob" test
check "ssh still works" ctl ssh ann@web1 true
check_not "sudo does not" ctl ssh ann@web1 sudo -n id

# ---- the ways of being cut off
broken=$(system web1 11 --argstr version e --arg address null)
copy web1 "$broken" 2> /dev/null
on web1 "$broken/bin/switch-to-configuration" test > "$TEST/log" 2>&1
check_not "a system without an address cuts off" ssh_ok web1
on web1 "$bob/bin/switch-to-configuration" test > "$TEST/log" 2>&1
check "and back" ssh_ok web1

# ---- other topologies
up far 12 --segment 2 --argstr networking scripted & p2=$!
up bastion 13 --bastion & p3=$!
wait $p2 && wait $p3
check "a host behind the router" ctl ssh root@far true
is "its address" "$(on far ip -o -4 addr show eth0 | awk '{print $4}')" 10.78.0.14/16
lost=$(system far 12 --argstr networking scripted --arg gateway null)
copy far "$lost" 2> /dev/null
on far "$lost/bin/switch-to-configuration" test > "$TEST/log" 2>&1
is "a system without the gateway loses the default route" "$(on far ip route show default)" ""
check_not "and the deployer" ssh_ok far
on far "$(old_of far)/bin/switch-to-configuration" test > "$TEST/log" 2>&1
sleep 0.3; oracle far NONE "$(old_of far)" 1
up inner 14 --segment 3
"$TB/jump-alias" inner-alias inner bastion
check_not "a host in segment 3 has no name" ctl getent hosts inner
check "but is reached through the bastion" ctl ssh root@inner-alias true
is "it is that host" "$(ctl ssh root@inner-alias hostname)" inner

# ---- a slow line
"$TB/wan-set" 50; ctl ssh root@web1 true
stopwatch; ctl bash -c 'read -r _ < /dev/tcp/web1/22'; ms=$(elapsed)
check "a round trip of 100 ms ($ms ms for connect and banner)" test "$ms" -ge 190 -a "$ms" -lt 500

# ---- nothing stays
"$TB/host-down" far
check_not "host-down forgets the name" grep -q far "$TB_STATE/ctl/hosts" "$TB_STATE/ctl/home/.ssh/known_hosts"
"$TB/ctl" sleep 1000 3>&- & disown
kill -KILL "$(< "$TB_STATE/web1/supervisor.pid")"          # as after a crash of the test
stopwatch; "$TB/net-down"; say "# net-down: $(elapsed) ms"
left=$(compgen -G "/run/netns/$TB_PREFIX-*"; compgen -G "/sys/fs/cgroup*/$TB_PREFIX-*"; compgen -G "/sys/fs/cgroup/*/$TB_PREFIX-*"; ls -d "$TB_STATE" 2> /dev/null; grep -F "$TB_STATE" /proc/mounts)
for f in /proc/[0-9]*; do
  [ "$f" = /proc/$$ ] || [ "$f" = /proc/$BASHPID ] || if (tr '\0' '\n' < "$f/environ" | grep -qx "TB_STATE=$TB_STATE") 2> /dev/null; then
    case $(readlink "$f/exe") in */bash | "") ;; *) left+=" process ${f#/proc/}" ;; esac
  fi
done
mkdir -p "$TEST"
is "net-down leaves no namespace, cgroup, mount, process or file" "$left" ""
done_testing
