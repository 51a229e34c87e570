# SPDX-License-Identifier: MIT
#
# What belay asks of a fleet, so that no more is evaluated than is needed:
#
#   query.nix :: query -> data -> answer
#     data                       the fleet document, see fleet.nix; a node's system is evaluated when it is looked at
#     { settings = null; }       the document without the nodes' systems
#     { settings = [ regex ]; }  the same, with nodes whose name matches one of them. With canaries by name it is
#                                all of them: who is a canary is told by nodes that may not be asked for
#     { names = true; }          the same again, of all nodes, without anything but their names
#     { systems = [ name ]; }    of each of these nodes { toplevel, system }
#
# No path in here, for the same reason as in fleet.nix.
query: data:
let
  inherit (builtins) any attrNames filter isString listToAttrs match removeAttrs;

  ofSystem = [ "toplevel" "system" ];
  canary = data.rollout.canary or null;
  isWanted = name: query.settings == null || isString canary || any (regex: match regex name != null) query.settings;
  pick = f: names: listToAttrs (map (name: { inherit name; value = f data.nodes.${name}; }) names);
in
if query ? names then
  { inherit (data) belayFleet; nodes = builtins.mapAttrs (name: _: { host = name; }) data.nodes; }
else if query ? settings then
  data // { nodes = pick (node: removeAttrs node ofSystem) (filter isWanted (attrNames data.nodes)); }
else
  pick (node: { inherit (node) toplevel system; }) query.systems
