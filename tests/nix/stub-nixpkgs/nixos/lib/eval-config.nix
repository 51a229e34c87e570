# SPDX-License-Identifier: MIT
#
# As nixpkgs' nixos/lib/eval-config.nix: a NixOS of any options, whose toplevel's derivation tells what it was made of.
# `assertion` is one that fails.
{ system ? null, lib ? import ../../lib, specialArgs ? { }, modules }:
let
  nixos = { config, ... }: {
    freeformType = lib.types.attrsOf lib.types.anything;
    options.networking.hostName = lib.mkOption { type = lib.types.str; default = "nixos"; };
    options.nixpkgs.system = lib.mkOption { type = lib.types.str; default = if system == null then "x86_64-linux" else system; };
    options.nixpkgs.overlays = lib.mkOption { type = lib.types.listOf lib.types.anything; default = [ ]; };
    options.nixpkgs.config = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; };
    options.users.users = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; };
    options.programs.ssh.knownHosts = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; };
    options.system.build = lib.mkOption { type = lib.types.attrsOf lib.types.anything; };
    options.system.extraDependencies = lib.mkOption { type = lib.types.listOf lib.types.anything; default = [ ]; };
    options.system.stateVersion = lib.mkOption { type = lib.types.str; default = "24.05"; };
    config.system.build.toplevel = if config ? assertion then throw "\nFailed assertions:\n- ${config.assertion}" else derivation {
      name = "nixos-system-${config.networking.hostName}";
      inherit (config.nixpkgs) system;
      builder = "/bin/sh";
      args = [ "-c" "echo \"$made\" > $out" ];
      made = builtins.toJSON (removeAttrs config [ "system" "deployment" "_module" ]);
      inherit (config.system) extraDependencies;
    };
  };
in
lib.evalModules { inherit specialArgs; modules = modules ++ [ nixos ]; }
// { pkgs = { inherit lib; path = ../..; hello = "/hello"; }; }
