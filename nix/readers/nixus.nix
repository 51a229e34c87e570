# SPDX-License-Identifier: MIT
#
# What nixus makes of a fleet (`import <nixus> { } fleet`), a script with the evaluated modules beside it, as a fleet.
#
#   nixus.nix :: { config.nodes.NAME = { enabled, host, configuration, ... }, ... } -> { nodes }
#
# Only what is named here is evaluated: above all not nixus's own scripts, and of secrets nothing but their names.
# What deployHost and deployFrom say is in host and hasFastConnection already.
nixus:
let
  inherit (builtins)
    any attrNames concatLists concatStringsSep elem elemAt filter genList head isAttrs isString length mapAttrs removeAttrs
    split stringLength substring tail;

  # nixus's own phases, in its versions: belay copies and switches by itself, and brings no secrets.
  own = [ "copy-closure" "copyClosure" "secrets" "switch" ];

  # Those that run behind nixus's copying, themselves or because they follow such a one.
  lateOf = phases:
    let
      follows = late: name:
        any (a: elem a late || elem a own) phases.${name}.after || any (l: elem name phases.${l}.before) late;
      step = late: filter (follows late) (attrNames phases);
      grow = late: let more = step late; in if length more == length late then late else grow more;
    in
    grow [ ];

  # nixus puts a text of its own before and behind the user's; null where it is not known where they end.
  ownPart = text:
    let
      parts = filter isString (split "\nesac\n" text);
      rest = concatStringsSep "\nesac\n" (tail parts);
      ends = filter isString (split "if \\[\\[ \"\\$status\" != " rest);
      last = "if [[ \"$status\" != ";
      theirs = concatStringsSep last (genList (elemAt ends) (length ends - 1));
    in
    if substring 0 (stringLength "case \"$status\" in") (head parts) != "case \"$status\" in" || length parts < 2 || length ends < 2
    then null
    else theirs;

  read = _: node:
    let
      secrets = attrNames (node.configuration.secrets.files or { });
      scriptPhases = filter (phase: !elem phase own) (attrNames (node.deployScriptPhases or { }));
      phases = removeAttrs (node.preparationPhases or { }) own;
      late = lateOf phases;
      script = if node ? postDeployScript then ownPart node.postDeployScript else "";
      closure = node.closurePaths or [ ];
      note = condition: what: if condition then [ "${what}: not supported, ignored" ] else [ ];
    in
    {
      # Its newer versions call it as belay does.
      enable = node.enable or (node.enabled or true);
      toplevel = node.configuration.system.build.toplevel;
      # Not its plain `sudo`, which would ask for a password.
      privilegeEscalationCommand =
        let command = node.privilegeEscalationCommand or [ "sudo" ]; in
        if command == [ "sudo" ] then [ "sudo" "-n" ] else command;
      inherit (node) host successTimeout switchTimeout ignoreFailingSystemdUnits hasFastConnection;
      preparationPhases = mapAttrs (_: phase: { inherit (phase) data before after; }) (removeAttrs phases late);
      postDeployScript = script;
      notes = concatLists [
        (note (secrets != [ ]) "secrets (${concatStringsSep ", " secrets})")
        (note (scriptPhases != [ ]) "deployScriptPhases (${concatStringsSep ", " scriptPhases})")
        (note (late != [ ]) "preparationPhases behind the copying (${concatStringsSep ", " late})")
        (note (script == null) "postDeployScript")
        # Three are nixus's own: the system, its switch script and rsync.
        (note (length (if isAttrs closure then attrNames closure else closure) > 3) "closurePaths")
      ];
    };
in
{ nodes = mapAttrs read nixus.config.nodes; }
