#!/bin/bash
# The copy engine between real stores: what a host lacks comes, told by what it has where it can be; twice is
# nothing; several hosts at once; a connection that is cut; a host with a cache; a push, and the deployment behind it; and a host
# that takes from its users only what is signed.
. "$(dirname "$0")/lib.sh"

up_all web1:11 web2:12
old=$(on web1 readlink /run/current-system)
valid() { on "$1" sh -c "nix-store --check-validity \$(nix-store -qR $2) && nix-store --verify-path \$(nix-store -qR $2)"; }
next=$(system web1 11 --argstr version copied)
check_not "the host does not have it" on web1 nix-store --check-validity "$next"
check "copy" belay copy "$next" --to root@web1
like "copy: says how much" "$OUT" '^\[web1\] Copied [0-9]+ of [0-9]+ paths: [0-9.]+ (bytes|KiB) for [0-9.]+ KiB$'
check "the host has it, whole" valid web1 "$next"
check "copy again" belay copy "$next" --to root@web1
like "copy again: nothing is sent" "$OUT" '^\[web1\] All [0-9]+ paths were there$'
is "nothing was activated" "$(on web1 readlink /run/current-system)" "$old"
for level in 0 1 19; do
  next=$(system web1 11 --argstr version "level$level")
  check "level $level" belay copy "$next" --to root@web1 --compression "$level"
  check_not "level $level: nothing came twice" grep -q "sent again" "$OUT"
  check "level $level: whole" valid web1 "$next"
done

# ---- several hosts, one of which is not there, and paths that are large and new
cat > "$TEST/big.nix" << 'X'
{ name, bytes }: derivation { inherit name; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "PATH=/bin:/usr/bin; mkdir $out; head -c ${toString bytes} /dev/urandom > $out/random; head -c ${toString bytes} /dev/zero > $out/zero; echo $out > $out/self" ]; }
X
big() { "$TB/ctl" nix-build --no-out-link "$TEST/big.nix" --argstr name "$1" --arg bytes "$2" 2> /dev/null; }
path=$(big one 40000000)
check "a large path to two hosts and one that is not there" test -n "$path"
belay copy "$path" --to root@web1,root@web2,root@10.77.0.250 --memory 16
is "its status" "$RC" 1
like "one is not reached" "$OUT" '^\[10.77.0.250\] .*Not copied'
check "the first has it" valid web1 "$path"
check "the second has it" valid web2 "$path"

# ---- cut off in the middle: what came whole is not sent again
for i in 1 2 3 4; do parts+=("$(big "part$i" 15000000)"); done
belay_start copy "${parts[@]}" --to root@web1 --compression 0
wait_for 20 on web1 nix-store --check-validity "${parts[0]}" > /dev/null 2>&1
kill -INT "$BELAY_PID"
belay_wait
is "interrupted: status" "$RC" 130
check "once more" belay copy "${parts[@]}" --to root@web1 --compression 0
check "all of them are there" valid web1 "${parts[3]}"
check_not "and the first came only once" grep -qE "Copied 4 of" "$OUT"

# ---- what is a link itself, and what is in a path
cat > "$TEST/link.nix" << 'X'
derivation { name = "link"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "PATH=/bin:/usr/bin; ln -s /etc/hostname $out" ]; }
X
link=$("$TB/ctl" nix-build --no-out-link "$TEST/link.nix" 2> "$TEST/link.err")
[ -n "$link" ] || diag < "$TEST/link.err"
check "a store path that is a link" belay copy "$link" --to root@web1
check "it is there, as the link" valid web1 "$link"
check "a file in a store path" belay copy "$path/self" --to root@web2
like "means all of that path" "$OUT" 'All [0-9]+ paths were there'

# ---- push
next=$(system web1 11 --argstr version pushed)
fleet web1="$next"
check "push" belay push --fleet-json "$FLEET"
check "push: it is there" valid web1 "$next"
is "push: it is kept" "$(on web1 readlink /nix/var/nix/gcroots/belay/next)" "$next"
is "push: nothing was activated" "$(on web1 readlink /run/current-system) $(state_of web1)" "$old NONE"
check "and it is deployed" belay deploy --fleet-json "$FLEET"
check_not "with nothing left to copy" grep -q "copying path" "$OUT"
oracle web1 COMMITTED "$next"

# ---- a host that has a cache fetches from there what it finds, and is sent the rest
cached=$(big cached 5000000) fresh=$(big fresh 4000000)
check "what is to be in its cache" belay copy "$cached" --to root@web2
on web2 sh -c "nix copy --to file:///var/cache/binary $cached && nix-store --delete $cached
  mkdir -p /root/.config/nix; echo 'substituters = file:///var/cache/binary' > /root/.config/nix/nix.conf
  systemctl stop nix-daemon.service" > "$TEST/cache.log" 2>&1 || diag < "$TEST/cache.log"
check_not "it has gone from the store" on web2 nix-store --check-validity "$cached"
check "a path that its cache has, and one that it has not" belay copy "$cached" "$fresh" --to root@web2
like "one of them is sent" "$OUT" '^\[web2\] Copied 1 of 2 paths: '
check "both are there" valid web2 "$cached $fresh"
on web2 sh -c "nix-store --delete $cached; rm /root/.config/nix/nix.conf; systemctl stop nix-daemon.service" > /dev/null 2>&1
check "without a cache" belay copy "$cached" "$fresh" --to root@web2
like "it is sent" "$OUT" '^\[web2\] Copied 1 of 2 paths: '

# ---- a host whose Nix takes from a user who is nobody special only what is signed
for k in trusted unknown; do
  nix-store --generate-binary-cache-key "$k-1" "$TEST/$k.secret" "$TEST/$k.public" 2> "$TEST/key.err" || bail "no key"
done
login='authorizedKeys = [ "'$(cat "$TB_STATE/ctl/home/.ssh/id_ed25519.pub")'" ];'
up web3 13 --arg users "[ { name = \"alice\"; $login } { name = \"bob\"; $login } ]" --arg etc "{ \"nix/nix.conf\" = ''
  build-users-group =
  require-sigs = true
  sandbox = false
  substituters =
  experimental-features = nix-command
  trusted-users = root bob
  trusted-public-keys = $(< "$TEST/trusted.public")
''; }"
refused() { # KEY: a copy of $path by alice, with that key
  belay copy "$path" --to alice@web3 ${1:+--sign-key "$TEST/$1.secret"}
  is "${1:-no key}: refused" "$RC" 1
  like "${1:-no key}: the path and the user" "$OUT" "reason: $path is not signed by a key .* the user alice \(uid [0-9]+\)"
  like "${1:-no key}: what to do" "$OUT" 'next: .*sudo.*--sign-key FILE.*trusted-public-keys.*trusted-users'
  check_not "${1:-no key}: nothing is sent again" grep -q "sent again" "$OUT"
  check_not "${1:-no key}: it is not there" on web3 nix-store --check-validity "$path"
}
path=$(big unsigned 3000000)
refused ''
refused unknown
check "signed by a key that the host trusts: copied" belay copy "$path" --to alice@web3 --sign-key "$TEST/trusted.secret"
check "it is there, whole" valid web3 "$path"
check "with its signature" on web3 sh -c "nix path-info --sigs $path | grep -q trusted-1:"
check_not "which this machine's store does not have" sh -c "'$TB/ctl' nix path-info --sigs $path | grep -q trusted-1:"
secret=$(cut -d: -f2 "$TEST/trusted.secret")
check_not "nothing tells the key" grep -qF "${secret:0:40}" "$OUT"
check "what is named by its content needs no signature" belay copy "$("$TB/ctl" nix-store --add "$TB/README.md")" --to alice@web3
check "nothing but the store was touched" on web3 test ! -e /var/lib/belay -a ! -e /nix/var/nix/gcroots/belay
check "a user whom it trusts needs none" belay copy "$(big trusted 3000000)" --to bob@web3
path=$(big root 3000000)
check "nor does root" belay copy "$path" --to root@web3
# signed once for all hosts that lack it
path=$(big several 3000000)
check "signed for several hosts" belay copy "$path" --to alice@web3,root@web1,root@web2 --sign-key "$TEST/trusted.secret"
for h in web1 web2 web3; do check "signed: $h has the signature" on $h sh -c "nix path-info --sigs $path | grep -q trusted-1:"; done
next=$(system web1 11 --argstr version signed)
fleet web1="$next"
check "a deployment signs too" belay deploy --fleet-json "$FLEET" --sign-key "$TEST/trusted.secret"
check "its system has the signature" on web1 sh -c "nix path-info --sigs $next | grep -q trusted-1:"

# ---- what cannot be
belay copy /nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-nothing --to root@web1
is "a path that there is not: status" "$RC" 2
belay copy /etc/passwd --to root@web1
is "no store path: status" "$RC" 2
belay copy "$next"
is "no host: status" "$RC" 2
like "no host: what to do" "$OUT" "name a host: --to"
done_testing
