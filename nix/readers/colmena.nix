# SPDX-License-Identifier: MIT
#
# A flake's output colmenaHive, which colmena.lib.makeHive makes, as a fleet.
#
#   colmena.nix :: { __schema, nodes.NAME = NixOS system with config.deployment, metaConfig, ... } -> { nodes, notes }
#
# Only what is named here is evaluated, each node when it is looked at, and of keys nothing but their names: their
# texts are secrets in the clear.
# No path in here, for the same reason as in ../fleet.nix.
hive:
let
  inherit (builtins) attrNames concatLists concatStringsSep elem filter isString mapAttrs match toJSON;

  wrong = throw ("belay: this is not what colmena.lib.makeHive makes, in a version that is known: "
    + "its __schema is ${toJSON (hive.__schema or null)}, and v0.* is expected");
  nodes = if isString (hive.__schema or null) && match "v0\\..*" hive.__schema != null then hive.nodes else wrong;

  # colmena's defaults, for those versions that have not all of them.
  deploymentOf = name: {
    targetHost = name;
    targetPort = null;
    targetUser = "root";
    tags = [ ];
    sshOptions = [ ];
    keys = { };
    privilegeEscalationCommand = escalation;
    buildOnTarget = false;
    replaceUnknownProfiles = true;
    allowLocalDeployment = false;
  };
  escalation = [ "sudo" "-H" "--" ];

  isTag = tag: match "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}" tag != null;

  read = name: system:
    let
      d = deploymentOf name // system.config.deployment;
      note = condition: text: if condition then [ "deployment.${text}: not supported, ignored" ] else [ ];
      user = if d.targetUser == null then "" else "${d.targetUser}@";
      port = if d.targetPort == null then [ ] else [ "-p" (toString d.targetPort) ];
    in
    {
      toplevel = system.config.system.build.toplevel;
      host = if d.targetHost == null then null else user + d.targetHost;
      # colmena has them in this order, and ssh takes the first.
      sshArguments = d.sshOptions ++ port;
      tags = filter isTag d.tags;
      # Not its `sudo -H --`, which would ask for a password.
      privilegeEscalationCommand =
        if d.privilegeEscalationCommand == escalation then [ "sudo" "-n" ] else d.privilegeEscalationCommand;
      buildOn = if d.buildOnTarget then "target" else "deployer";
      notes = concatLists [
        (note (d.keys != { }) "keys (${concatStringsSep ", " (attrNames d.keys)})")
        (note (!d.replaceUnknownProfiles) "replaceUnknownProfiles = false")
        (note d.allowLocalDeployment "allowLocalDeployment")
        (concatLists (map (tag: note (!isTag tag) "tags: ${toJSON tag}") d.tags))
        (concatLists (map (other: note (!elem other (attrNames (deploymentOf name))) other) (attrNames d)))
      ];
    };

  meta = hive.metaConfig or { };
  metaNote = condition: text: if condition then [ "meta.${text}: not supported, ignored" ] else [ ];
in
{
  nodes = mapAttrs read nodes;
  notes = metaNote (meta.machinesFile or null != null) "machinesFile"
    ++ metaNote (!(meta.allowApplyAll or true)) "allowApplyAll = false";
}
