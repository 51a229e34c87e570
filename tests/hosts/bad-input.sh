#!/bin/bash
# Bad input: each gives one clear message with the host and what to do, and changes nothing.
. "$(dirname "$0")/lib.sh"

up web1 11
old=$(old_of web1)
new=$(system web1 11 --argstr version b)
says() { # NAME RC REGEX...: the last run ended so, with these in its output
  local name=$1 rc=$2 re; shift 2
  is "$name: exit code" "$RC" "$rc"
  for re in "$@"; do like "$name: says '$re'" "$OUT" "$re"; done
  is "$name: nothing changed" "$(on web1 readlink /run/current-system) $(state_of web1)" "$old NONE"
}
fleet web1="$new"
belay deploy --fleet-json "$FLEET" web7
says "unknown host name" 2 "web7" "web1"

mkdir -p "$TEST/f"
printf '{ nodes.web1 = { host = "root@web1" toplevel = 1; }; }\n' > "$TEST/f/fleet.nix"
belay deploy -f "$TEST/f/fleet.nix"
says "syntax error in the fleet file" 2 'fleet.nix' 'syntax error'

other=$(ctl nix-build --no-out-link -E 'derivation { name = "thing"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; }')
deploy web1="$other"
says "a toplevel that is none" 2 'web1' 'is not a NixOS system' 'config.system.build.toplevel'

# shellcheck disable=SC2034
HOST_web1=root@10.77.3.99
stopwatch
deploy web1="$new"
says "an unreachable host" 1 '^\[web1\] Failed to reach the host' 'next: look whether it is up'
check "an unreachable host: soon" test "$(elapsed)" -lt 12000
unset HOST_web1

cp "$TB_STATE/ctl/home/.ssh/known_hosts" "$TEST/known_hosts"
ssh-keygen -q -t ed25519 -N '' -f "$TEST/other"
sed -i "s|ssh-ed25519 .*|$(cut -d' ' -f1,2 "$TEST/other.pub")|" "$TB_STATE/ctl/home/.ssh/known_hosts"
deploy web1="$new"
says "a wrong host key" 1 '^\[web1\] +reason: its host key is not the one in known_hosts' 'next: .*ssh-keygen -R'
: > "$TB_STATE/ctl/home/.ssh/known_hosts"
deploy web1="$new"
says "an unknown host key" 1 '^\[web1\] +reason: its host key is not in known_hosts' 'next: .*fingerprint'
cp "$TEST/known_hosts" "$TB_STATE/ctl/home/.ssh/known_hosts"

# no space: the store's file system is full
on web1 sh -c 'mkdir -p /var/small && mount -t tmpfs -o size=2m tmpfs /var/small && mkdir /var/small/belay && mkdir -p /var/lib/belay && mount --bind /var/small/belay /var/lib/belay'
deploy web1="$new"
says "a journal that a reboot would lose" 1 '^\[web1\] +reason: journal: .*reboot' 'next: keep /var/lib/belay on a disk'
on web1 sh -c 'umount /var/lib/belay; umount /var/small'
big=$(system web1 11 --argstr version big --arg ballastMB 60)
on web1 sh -c 'mkdir -p /mnt/low && mount -t tmpfs -o size=20m tmpfs /mnt/low && mkdir /mnt/low/up /mnt/low/work && mount -t overlay -o lowerdir=/nix/store,upperdir=/mnt/low/up,workdir=/mnt/low/work overlay /nix/store
  systemctl stop nix-daemon.service' # the next one sees it
deploy web1="$big"
says "no space on the target" 1 '^\[web1\] +reason: .*(disk is full|No space left|MiB free)' 'next: make room'
on web1 sh -c 'systemctl stop nix-daemon.service; umount /nix/store; umount /mnt/low'

# D6: the host was switched by hand since
on web1 sh -c "nix-env -p /nix/var/nix/profiles/system --set $old" > /dev/null 2>&1
third=$(system web1 11 --argstr version third)
ctl nix copy --no-check-sigs --to ssh://root@web1 "$third" > /dev/null 2>&1
on web1 "$third/bin/switch-to-configuration" test > /dev/null 2>&1
deploy web1="$new"
is "D6 switched by hand: exit code" "$RC" 1
like "D6 switched by hand: says so" "$OUT" 'this host runs .*third but would boot'
like "D6 switched by hand: what to do" "$OUT" 'next: .*--force-drift'
is "D6 switched by hand: nothing changed" "$(on web1 readlink /run/current-system) $(state_of web1)" "$third NONE"
baseline web1
DEPLOY_ARGS=(--force-drift --strategy boot)
deploy web1="$third"
is "D6 a boot trial of what runs: exit code" "$RC" 1
like "D6 a boot trial of what runs: says so" "$OUT" 'it runs already: no boot of it'
is "D6 a boot trial of what runs: nothing changed" "$(on web1 readlink /run/current-system) $(profile_of web1) $(state_of web1)" "$third $old NONE"
DEPLOY_ARGS=(--force-drift)
check "D6 --force-drift takes what runs for the old system" deploy web1="$new"
DEPLOY_ARGS=()
oracle web1 COMMITTED "$new"
done_testing
