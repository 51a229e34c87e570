#!/bin/bash
# A user whose sudo wants a password, as nixos-rebuild --ask-sudo-password knows it: asked for once, here, and
# never in an argument, the environment, a log or a file.
. "$(dirname "$0")/lib.sh"

up web1 11
key=$(cat "$TB_STATE/ctl/home/.ssh/id_ed25519.pub")
conf=$TEST/conf.nix
# configuration VERSION
configuration() {
  cat > "$conf" << X
{ options = { }; config.system.build.toplevel = import $TB/nix/toplevel.nix { hostName = "web1"; address = "10.77.0.13/16"; version = "$1";
  authorizedKeys = "$key"; users = [ { name = "deploy"; authorizedKeys = [ "$key" ]; sudoPassword = true; } ]; }; }
X
}
secret=correct-horse-$$
configuration user
check "the host gets its user" belay switch -f "$conf" --target-host root@web1
on web1 sh -c "echo deploy:$secret | chpasswd"
# The user's Nix asks a daemon, which trusts it.
on web1 sh -c 'mkdir -p /etc/nix; echo "trusted-users = root deploy" >> /etc/nix/nix.conf; rm -rf /nix/var/nix/daemon-socket
  setsid -f nix-daemon > /var/log/nix-daemon.log 2>&1 < /dev/null'
check "the daemon is there" wait_for 20 on web1 test -S /nix/var/nix/daemon-socket/socket
check_not "without a password sudo refuses" timeout 20 "$TB/ctl" ssh deploy@web1 sudo -n true
user=$(profile_of web1)
oracle web1 COMMITTED "$user" 2

# ask PASSWORD ARGS...: belay with the password on its input, where there is no terminal
ask() {
  local password=$1; shift
  next_out
  echo "$password" | timeout 120 "$TB/ctl" strace -f -q -s 200 -e trace=execve -o "$TEST/strace" "$BELAY" "$@" > "$OUT" 2>&1 || RC=$?
}
configuration second
belay switch -f "$conf" --target-host deploy@web1
is "without the option: refused" "$RC" 1
like "without the option: why" "$OUT" "sudo wants a password"
ask wrong switch -f "$conf" --target-host deploy@web1 --ask-sudo-password
is "a wrong password: refused" "$RC" 1
like "a wrong password: why" "$OUT" "sudo does not take the password"
oracle web1 COMMITTED "$user" 2
ask "$secret" switch -f "$conf" --target-host deploy@web1 --ask-sudo-password
is "with it: deployed" "$RC" 0
second=$(profile_of web1)
is "with it: its system runs" "$(on web1 cat /run/current-system/nixos-version)" second
oracle web1 COMMITTED "$second" 3
check_not "the password is in no argument here" grep -qF "$secret" "$TEST/strace"
check_not "in no file or log here" grep -rqF "$secret" "$TB_STATE/ctl/home" "$OUT"
check_not "in no file of the agent there" on web1 grep -rqF "$secret" /var/lib/belay /var/log /run/belay
ask wrong switch --target-host root@web1 -f "$conf" --ask-sudo-password
is "root needs none" "$RC" 0
done_testing
