#!/bin/bash
# A deployment that is run on the host itself: a new login confirms it, an old one cannot, and without any it
# goes back.
. "$(dirname "$0")/lib.sh"

up web1 11
home=$TEST/opt
mkdir -p "$home/lib"
cp "$BELAY" "$home/program"
cp -rL "$BELAY_DATADIR" "$home/share"
for lib in $(ldd "$BELAY" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'); do cp -L "$lib" "$home/lib/"; done
cp -r "$TB/nix" "$home/systems"
printf '#!/bin/sh\nexport LD_LIBRARY_PATH=/var/opt/belay/lib BELAY_DATADIR=/var/opt/belay/share\nexec /var/opt/belay/program "$@"\n' > "$home/belay"
chmod +x "$home/belay"
on web1 mkdir -p /var/opt/belay
put() { tar -C "$home" -c . | on web1 tar -C /var/opt/belay -x --no-same-owner 2>&1 | diag; }
key=$(cat "$TB_STATE/ctl/home/.ssh/id_ed25519.pub")
# configuration VERSION SECONDS [MORE]: what /var/opt/belay/conf.nix has as `web`
configuration() {
  cat > "$home/conf.nix" << X
{ web = { options.belay.deploy = { }; config = { belay.deploy.successTimeout = $2;
  system.build.toplevel = import ./systems/toplevel.nix { hostName = "web1"; address = "10.77.0.13/16"; version = "$1";
    authorizedKeys = "$key"; ${3:-} }; }; }; }
X
  put
}
version_of() { on web1 cat /run/current-system/nixos-version; }
login() { timeout 60 "$TB/ctl" ssh root@web1 "$@"; } # a fresh one
on_host() { next_out; login /var/opt/belay/belay "$@" > "$OUT" 2>&1 || RC=$?; }
begin() { next_out; login /var/opt/belay/belay switch -f /var/opt/belay/conf.nix -A web > "$OUT" 2>&1 & switch=$!; }
waits() { wait_for 40 state_is web1 WAIT_CONFIRM; }
ends() { wait $switch; RC=$?; }

# ---- confirmed by a new login
configuration first 60
begin
check "it waits for somebody" waits
# the host waits a moment before its deployer has heard of it
check "it says what to do" wait_for 20 grep -q "log in to this host anew.*belay confirm" "$OUT"
told=$OUT
on_host confirm
is "confirm, from a new login" "$RC" 0
ends
is "the deployment ends well" "$RC" 0
like "and says so" "$told" "Successfully activated new system!"
is "its system runs" "$(version_of)" first
first=$(profile_of web1)
oracle web1 COMMITTED "$first" 2
on_host confirm
is "confirm with nothing that waits: status" "$RC" 2
like "confirm with nothing that waits" "$OUT" "nothing on this host waits for a confirmation"

# ---- an old login shows nothing
configuration second 12
next_out
login 'sh -c "/var/opt/belay/belay switch -f /var/opt/belay/conf.nix -A web > /tmp/switch.out 2>&1 & sleep 8; /var/opt/belay/belay confirm; wait"' > "$OUT" 2>&1
like "confirm from the login of the deployment" "$OUT" "this login began before the deployment did"
check "nobody else confirms: it goes back" wait_for 60 state_is web1 ROLLED_BACK
oracle web1 ROLLED_BACK "$first" 2

# ---- nobody can log in
configuration cut 12 'sshdEnable = false;'
begin
check "a system that cuts the host off: it waits" waits
check "a system that cuts the host off: it goes back" wait_for 60 state_is web1 'ROLLING_BACK|ROLLED_BACK'
told=$OUT
check "somebody can log in again" wait_for 60 login true
# a login from before it was back does not count: another one then
visits() { next_out; timeout 15 "$TB/ctl" ssh root@web1 /var/opt/belay/belay confirm > "$OUT" 2>&1; [ $? = 3 ]; }
check "confirm is too late, and shows that the host is there" wait_for 60 visits
ends
is "a system that cuts the host off: rolled back" "$RC" 3
like "it says what is needed then" "$told" "log in anew within a minute"
is "it did not reboot" "$(boots web1)" 1
oracle web1 ROLLED_BACK "$first" 2

# ---- said aloud
configuration third 12
on_host switch -f /var/opt/belay/conf.nix -A web --no-confirm
is "--no-confirm" "$RC" 0
is "--no-confirm: its system runs" "$(version_of)" third
third=$(profile_of web1)
oracle web1 COMMITTED "$third" 3
on_host test -f /var/opt/belay/conf.nix -A web --no-confirm
like "test of what runs" "$OUT" "Nothing to do"

# ---- from a service, with nobody there
configuration fourth 12
next_out
on web1 env -u SSH_CONNECTION HOME=/root /var/opt/belay/belay switch -f /var/opt/belay/conf.nix -A web < /dev/null > "$OUT" 2>&1
is "with nobody there: refused" "$?" 2
like "with nobody there: why" "$OUT" "nobody is there who could log in anew.*--no-confirm"
next_out
on web1 env -u SSH_CONNECTION HOME=/root /var/opt/belay/belay switch -f /var/opt/belay/conf.nix -A web --no-confirm < /dev/null > "$OUT" 2>&1
is "with nobody there and --no-confirm" "$?" 0
fourth=$(profile_of web1)
oracle web1 COMMITTED "$fourth" 4

# ---- units are judged as ever
configuration broken 12 'activationExtra = "exit 1";'
on_host switch -f /var/opt/belay/conf.nix -A web --no-confirm
is "an activation that fails: rolled back" "$RC" 3
oracle web1 ROLLED_BACK "$fourth" 4

# ---- boot, rollback, generations
configuration later 12
on_host boot -f /var/opt/belay/conf.nix -A web
is "boot" "$RC" 0
is "boot: the old system runs on" "$(version_of)" fourth
is "boot: the new one boots" "$(default_of web1)" "$(profile_of web1)"
on_host list-generations
like "list-generations" "$OUT" '^5 current .*later '
done_testing
