# SPDX-License-Identifier: MIT
#
# What nixus makes of a fleet (`import <nixus> { } fleet`), a script with the evaluated modules beside it, as a fleet.
#
#   nixus.nix :: { config.nodes.NAME = { enabled, host, configuration, ... }, ... } -> { nodes }
#
# Only what is named here is evaluated: above all not the scripts, and of secrets nothing but their names.
nixus:
let
  inherit (builtins) attrNames concatLists concatStringsSep elem filter length mapAttrs;

  read = _: node:
    let
      secrets = attrNames (node.configuration.secrets.files or { });
      own = [ "copy-closure" "secrets" "switch" ];
      phases = filter (phase: !elem phase own) (attrNames (node.deployScriptPhases or { }));
      note = condition: what: if condition then [ "${what}: not supported, ignored" ] else [ ];
    in
    {
      enable = node.enabled or true;
      toplevel = node.configuration.system.build.toplevel;
      # Not its plain `sudo`, which would ask for a password.
      privilegeEscalationCommand =
        let command = node.privilegeEscalationCommand or [ "sudo" ]; in
        if command == [ "sudo" ] then [ "sudo" "-n" ] else command;
      inherit (node) host successTimeout switchTimeout ignoreFailingSystemdUnits hasFastConnection;
      notes = concatLists [
        (note (secrets != [ ]) "secrets (${concatStringsSep ", " secrets})")
        (note (phases != [ ]) "deployScriptPhases (${concatStringsSep ", " phases})")
        # Three are nixus's own: the system, its switch script and rsync.
        (note (length (node.closurePaths or [ ]) > 3) "closurePaths")
      ];
    };
in
{ nodes = mapAttrs read nixus.config.nodes; }
