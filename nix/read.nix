# SPDX-License-Identifier: MIT
#
# What belay evaluates to read a fleet file:
#   nix-instantiate --eval --strict --json --read-write-mode read.nix --argstr file /path/of/fleet.nix
{ file }:
if builtins.substring 0 1 file != "/" then
  throw "belay: ${file}: an absolute path is needed"
else
  let
    found = builtins.tryEval <nixpkgs>;
    evaluate = import ./evaluate.nix {
      lib = null;
      nixpkgs = if found.success then found.value else null;
      system = builtins.currentSystem;
    };
  in
  import ./read-value.nix evaluate file (import file)
