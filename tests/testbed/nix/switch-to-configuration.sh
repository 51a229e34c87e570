#!/bin/bash
# shellcheck disable=SC2086,SC1087,SC2164  # @out@ and unit names have no blanks
# What NixOS's switch-to-configuration does as a deployer sees it, in the same
# order and with the same exit codes:
#   1 usage, lock, pre-switch check or boot loader failed   2 activation failed
#   3 systemd did not reload    4 some unit failed           11 the lock is taken
#   100 init interface differs  101 nobody reads our standard error any more
out=@out@
action=$1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export NIXOS_ACTION=$action
run=/run/nixos
# Like the real one, which ignores SIGPIPE and panics when it cannot print.
trap '' PIPE
say() { echo "$@" >&2 || exit 101; }

case $action in switch|boot|test|dry-activate|check) ;; *)
  say "Usage: $0 [check|switch|boot|test|dry-activate]"; exit 1 ;;
esac
[ "$(id -u)" = 0 ] || { say "must be run as the root user"; exit 1; }
[ -f /etc/NIXOS ] || grep -q '^ID=nixos' /etc/os-release || { say "This is not a NixOS installation!"; exit 1; }

mkdir -p $run
exec 9>> $run/switch-to-configuration.lock
flock -n 9 || { say "Could not acquire lock"; exit 11; }   # EAGAIN, as the real one's die()

if [ -s $out/pre-switch-check ] && [ "$NIXOS_NO_CHECK" != 1 ]; then
  bash $out/pre-switch-check $out "$action" 9>&- || { say "Pre-switch checks failed"; exit 1; }
fi
[ "$action" = check ] && exit 0
if [ "$action" = switch ] || [ "$action" = boot ]; then
  $out/bin/install-bootloader $out 9>&- || { say "Failed to install bootloader"; exit 1; }
fi
[ "$NIXOS_NO_SYNC" = 1 ] || sync -f /nix/store
[ "$action" = boot ] && exit 0

if [ "$(cat /run/current-system/init-interface-version 2>/dev/null)" != "$(cat $out/init-interface-version)" ]; then
  say "Warning: the new NixOS configuration has an 'init' that is incompatible with the current configuration."
  exit 100
fi
trap '' HUP
old_users=$(readlink -f /run/current-system)/etc/systemd/user

declare -A stop start restart reload skip hide active
for k in start restart reload; do
  if [ -f $run/$k-list ]; then while read -r u; do eval "$k[\$u]=1"; done < $run/$k-list; fi
done
record() { [ "$action" = dry-activate ] || echo "$2" >> "$run/$1-list"; }
yes() { case ${1,,} in 1|yes|true|on) return 0 ;; esac; return 1; }
unit_key() { # file key default: last value of a key in the unit and its drop-ins
  local v
  v=$(cat "$1" "$1".d/*.conf 2>/dev/null | sed -n "s/^$2=//p" | tail -n1)
  echo "${v:-$3}"
}
# Units are compared by content, as the real one does since 2022; a difference
# in X-Reload-Triggers alone asks for a reload.
content() { cat -- "$1" "$1".d/*.conf 2>/dev/null | grep -v '^X-Reload-Triggers='; }
triggers() { cat -- "$1" "$1".d/*.conf 2>/dev/null | grep '^X-Reload-Triggers='; }
show() { # text set...: "text a, b"
  local text=$1 n names=; shift
  for n in "$@"; do [ -n "${hide[$n]}" ] || names+="$n"$'\n'; done
  [ -n "$names" ] || return 0
  say "$text $(printf %s "$names" | sort | paste -sd, | sed 's/,/, /g')"
}

while read -r unit _ state _; do
  case $state in active|activating|reloading|deactivating) active[$unit]=1 ;; *) continue ;; esac
  [ "$state" = active ] || [ "$state" = activating ] || continue
  base=$unit
  if [[ $unit =~ ^(.*)@[^.]*\.(.*)$ ]] && [ ! -e /etc/systemd/system/$unit ]; then base=${BASH_REMATCH[1]}@.${BASH_REMATCH[2]}; fi
  old=/etc/systemd/system/$base new=$out/etc/systemd/system/$base
  [ -e "$old" ] || [ -e "$new" ] || continue
  if [ -e "$old" ] && { [ ! -e "$new" ] || [ "$(readlink -f "$new")" = /dev/null ]; }; then
    if yes "$(unit_key "$old" X-StopOnRemoval yes)"; then stop[$unit]=1; fi
    continue
  fi
  [ -e "$old" ] || continue
  case $unit in
    *.target)
      yes "$(unit_key "$new" RefuseManualStart no)" || { start[$unit]=1; hide[$unit]=1; record start "$unit"; }
      if yes "$(unit_key "$new" X-StopOnReconfiguration no)"; then stop[$unit]=1; fi
      continue ;;
  esac
  if [ "$(content "$old")" = "$(content "$new")" ]; then
    if [ "$(triggers "$old")" != "$(triggers "$new")" ]; then reload[$unit]=1; record reload "$unit"; fi
    continue
  fi
  case $unit in
    *.mount) reload[$unit]=1; record reload "$unit" ;;
    *.socket|*.path|*.slice) ;;
    *)
      if yes "$(unit_key "$new" X-ReloadIfChanged no)"; then reload[$unit]=1; record reload "$unit"
      elif ! yes "$(unit_key "$new" X-RestartIfChanged yes)" || yes "$(unit_key "$new" RefuseManualStop no)"; then skip[$unit]=1
      elif ! yes "$(unit_key "$new" X-StopIfChanged yes)"; then restart[$unit]=1; record restart "$unit"
      else stop[$unit]=1; start[$unit]=1; record start "$unit"
      fi ;;
  esac
done < <(systemctl list-units --full --no-legend --plain)

if [ "$action" = dry-activate ]; then
  show "would stop the following units:" "${!stop[@]}"
  show "would NOT stop the following changed units:" "${!skip[@]}"
  say "would activate the configuration..."
  $out/dry-activate $out
  show "would reload the following units:" "${!reload[@]}"
  show "would restart the following units:" "${!restart[@]}"
  show "would start the following units:" "${!start[@]}"
  exit 0
fi

logger -t nixos "switching to system configuration $out" 2>/dev/null
res=0
jobs() { # verb unit...: all units, one systemctl each, in parallel; 4 if one fails
  local verb=$1 u p pids=(); shift
  for u in "$@"; do systemctl "$verb" -- "$u" 9>&- & pids+=($!); done
  for p in "${pids[@]}"; do
    wait "$p" || { say "Failed to $verb $1"; res=4; }
    shift
  done
}
# user_units UID NAME: as that user's manager sees them; those that run and have changed are restarted, and new ones
# come with the target, which does not fail with them.
user_units() {
  local uid=$1 name=$2 u failed=0
  as() {
    setpriv --reuid "$uid" --regid "$(id -g "$name")" --init-groups env -i PATH=$PATH XDG_RUNTIME_DIR="/run/user/$uid" systemctl --user "$@" 9>&-
  }
  as daemon-reload || return 1
  for u in $out/etc/systemd/user/*.service; do
    [ -e "$u" ] && [ "$(content "$u")" != "$(content "$old_users/${u##*/}")" ] || continue
    as -q is-active "${u##*/}" || continue
    say "restarting the following user units: ${u##*/}"
    as restart "${u##*/}" || { say "Failed to restart user unit ${u##*/}"; failed=1; }
  done
  as start default.target || failed=1
  return $failed
}
if [ ${#stop[@]} -gt 0 ]; then
  show "stopping the following units:" "${!stop[@]}"
  systemctl stop -- "${!stop[@]}" 9>&-
fi
show "NOT restarting the following changed units:" "${!skip[@]}"

say "activating the configuration..."
$out/activate $out 9>&- || { say "Failed to run activate script"; res=2; }

systemctl reset-failed
systemctl daemon-reload || res=3
# Users who are logged in or linger. Older programs, also the one in Perl, drop what comes of it.
while read -r uid name _; do
  say "reloading user units for $name..."
  user_units "$uid" "$name" || { say "warning: user activation for $name failed"; res=4; }
done < <(loginctl list-users --no-legend 2> /dev/null)
systemctl restart sysinit-reactivation.target || res=4
for u in "${!reload[@]}"; do
  if ! systemctl -q is-active "$u"; then unset "reload[$u]"; start[$u]=1; record start "$u"; fi
done
if [ ${#reload[@]} -gt 0 ]; then show "reloading the following units:" "${!reload[@]}"; jobs reload "${!reload[@]}"; fi
rm -f $run/reload-list
if [ ${#restart[@]} -gt 0 ]; then show "restarting the following units:" "${!restart[@]}"; jobs restart "${!restart[@]}"; fi
rm -f $run/restart-list
show "starting the following units:" "${!start[@]}"
if [ ${#start[@]} -gt 0 ]; then jobs start "${!start[@]}"; fi
rm -f $run/start-list

sleep 0.25
failed=()
new=()
while read -r unit _ state sub _; do
  if [ "$state" = failed ]; then failed+=("$unit")
  elif [ "$sub" = auto-restart ] && [ "$(systemctl show -p ExecMainStatus --value "$unit")" != 0 ]; then failed+=("$unit")
  elif [ -z "${active[$unit]}" ] && [ "$state" = active ] && [[ $unit != *.scope ]]; then new+=("$unit")
  fi
done < <(systemctl list-units --full --no-legend --plain)
show "the following new units were started:" "${new[@]}"
if [ ${#failed[@]} -gt 0 ]; then
  show "warning: the following units failed:" "${failed[@]}"
  systemctl status --no-pager --full "${failed[@]}" >&2
  res=4
fi
exit $res
