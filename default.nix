# SPDX-License-Identifier: MIT
#
# The belay library: from a fleet to the script that deploys it.
#
#   import <belay> { } { defaults = { ... }; nodes.web1 = { host = ...; configuration = ...; }; }
#
# nixpkgs  where NixOS, the script and belay come from; <nixpkgs> if there is one. A fleet of systems that are there
#          already needs none
# pkgs     the same as a package set
# belay    the belay to run: a derivation, or the path of the program. Without it: the package from pkgs,
#          or `belay` from PATH where there is no pkgs
# system   what to build for; this machine's by default
# Further arguments are for other tools that read such files and are ignored.
{ nixpkgs ? (let found = builtins.tryEval <nixpkgs>; in if found.success then found.value else null)
, pkgs ? null
, belay ? null
, system ? builtins.currentSystem or null # pure evaluation has none
, ...
}:
let
  packages =
    if pkgs != null then pkgs
    else if nixpkgs != null && system != null then import nixpkgs { inherit system; }
    else null;
in
fleet:
let
  evaluated = import ./nix/evaluate.nix
    {
      lib = pkgs.lib or null;
      nixpkgs = pkgs.path or nixpkgs;
      inherit system;
    }
    fleet;
in
import ./nix/script.nix
{
  pkgs = packages;
  inherit system;
  belay =
    if belay != null then belay
    # Not where belay is installed: there the library comes without the source.
    else if packages != null && builtins.pathExists ./meson.build then packages.callPackage ./nix/package.nix { }
    else null;
}
  { inherit (evaluated) data built scripts; }
