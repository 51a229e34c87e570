# SPDX-License-Identifier: MIT
#
# The fleet document from any value that a fleet file or a flake's output `belay` may have.
#
#   read-value.nix :: toFleet -> source -> value -> data
#     toFleet  what nix/fleet.nix evaluates to; for a file it also has `readers`, which make a fleet of other tools'
#              values
#     source   the file or flake output, for messages
#
# No path in here, for the same reason as in fleet.nix.
toFleet: source:
let
  inherit (builtins) any attrNames attrValues filter functionArgs isAttrs isFunction isList isPath typeOf;

  fail = message: throw "belay: ${source}: ${message}";

  wanted = "belay's own form is expected: { defaults = { ... }; nodes.NAME = { host = ...; configuration = ...; }; }, "
    + "as it is or given to the belay library";

  isDerivation = v: isAttrs v && v ? type && v.type == "derivation";
  looksLikeNode = v: isFunction v || isList v || isPath v || (isAttrs v && (v ? deployment || v ? imports));

  # By the reader of that name, or `otherwise` where a flake's output is read and there are none.
  by = reader: otherwise: value:
    if toFleet ? readers then (toFleet (toFleet.readers.${reader} value)).data else otherwise;

  # A function is called if it can do without arguments, and is a module if it wants what modules are given.
  call = value:
    let
      needed = filter (name: !(functionArgs value).${name}) (attrNames (functionArgs value));
      other = filter (name: !builtins.elem name [ "config" "lib" "options" ]) needed;
    in
    if !isFunction value then value
    else if needed == [ ] then value { }
    else if other == [ ] then { belayFleet = (toFleet value).data; }
    else fail "is a function that needs the argument '${builtins.head other}'; ${wanted}";

  read = value:
    if isFunction value then fail "is a function that gives a function; ${wanted}"
    else if !isAttrs value then fail "is a ${typeOf value}; ${wanted}"

    # What the belay library makes of a fleet; its version may differ from ours.
    else if value ? belayFleet then
      if isAttrs value.belayFleet && value.belayFleet.belayFleet or null == 1 then value.belayFleet
      else fail "was made by another version of the belay library, whose fleets this belay does not read"

    # A derivation where nixus has a nixpkgs of its own age; a newer one's evalModules puts its own `type` over that.
    else if value ? config.nodes && value ? config.deployScript then
      by "nixus" (fail "was made by nixus, whose fleets are read from a file alone; ${wanted}") value
    else if isDerivation value then fail "is a derivation, not a fleet; ${wanted}"
    else if value ? outputs && isFunction value.outputs then
      fail "is a flake; use `belay deploy --flake REF`, which reads its output 'belay'"
    else if value ? nixosConfigurations then
      fail "has nixosConfigurations, which this version does not read yet; ${wanted}"
    else if value ? config && value ? options then
      fail "is a single NixOS system; ${wanted}"
    else if value ? __schema then
      by "colmena" (fail "is an evaluated colmena hive; call the output 'colmenaHive'") value
    else if value ? nodes || value ? imports then (toFleet value).data
    else if value ? meta || value ? network || any looksLikeNode (attrValues (removeAttrs value [ "defaults" ])) then
      by "hive" (fail "looks like a colmena hive; write the output colmenaHive = colmena.lib.makeHive HIVE") value
    else fail "has no 'nodes'; ${wanted}";
in
value: read (call value)
