# SPDX-License-Identifier: MIT
#
# What belay evaluates to read a fleet file:
#   nix-instantiate --eval --strict --json --read-write-mode read.nix --argstr file /path/of/fleet.nix
#
# query  what is asked, as JSON (query.nix); without it, the whole document
{ file, query ? null }:
if builtins.substring 0 1 file != "/" then
  throw "belay: ${file}: an absolute path is needed"
else
  let
    found = builtins.tryEval <nixpkgs>;
    nixpkgs = if found.success then found.value else null;
    toFleet = {
      __functor = _: import ./evaluate.nix { lib = null; inherit nixpkgs; system = builtins.currentSystem; };
      readers = {
        colmena = import ./readers/colmena.nix;
        hive = import ./readers/hive.nix { inherit nixpkgs; };
        nixus = import ./readers/nixus.nix;
      };
    };
    data = import ./read-value.nix toFleet file (import file);
  in
  if query == null then data else import ./query.nix (builtins.fromJSON query) data
