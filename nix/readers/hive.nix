# SPDX-License-Identifier: MIT
#
# A colmena hive that is not evaluated yet (hive.nix), as a fleet: each node by its nixpkgs' own eval-config.nix, with
# the options and arguments that colmena gives to modules. What becomes of them is colmena.nix's to say.
#
#   hive.nix :: { nixpkgs } -> { meta ? { }, defaults ? { }, NAME = module or list of modules, ... } -> { nodes, notes }
#
# nixpkgs  what a hive without meta.nixpkgs is evaluated with, or null
{ nixpkgs }: hive:
let
  inherit (builtins) attrNames filter head isAttrs isFunction isList isPath mapAttrs removeAttrs toJSON;

  fail = message: throw "belay: the hive: ${message}";

  # ---- meta, which NixOps calls network

  metaDefaults = {
    name = "hive";
    description = "A Colmena Hive";
    inherit nixpkgs;
    nodeNixpkgs = { };
    specialArgs = { };
    nodeSpecialArgs = { };
    machinesFile = null;
    allowApplyAll = true;
  };
  given =
    if hive ? meta && hive ? network then fail "'meta' and 'network' are the same; remove one of them"
    else hive.meta or (hive.network or { });
  unknown = filter (name: !(metaDefaults ? ${name})) (attrNames given);
  meta = if unknown == [ ] then metaDefaults // given else fail "meta: there is no option ${toJSON (head unknown)}";

  # The package set of what may also be a function that makes one, or the path of such a function.
  packages = what: value:
    if value == null then fail "there is no nixpkgs: set ${what}"
    else if isPath value || isAttrs value && value ? outPath then packages what (import value)
    else if isFunction value then value { overlays = [ ]; }
    else if isAttrs value && value ? path && value ? stdenv then value
    else fail "${what} must be a path, a function or a package set of nixpkgs";

  # ---- what modules find besides NixOS

  deployment = { name, lib, ... }:
    let
      inherit (lib) types;
      # Not in the host's manual.
      option = type: default: lib.mkOption { inherit type default; internal = true; };
      word = default: option types.str default;
      maybe = type: option (types.nullOr type) null;
      key = { name, config, ... }: {
        options = {
          name = word name;
          text = maybe types.str;
          keyFile = maybe types.path;
          keyCommand = maybe (types.listOf types.str);
          destDir = option types.path "/run/keys";
          path = option types.path "${config.destDir}/${config.name}";
          user = word "root";
          group = word "root";
          permissions = word "0600";
          uploadAt = option (types.enum [ "pre-activation" "post-activation" ]) "pre-activation";
        };
      };
    in
    {
      options.deployment = {
        targetHost = option (types.nullOr types.str) name;
        targetPort = maybe types.ints.unsigned;
        targetUser = option (types.nullOr types.str) "root";
        allowLocalDeployment = option types.bool false;
        buildOnTarget = option types.bool false;
        tags = option (types.listOf types.str) [ ];
        keys = option (types.attrsOf (types.submodule key)) { };
        replaceUnknownProfiles = option types.bool true;
        privilegeEscalationCommand = option (types.listOf types.str) [ "sudo" "-H" "--" ];
        sshOptions = option (types.listOf types.str) [ ];
      };
    };

  # What a package set was made with also holds for the hosts.
  nixpkgsOf = pkgs: { lib, ... }: {
    nixpkgs.overlays = lib.mkBefore (pkgs.overlays or [ ]);
    nixpkgs.config = lib.mkBefore (pkgs.config or { });
  };

  # ---- the nodes

  evaluate = name: modules:
    let
      pkgs =
        if meta.nodeNixpkgs ? ${name} then packages "meta.nodeNixpkgs.${name}" meta.nodeNixpkgs.${name}
        else packages "meta.nixpkgs" meta.nixpkgs;
    in
    import (pkgs.path + "/nixos/lib/eval-config.nix") {
      inherit (pkgs.stdenv.hostPlatform) system;
      specialArgs = { inherit name nodes; } // meta.specialArgs // (meta.nodeSpecialArgs.${name} or { });
      modules = [ (nixpkgsOf pkgs) deployment (hive.defaults or { }) ]
        ++ (if isList modules then modules else [ modules ]);
    };

  nodes = mapAttrs evaluate (removeAttrs hive [ "meta" "network" "defaults" ]);
in
import ./colmena.nix { __schema = "v0.5"; inherit nodes; metaConfig = meta; }
