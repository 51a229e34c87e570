# SPDX-License-Identifier: MIT
#
# A fleet that is a module, evaluated to one of plain options:
#
#   modules.nix :: { lib, libOf, nixpkgs, system } -> module -> { nodes, deployHost, rollout }    (as fleet.nix takes it)
#
# What a value must be is fleet.nix's to say: here are only the options' names, and how definitions become one.
{ lib, libOf, nixpkgs, system }: fleet:
let
  inherit (builtins)
    attrNames concatStringsSep elem foldl' functionArgs head isAttrs isFunction isPath isString listToAttrs mapAttrs
    removeAttrs substring toJSON unsafeGetAttrPos;
  inherit (lib) mkOption types;

  known = (import ./fleet.nix { nodes = { }; }).options;

  # Equal definitions are one, others are a conflict that names its places.
  single = lib.mkOptionType { name = "belay"; description = "one value"; merge = lib.mergeEqualOption; };
  byName = mkOption { type = types.attrsOf single; default = { }; };

  # Modules that are put together without being evaluated.
  modules = lib.mkOptionType {
    name = "modules";
    description = "module";
    merge = _loc: defs: { imports = map located defs; };
  };
  located = def: { _file = def.file; imports = [ def.value ]; };

  # ---- what 'defaults' says, as defaults: a node's own value goes before it, whatever form they have

  lower = module:
    if lib.isFunction module then
      lib.setFunctionArgs (args: lower (module args)) (lib.functionArgs module)
    else if isPath module || isString module then
      { _file = toString module; key = toString module; imports = [ (lower (import module)) ]; }
    else
      let
        meta = [ "imports" "options" "_file" "key" "_class" "disabledModules" "freeformType" ];
        whole = module ? config || module ? options;
        config = if whole then module.config or { } else removeAttrs module meta;
      in
      (if whole then module else lib.filterAttrs (name: _: elem name meta) module)
      // { imports = map lower (module.imports or [ ]); config = lowerConfig config; };

  lowerConfig = config:
    if config._type or null == "if" then config // { content = lowerConfig config.content; }
    else if config._type or null == "merge" then config // { contents = map lowerConfig config.contents; }
    else if config ? _type then config
    else
      mapAttrs
        (name: value:
          # NixOS has its own rules for what it is given twice.
          if elem name [ "configuration" "_module" ] then value
          else if elem name known.merged && isAttrs value && !(value ? _type) then mapAttrs (_: lowerValue) value
          else lowerValue value)
        config;

  lowerValue = value: if value._type or null == "override" then value else lib.mkOverride 900 value;

  # ---- a node

  # As NixOS itself evaluates it, with the node's nixpkgs; `nodes` are those of the whole fleet.
  nixos = name: node: lib.mkOptionType {
    name = "nixos";
    description = "NixOS configuration";
    merge = _loc: defs:
      let
        from = if node.nixpkgs != null then node.nixpkgs else
        throw ("belay: node ${name}: 'configuration' needs a nixpkgs: set the node's 'nixpkgs', "
          + "or give one to the library: import <belay> { nixpkgs = ...; }");
        evaluated = import "${toString from}/nixos/lib/eval-config.nix" {
          inherit system;
          lib = libOf from;
          specialArgs = { inherit name; nodes = mapAttrs (_: other: other.configuration) config.nodes; };
          modules = map located defs
            ++ lib.optional (node.closurePaths != [ ]) { system.extraDependencies = node.closurePaths; };
        };
      in
      # Both ways of writing are in use: nodes.NAME.networking and nodes.NAME.config.networking
      evaluated.config // { inherit (evaluated) config options pkgs; };
  };

  nodeModule = { name, config, options, ... }:
  let
    # How the machine that deploys reaches the node; { } where that is said of none, or not rightly.
    from = { ${name} = known.fromItself; } // config.deployFrom;
    way = if isString deployHost && isAttrs (from.${deployHost} or null) then from.${deployHost} else { };
  in
  {
    freeformType = types.attrsOf single;
    options = mapAttrs (_: default: mkOption ({ type = single; } // default)) known.defaults
      // listToAttrs (map (option: { name = option; value = byName; }) known.merged)
      // {
      host = mkOption { type = single; default = name; };
      # nixus's word for `enable`
      enabled = mkOption { type = single; };
      closurePaths = mkOption { type = types.listOf single; default = [ ]; };
      substituteOnTarget = mkOption { type = single; default = !config.hasFastConnection; };
      toplevel = mkOption { type = single; };
      nixpkgs = mkOption { type = single; default = nixpkgs; };
      configuration = mkOption { type = nixos name config; };
      _twice = mkOption {
        internal = true;
        default = options.configuration.isDefined && options.toplevel.highestPrio < 1000;
      };
      _plain = mkOption {
        internal = true;
        # What others have declared is theirs; a name that nobody has, fleet.nix refuses.
        default =
          let
            wanted = option:
              # Where there is no configuration that they are part of, it is fleet.nix's to say so.
              if option == "closurePaths" then config.closurePaths != [ ] && options.toplevel.highestPrio != 1000
              # Not isDefined, which looks at the values: that is the whole system, with its assertions.
              else if option == "toplevel" then options.toplevel.highestPrio < 9999
              else if known.defaults ? ${option}
                || elem option (known.merged ++ [ "host" "substituteOnTarget" ])
              then options.${option}.isDefined
              else !(options ? ${option});
          in
          lib.filterAttrs (option: _: wanted option) config
          # What goes before it here, mkForce, does so there too.
          // (if !(way ? host) then { } else {
            deployFrom = config.deployFrom // { ${deployHost} = way // { inherit (config) host hasFastConnection; }; };
          });
      };
    };
    config = {
      # Before what a node says, since it is about this very machine; mkForce still goes before it.
      host = lib.mkIf (way ? host) (lib.mkOverride 75 way.host);
      hasFastConnection = lib.mkIf (way ? host) (lib.mkOverride 75 (way.hasFastConnection or false));
      enable = lib.mkIf options.enabled.isDefined (lib.mkOverride options.enabled.highestPrio config.enabled);
      toplevel = lib.mkIf options.configuration.isDefined (lib.mkDefault config.configuration.system.build.toplevel);
      _module.args.pkgs = lib.mkDefault config.configuration.pkgs;
    };
  };

  # ---- the fleet

  fleetModule = { config, ... }: {
    freeformType = types.attrsOf single;
    options = {
      defaults = mkOption { type = modules; default = { }; };
      nodes = mkOption {
        type = types.attrsOf (types.submoduleWith { modules = [ nodeModule (lower config.defaults) ]; });
        default = { };
      };
      deployHost = mkOption { type = single; default = null; };
      rollout = byName;
    };
  };

  # Where it was written, which the module system knows only of modules in files of their own.
  writtenIn = set:
    let pos = if set == { } then null else unsafeGetAttrPos (head (attrNames set)) set;
    in if pos == null || substring 0 1 (toString pos.file) != "/" then null else toString pos.file;
  file = if isAttrs fleet then writtenIn fleet else if isFunction fleet then writtenIn (functionArgs fleet) else null;

  evaluated = lib.evalModules {
    modules = [ fleetModule ./ssh-access.nix (if file == null then fleet else located { inherit file; value = fleet; }) ];
  };
  inherit (evaluated) config;
  inherit (config) deployHost;
in
# It would change a NixOS configuration, and there must be one that is deployed.
foldl'
  (rest: name:
  if !config.nodes ? ${name} then
    throw "belay: ssh.access: there is no node ${toJSON name}; the nodes are ${concatStringsSep ", " (attrNames config.nodes)}"
  else if config.nodes.${name}._twice then
    throw "belay: ssh.access: node ${name} is given as a 'toplevel', which cannot be changed; give its 'configuration' instead"
  else rest)
  (removeAttrs config (attrNames evaluated.options)
    // { inherit (config) deployHost rollout; nodes = mapAttrs (_: node: node._plain) config.nodes; })
  config.ssh._names
