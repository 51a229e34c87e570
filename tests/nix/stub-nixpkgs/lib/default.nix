# SPDX-License-Identifier: MIT
#
# As much of nixpkgs' lib as belay's Nix files use, under the same names and with the same meanings: above all the
# module system with options, priorities, conditions, submodules and free forms. No documentation, no type checks
# but for the simplest, no order.
let
  inherit (builtins)
    attrNames concatLists concatMap concatStringsSep elem elemAt filter foldl' head intersectAttrs isAttrs isBool
    isInt isPath isString length listToAttrs mapAttrs removeAttrs tail;

  lib = {
    inherit concatStringsSep elem foldl' mapAttrs;
    optional = condition: x: if condition then [ x ] else [ ];
    filterAttrs = keep: set: removeAttrs set (filter (n: !keep n set.${n}) (attrNames set));

    isFunction = f: builtins.isFunction f || f ? __functor;
    setFunctionArgs = f: args: { __functor = _: f; __functionArgs = args; };
    functionArgs = f: if f ? __functor then f.__functionArgs or (lib.functionArgs (f.__functor f)) else builtins.functionArgs f;

    mkOption = args: args // { _type = "option"; };
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkDefault = lib.mkOverride 1000;
    mkBefore = content: content;
    mkForce = lib.mkOverride 50;

    mkOptionType = args: { merge = lib.mergeEqualOption; } // args;
    mergeEqualOption = loc: defs: foldl'
      (value: def: if def.value == value then value else throw
        "The option `${show loc}' has conflicting definition values:${toString (map (d: "\n- In `${d.file}'") defs)}")
      (head defs).value
      (tail defs);

    types = {
      str = typed "string" isString;
      bool = typed "boolean" isBool;
      path = typed "path" (v: isString v || isPath v);
      ints.unsigned = typed "unsigned integer" (v: isInt v && v >= 0);
      enum = values: typed "one of a list" (v: elem v values);
      nullOr = type: lib.mkOptionType {
        merge = loc: defs: if (head defs).value == null then lib.mergeEqualOption loc defs else type.merge loc defs;
      };
      anything = lib.mkOptionType { };
      listOf = _type: lib.mkOptionType { merge = _loc: defs: concatLists (map (d: d.value) defs); };
      attrsOf = type: lib.mkOptionType { merge = members (lib.filterAttrs (_: o: o.isDefined)) type; };
      # asks nobody whether he is there
      lazyAttrsOf = type: lib.mkOptionType { merge = members (set: set) type; };
      submoduleWith = { modules }: lib.mkOptionType {
        merge = loc: defs: (lib.evalModules {
          modules = modules ++ [{ _module.args.name = elemAt loc (length loc - 1); }] ++ map located defs;
          prefix = loc;
        }).config;
      };
      submodule = module: lib.types.submoduleWith { modules = [ module ]; };
    };

    evalModules = { modules, specialArgs ? { }, prefix ? [ ] }:
      let
        args = { inherit lib; inherit (result) config options; } // specialArgs;
        call = f: f (mapAttrs (n: _: args.${n} or result.config._module.args.${n}) (lib.functionArgs f) // args);

        # A module and what it imports, as a list of { file, config, options, freeformType? }
        collect = file: m:
          if isPath m || isString m then collect (toString m) (import m)
          else if lib.isFunction m then collect file (call m)
          else
            let
              meta = [ "_file" "imports" "options" "config" "freeformType" "key" ];
              here = m._file or file;
            in
            concatMap (collect here) (m.imports or [ ]) ++ [
              (m // {
                file = here;
                options = m.options or { };
                config = if m ? config || m ? options then m.config or { } else removeAttrs m meta;
              })
            ];
        all = concatMap (collect "<unknown>") modules;
        freeform = filter (m: m ? freeformType) all;

        declared = foldl' recursive { _module.args = lib.mkOption { type = lib.types.lazyAttrsOf lib.types.anything; default = { }; }; }
          (map (m: m.options) all);
        defs = concatMap (m: map (value: { inherit (m) file; inherit value; }) (push m.config)) all;
        unknown = removeAttrs (foldl' (a: d: a // d.value) { } defs) (attrNames declared);
        free =
          if unknown == { } then { }
          else if freeform == [ ] then throw "The option `${show (prefix ++ [ (head (attrNames unknown)) ])}' does not exist."
          else (head freeform).freeformType.merge prefix (map (d: d // { value = intersectAttrs unknown d.value; }) defs);

        # The tree of options, each evaluated.
        tree = loc: options: defs: mapAttrs
          (n: o:
            if o._type or null == "option" then evaluate (loc ++ [ n ]) o (defsOf n defs)
            else tree (loc ++ [ n ]) o (concatMap (d: map (value: d // { inherit value; }) (push d.value)) (defsOf n defs)))
          options;
        values = mapAttrs (_: o: if o._type or null == "option" then o.value else values o);

        result = {
          options = tree prefix declared defs;
          config = free // values result.options;
        };
      in
      result;
  };

  show = concatStringsSep ".";
  located = def: { _file = def.file; imports = [ def.value ]; };
  typed = name: ok: lib.mkOptionType {
    merge = loc: defs:
      if ok (head defs).value then lib.mergeEqualOption loc defs
      else throw "A definition for option `${show loc}' is not of type `${name}'.";
  };
  recursive = a: b: a // mapAttrs (n: v: if a ? ${n} && !(v ? _type) then recursive a.${n} v else v) b;

  members = keep: type: loc: defs: mapAttrs (_: o: o.value) (keep (mapAttrs
    (n: _: evaluate (loc ++ [ n ]) { inherit type; } (defsOf n defs))
    (foldl' (a: d: a // d.value) { } defs)));
  defsOf = name: defs: map (d: d // { value = d.value.${name}; }) (filter (d: d.value ? ${name}) defs);

  # Conditions and the like around a whole set, moved to each of its attributes.
  push = set:
    let each = wrap: map (mapAttrs (_: wrap)) (push set.content); in
    if set._type or null == "merge" then concatMap push set.contents
    else if set._type or null == "if" then each (lib.mkIf set.condition)
    else if set._type or null == "override" then each (lib.mkOverride set.priority)
    else [ set ];

  # One option from its definitions: the strongest of those whose condition holds.
  evaluate = loc: option: defs:
    let
      discharge = d:
        let v = d.value; in
        if v._type or null == "merge" then concatMap (value: discharge (d // { inherit value; })) v.contents
        else if v._type or null == "if" then (if v.condition then discharge (d // { value = v.content; }) else [ ])
        # Without a look at what is in it, so that isDefined is the first to evaluate it.
        else if v._type or null == "override" then [ (d // { inherit (v) priority; value = v.content; }) ]
        else [ ({ priority = 100; } // d) ];
      given = concatMap discharge defs ++ lib.optional (option ? default) { file = "default"; priority = 1500; value = option.default; };
      highestPrio = foldl' (p: d: if d.priority < p then d.priority else p) 9999 given;
      winners = filter (d: d.priority == highestPrio) given;
    in
    {
      _type = "option";
      inherit highestPrio;
      # As the real one, which looks for an order in each value.
      isDefined = builtins.all (d: builtins.seq d.value true) given && given != [ ];
      value =
        if given == [ ] then throw "The option `${show loc}' was accessed but has no value defined. Try setting the option."
        else (option.type or lib.types.anything).merge loc winners;
    };
in
lib
