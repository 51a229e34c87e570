#!/bin/bash
# `belay plan` with hosts that are played: what it makes of their answers, also of those that are none, as text and
# as JSON. The script that asks is run by a real shell too.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-ssh.sh"
a=$(system web1-a) b=$(system web1-b)
zlib1=$(path_of zlib-1.2.13) zlib2=$(path_of zlib-1.3) lib=$(path_of glibc-2.35-lib) tool=$(path_of tool-1)
# closures as files, for a nix-store of both ends; what is in `missing` is not valid
mkdir "$tmp/closures"
printf '%s\n' "$lib" "$zlib1" "$tool" "$a" > "$tmp/closures/${a##*/}"
printf '%s\n' "$lib" "$zlib2" "$b" > "$tmp/closures/${b##*/}"
printf '%s\n' "$zlib2" "$b" > "$tmp/missing"
fake nix-store << X
#!/bin/sh
printf '%s\n' "nix-store \$*" >> "$tmp/nix.log"
case "\$1 \$2" in
  '--query --requisites') cat "$tmp/closures/\${3##*/}" ;;
  '--query --size') shift 2; for p; do echo \$((\${#p} * 1000)); done ;;
  '--check-validity --print-invalid') shift 2; for p; do if grep -qxF "\$p" "$tmp/missing"; then echo "\$p"; fi; done ;;
esac
X
size() { local n=0 p; for p; do n=$((n + ${#p} * 1000)); done; echo $n; }
kib() { awk -v n="$1" 'BEGIN { printf "%.1f KiB", n / 1024 }'; }

# ---- a real shell runs what is asked; it finds a NixOS at /run and the profile
runs() { ln -sfn "$1" /run/current-system; ln -sfn "${2:-$1}" /nix/var/nix/profiles/system-7-link; }
mkdir -p /nix/var/nix/profiles
ln -s "$a" /run/booted-system; ln -s system-7-link /nix/var/nix/profiles/system
runs "$a"
modules=$(path_of linux-modules); mkdir -p "$modules/lib"
for s in "$a" "$b"; do
  mkdir -p "$s/etc/systemd/system/sshd.service.d" "$s/etc/systemd/network"
  echo quiet > "$s/kernel-params"; echo kernel > "$s/kernel"; ln -s /lib/systemd "$s/systemd"
  ln -s "$modules" "$s/kernel-modules"
  echo same > "$s/etc/systemd/system/sshd.service.d/a.conf"; echo same > "$s/etc/systemd/network/10 lan.network"
  ln -s /dev/null "$s/etc/systemd/system/firewall.service"
  ln -s ../system/sshd.service.d/a.conf "$s/etc/systemd/system/network-x.service"
  basename "$s" > "$s/etc/systemd/system/cron.service"
done
fleet fleet.json "web1=$b"
echo run_command | host web1
forget

run plan --fleet-json fleet.json
exits "a host: status 0" 0
was=$(size "$lib" "$zlib1" "$tool" "$a") will=$(size "$lib" "$zlib2" "$b")
cat > wanted << X
web1: nixos-system-web1-a (generation 7) -> nixos-system-web1-b
  network:  nothing changes
  boot:     nothing changes
  strategy: live: beside the running kernel, no reboot
  copy:     2 of 3 paths, $(kib "$(size "$zlib2" "$b")"), less what the host fetches from its own substituters
  closure:  $(kib "$was") -> $(kib "$will") (-$(kib $((was - will))))
  packages: 1 added, 2 removed, 1 with other versions, 0 only rebuilt
    - nixos-system-web1-a
    + nixos-system-web1-b
    - tool 1
    * zlib: 1.2.13 -> 1.3
X
check "a host: all of it" diff wanted "$tmp/out"
is "a host: nothing on standard error" "$(cat "$tmp/err")" ""
is "a host: one connection" "$(lines_of "$tmp/ssh.log")" 1
is "a host: nothing is copied" "$(grep -c '^nix .*copy' "$tmp/nix.log")" 0
run history
is "no run is recorded" "$(cat "$tmp/out")" ""
check "no root is left" sh -c "! find '$tmp/state' -name 'plan.*' -o -name 'root*' | grep ."

run plan --fleet-json fleet.json --json
exits "--json: status 0" 0
is "--json: one line for the host" "$(jq -s 'map(select(.event == "plan")) | length' "$tmp/out")" 1
check "--json: all of it" jq -es --arg a "$a" --arg b "$b" --argjson copy "$(size "$zlib2" "$b")" 'map(select(.event == "plan"))[0] |
  .host == "web1" and .reachable and .system_old == $a and .system_new == $b and .generation == 7 and (.same | not) and
  .copy == {paths: 2, bytes: $copy} and .changed == [{name: "zlib", old: "1.2.13", new: "1.3"}] and
  .removed == [{name: "nixos-system-web1-a", version: ""}, {name: "tool", version: "1"}] and
  .added == [{name: "nixos-system-web1-b", version: ""}] and .closure.old_bytes > .closure.new_bytes and
  .boot == {kernel: false, initrd: false, modules: false, params: false, changed: []} and .network == [] and
  .strategy == "live" and .unproven == null and .units == null' "$tmp/out"

# ---- how the host is reached, and what it boots
echo other > "$b/etc/systemd/system/sshd.service.d/a.conf"
echo new > "$b/etc/systemd/system/wg-quick-x.service"
rm "$b/etc/systemd/system/firewall.service"
echo other > "$b/etc/systemd/network/10 lan.network"
run plan --fleet-json fleet.json
is "the network: what changes" "$(sed -n 's/^  network:  //p' "$tmp/out" | tr -d ' ' | tr , '\n' | sort | paste -sd ' ')" \
  "etc/systemd/network firewall.service network-x.service sshd.service.d wg-quick-x.service"
told "the network: in the agent's words" "boot path of the network not proven: etc/systemd/network, "
echo other > "$b/kernel-params"; echo other > "$b/kernel"
other=$(path_of linux-modules-2); mkdir -p "$other/lib"; ln -sfn "$other" "$b/kernel-modules"
run plan --fleet-json fleet.json
told "the boot: what changes" "  boot:     kernel, kernel-params, kernel-modules: the new ones run after the next reboot"
told "the boot: unproven" "boot path not proven: kernel, kernel-params, kernel-modules changed"
told "the boot: what would prove it" "with \`reboot\` allowed it would be one reboot to try it"
run plan --fleet-json fleet.json --json
check "the boot: --json" jq -es 'map(select(.event == "plan"))[0].boot | .kernel and .modules and .params and (.initrd | not)' "$tmp/out"
for s in 'boot:one reboot to try it' 'live+boot:beside' 'kexec:one kexec' 'unguarded-boot:becomes the boot default'; do
  NODE_FIELDS="\"strategy\":\"${s%%:*}\"" fleet strategy.json "web1=$b"
  run plan --fleet-json strategy.json
  told "the strategy ${s%%:*}" "  strategy: ${s%%:*}: ${s#*:}"
done

# ---- the same; and a host whose profile says something else
runs "$b" "$a"
run plan --fleet-json fleet.json
exits "another profile: status 0" 0
told "another profile: says so" "web1: nixos-system-web1-b runs already, but generation 7 is nixos-system-web1-a"
runs "$a" "$b"
c=$(system web1-c); printf '%s\n' "$c" > "$tmp/closures/${c##*/}"
fleet third.json "web1=$c"
run plan --fleet-json third.json
told "drift: says so" "  drift:    it runs nixos-system-web1-a, but its profile names nixos-system-web1-b: deploy needs --force-drift"
runs "$b"
run plan --fleet-json fleet.json
is "the same: nothing to do" "$(cat "$tmp/out")" "web1: runs nixos-system-web1-b, generation 7: nothing to do"
runs "$a"

# ---- --units
cat > "$b/bin/switch-to-configuration" << X
#!/bin/sh
echo "\$*" >> "$tmp/dry.log"
echo "would restart the following units: sshd.service"; printf 'a \\033[2Jtrap\\n' >&2
exit 0
X
chmod +x "$b/bin/switch-to-configuration"
host web1 << 'X'
case $command in *belay-need-agent*) hello; has_all ;; *) run_command ;; esac
X
forget
run plan --fleet-json fleet.json --units
exits "--units: status 0" 0
told "--units: says that the closure was copied" "  units:    what its dry-activate says (the closure was copied there)"
told "--units: what it says" "    would restart the following units: sshd.service"
check "--units: made harmless" grep -qF 'a \x1b[2Jtrap' "$tmp/out"
is "--units: only asked" "$(sort -u "$tmp/dry.log")" dry-activate
is "--units: the closure is copied" "$(cat "$tmp/copied")" "web1 $b"
run plan --fleet-json fleet.json --units --json
is "--units: --json" "$(jq -rs 'map(select(.event == "plan"))[0].units[0]' "$tmp/out")" "would restart the following units: sshd.service"
sed -i 's/^exit .*/exit 3/' "$b/bin/switch-to-configuration"
run plan --fleet-json fleet.json --units
exits "a dry-activate that fails: status 1" 1
told "a dry-activate that fails: says so" "  units:    not known: dry-activate ended with status 3"
host web1 << 'X'
case $command in *belay-need-agent*) hello; take; frame 19 'reason=its disk is full' 'remedy=make room there' ;; *) run_command ;; esac
X
run plan --fleet-json fleet.json --units
exits "it cannot be copied: status 1" 1
told "it cannot be copied: why" "  units:    not known: web1: its disk is full; make room there"
told "it cannot be copied: the plan is told all the same" "    * zlib: 1.2.13 -> 1.3"

# ---- hosts that cannot be asked stop no other
fleet three.json "web1=$b" "web2=$a" "web3=$b"
echo 'refuse_connection "Connection refused"' | host web2
host web3 << 'X'
user; echo 'sudo: a password is required' >&2; exit 1
X
run plan --fleet-json three.json --parallel 1
exits "two of three: status 1" 1
told "unreachable: which and why" "web2: unreachable: nothing listens on its ssh port"
told "unreachable: what helps" "  next:     look whether sshd runs there"
told "reached in vain: which and why" "web3: cannot tell: sudo wants a password"
told "reached in vain: what helps" "  next:     allow the user NOPASSWD"
told "the third is planned for" "web1: nixos-system-web1-a (generation 7) -> nixos-system-web1-b"
run plan --fleet-json three.json --json
exits "--json: status 1" 1
check "--json: each has its line" jq -es 'map(select(.event == "plan") | [.host, .reachable, has("reason")]) == [["web1", true, false], ["web2", false, true], ["web3", true, true]]' "$tmp/out"
check "--json: no system of what was not reached" jq -es 'map(select(.host == "web2"))[0] | has("system_old") | not' "$tmp/out"

# answer DESC TEXT: a host that prints standard input behind its user is told as TEXT
answer() {
  { echo 'user; cat << "Y"'; cat; echo Y; } | host web1
  run plan --fleet-json fleet.json
  exits "$1: status 1" 1
  told "$1: says so" "web1: cannot tell: $2"
  is "$1: one line, and what helps" "$(lines_of "$tmp/out")" 2
  is "$1: nothing that moves a terminal" "$(LC_ALL=C grep -c '[^ -~]' "$tmp/out")" 0
}
answer "no answer" "its answer has no end" < /dev/null
answer "noise" "its answer has no end" <<< 'Welcome to web1'
answer "no system" "it does not tell its system" <<< end
answer "no store path" "what runs: '/etc/passwd' is not a path of the Nix store" <<< 'system /etc/passwd'
answer "a store path with more behind it" "what runs: " <<< "system $a"$'\e[2J'
answer "a part without a name" "a part of a system is not understood" <<< 'part old'
answer "sizes are missing" "a closure of 1 paths has 0 sizes" << X
system $a
profile $a
path old $a
end
X
rm /run/current-system
echo run_command | host web1
run plan --fleet-json fleet.json
told "not NixOS: says so" "web1: cannot tell: /run/current-system names no system: is this a NixOS host?"
runs "$a"
host web1 << 'X'
mkdir "$TMP/broken"
printf '%s\n' '#!/bin/sh' 'echo "error: the database is locked" >&2; exit 1' > "$TMP/broken/nix-store"
chmod +x "$TMP/broken/nix-store"
TMP=$TMP/broken; mv "$TMP" "$TMP.2"; mkdir "$TMP"; mv "$TMP.2" "$TMP/bin"
run_command
X
run plan --fleet-json fleet.json
exits "Nix there fails: status 1" 1
told "Nix there fails: what it said" "web1: cannot tell: error: the database is locked"

# ---- what is wrong here
run plan --fleet-json nowhere.json
refused "no such fleet" "nowhere.json: No such file"
run plan --fleet-json fleet.json web9
refused "no such host" "web9"
not=$(path_of not-a-system); mkdir -p "$not"
fleet not.json "web1=$not"
run plan --fleet-json not.json
refused "no system" "is not a NixOS system"
check "no ssh is left running" none_left
done_testing
