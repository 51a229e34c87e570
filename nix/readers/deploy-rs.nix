# SPDX-License-Identifier: MIT
#
# A flake's output deploy, as deploy-rs reads it, as a fleet of those nodes that have a profile "system".
#
#   deploy-rs.nix :: { nodes.NAME = { hostname, profiles.system.path, ... }, ... } -> { nodes, notes }
#
# Settings may stand at a profile, at its node and at the top; the nearest counts.
# No path in here, for the same reason as in ../fleet.nix.
deploy:
let
  inherit (builtins)
    all attrNames concatLists concatMap elem filter fromJSON getContext head isAttrs isString length listToAttrs map
    mapAttrs match removeAttrs split stringLength substring toJSON unsafeDiscardStringContext;

  fail = message: throw "belay: ${message}";

  # A package of this name comes before the output. belay goes on to the next output when it reads "does not provide
  # attribute", as Nix says it of one that is not there.
  isFleet = isAttrs deploy && !(deploy ? type) && deploy ? nodes;
  nodes =
    if isFleet then deploy.nodes
    else fail "'deploy' is not deploy-rs's, it does not provide attribute 'nodes'";

  everywhere = [
    "sshUser" "user" "sshOpts" "fastConnection" "autoRollback" "magicRollback" "confirmTimeout" "activationTimeout"
    "tempPath" "remoteBuild" "sudo" "interactiveSudo"
  ];
  ofNodes = [ "hostname" "profiles" "profilesOrder" ];
  ofProfiles = [ "path" "profilePath" ];

  ignored = what: "${what}: not supported, ignored";
  unknown = where: known: set: map (name: ignored (where + name)) (filter (name: !elem name known) (attrNames set));

  # ---- the system in its wrapper: activate.nixos links it together with two scripts, and names the whole after it

  prefix = "activatable-";
  nameOf = path: substring 33 (-1) (baseNameOf path);

  systemOf = where: wrapper:
    let
      name = unsafeDiscardStringContext (substring (stringLength prefix) (-1) wrapper.name);
      # nixpkgs has kept what a buildEnv is made of in its `paths`, or as JSON in `pkgs`, whose context are derivations.
      kept = filter (drv: drv.name or null == name) wrapper.paths;
      outputs = filter (path: nameOf path == name)
        (concatMap (entry: entry.paths) (fromJSON (unsafeDiscardStringContext wrapper.pkgs)));
      derivations = filter (path: nameOf path == "${name}.drv") (attrNames (getContext wrapper.pkgs));
      isWrapper = isAttrs wrapper && match "${prefix}.*" (wrapper.name or "") != null;
    in
    if isWrapper && wrapper ? paths && kept != [ ] then head kept
    else if isWrapper && isString (wrapper.pkgs or null) && length outputs == 1 && length derivations == 1 then {
      type = "derivation";
      inherit (wrapper) system;
      drvPath = head derivations;
      outPath = head outputs;
    }
    else fail ("${where}.path is not what deploy-rs's activate.nixos makes of a system, so that the system is "
      + "not found; use activate.nixos, or write the flake's output 'belay'");

  # ---- a node

  # Why a node is none of belay's; null if it is one. Asking for the platform evaluates no system.
  reason = node:
    let path = node.profiles.system.path or null; in
    if !(node ? profiles.system) then "has no profile 'system'"
    else if isAttrs path && match ".*-darwin" (path.system or "") != null then "profiles.system is for macOS"
    else null;

  read = name: node:
    let
      profile = node.profiles.system;
      levels = [ profile node deploy ];
      setting = option:
        let given = filter (value: value != null) (map (set: set.${option} or null) levels);
        in if given == [ ] then null else head given;

      # Those that are given, under belay's names.
      renamed = names: listToAttrs (concatMap
        (old: if setting old == null then [ ] else [{ name = names.${old}; value = setting old; }])
        (attrNames names));

      sshUser = setting "sshUser";
      user = if setting "user" == null then sshUser else setting "user";
      # The user's name is put behind it.
      sudo = filter (word: isString word && word != "") (split " +" (setting "sudo"));
      isPlain = sudo != [ ] && all (word: match "[A-Za-z0-9_./=+:@-]+" word != null) sudo;

      note = condition: what: if condition then [ (ignored what) ] else [ ];
    in
    {
      toplevel = systemOf "node ${name}: profiles.system" profile.path;
      host = (if sshUser == null then "" else "${sshUser}@")
        + (node.hostname or (fail "node ${name}: has no 'hostname', which deploy-rs needs"));
      sshArguments = concatMap (set: set.sshOpts or [ ]) levels;
      buildOn = if setting "remoteBuild" == true then "target" else "deployer";
      notes = concatLists [
        (unknown "" (everywhere ++ ofNodes) node)
        (map (other: ignored "profiles.${other}") (filter (other: other != "system") (attrNames node.profiles)))
        (unknown "profiles.system." (everywhere ++ ofProfiles) profile)
        (note (!elem user [ null "root" ]) "user = ${toJSON user}")
        (note (setting "sudo" != null && !isPlain) "sudo = ${toJSON (setting "sudo")}")
        (note (setting "interactiveSudo" == true) "interactiveSudo")
        (note (setting "autoRollback" == false) "autoRollback = false")
        (note (setting "magicRollback" == false) "magicRollback = false")
        (note (setting "tempPath" != null) "tempPath")
        (note (!elem (node.profilesOrder or [ ]) [ [ ] [ "system" ] ]) "profilesOrder")
        (note (!elem (profile.profilePath or null) [ null "/nix/var/nix/profiles/system" ]) "profilePath")
      ];
    }
    # deploy-rs's own defaults, which a host that activates slowly may need without saying so
    // { successTimeout = 30; switchTimeout = 240; }
    // renamed {
      confirmTimeout = "successTimeout";
      activationTimeout = "switchTimeout";
      fastConnection = "hasFastConnection";
    }
    // (if elem (setting "sudo") [ null "sudo -u" ] || !isPlain then { }
    else { privilegeEscalationCommand = sudo ++ [ "root" ]; });

  leftOut = filter (name: reason nodes.${name} != null) (attrNames nodes);
in
# The belay library's script, as a package.
if deploy ? belayFleet then deploy
else {
  nodes = mapAttrs read (removeAttrs nodes leftOut);
  notes = unknown "deploy." (everywhere ++ [ "nodes" ]) deploy
    ++ map (name: "node ${name}: ${reason nodes.${name}}: not supported, left out") leftOut;
}
