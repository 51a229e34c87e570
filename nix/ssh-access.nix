# SPDX-License-Identifier: MIT
#
# Who may log in where, said once for the whole fleet: a public key goes to the accounts that it opens, and the
# host keys of those to the host that it is used from.
{ lib, config, ... }:
let
  inherit (builtins) attrNames concatMap filter listToAttrs;
  inherit (lib) mkOption types;

  inherit (config.ssh) access;

  # A list of { from, to, user, publicKey }: every login that is allowed.
  logins = concatMap
    (from: concatMap
      (key:
        let inherit (access.${from}.keys.${key}) hasAccessTo publicKey; in
        concatMap
          (to: map (user: { inherit from to user publicKey; }) (filter (user: hasAccessTo.${to}.${user}) (attrNames hasAccessTo.${to})))
          (attrNames hasAccessTo))
      (attrNames access.${from}.keys))
    (attrNames access);
  unique = lib.foldl' (seen: x: if lib.elem x seen then seen else seen ++ [ x ]) [ ];

  hostKeysOf = to: from:
    let host = access.${to} or { hostKeys = { }; hostNames = [ ]; }; in
    if host.hostKeys == { } then
      throw ("belay: ssh.access: ${from} may log in to ${to}, of which no host key is known; "
        + "set ssh.access.${to}.hostKeys.NAME, as it stands in /etc/ssh/ssh_host_*_key.pub there")
    else map
      (key: {
        name = "${to}-${key}";
        value = {
          hostNames = [ to ] ++ host.hostNames ++ lib.optional (from == to) "localhost";
          publicKey = host.hostKeys.${key};
        };
      })
      (attrNames host.hostKeys);
in
{
  options.ssh._names = mkOption { internal = true; };
  options.ssh.access = mkOption {
    default = { };
    description = "Which node's keys open which accounts of other nodes. Nodes have the names that they have in the fleet.";
    type = types.attrsOf (types.submodule {
      options = {
        hostKeys = mkOption {
          type = types.attrsOf types.str;
          default = { };
          description = "The node's own host keys, each under any name. Needed where others log in to it.";
        };
        hostNames = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Names and addresses that the node is reached by, besides its own name.";
        };
        keys = mkOption {
          default = { };
          description = "Keys that are used on this node, each under any name.";
          type = types.attrsOf (types.submodule {
            options = {
              publicKey = mkOption {
                type = types.str;
                description = "The key, as it stands in the file NAME.pub.";
              };
              hasAccessTo = mkOption {
                type = types.attrsOf (types.attrsOf types.bool);
                default = { };
                example = { web1.deploy = true; };
                description = "NODE.USER = true: `ssh USER@NODE` works with this key.";
              };
            };
          });
        };
      };
    });
  };

  # Not as definitions of `nodes`: these would make nodes of misspelt names.
  config.defaults = { name, ... }:
    let
      into = filter (login: login.to == name) logins;
      out = unique (map (login: login.to) (filter (login: login.from == name) logins));
    in
    {
      configuration = lib.mkIf (into != [ ] || out != [ ]) {
        users.users = listToAttrs (map
          (user: {
            name = user;
            value.openssh.authorizedKeys.keys =
              unique (map (login: login.publicKey) (filter (login: login.user == user) into));
          })
          (unique (map (login: login.user) into)));
        programs.ssh.knownHosts = listToAttrs (concatMap (to: hostKeysOf to name) out);
      };
    };

  # Every node that is spoken of.
  config.ssh._names = unique (attrNames access ++ map (login: login.to) logins);
}
