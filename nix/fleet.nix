# SPDX-License-Identifier: MIT
#
# From what the user wrote to the fleet as plain data (docs/fleet-schema.md): checks every option, fills
# in the defaults and says in one line what is wrong.
#
#   fleet.nix :: { defaults ? { }, nodes, deployHost ? null, rollout ? { }, notes ? [ ] } -> { data, built, scripts, options }
#     data     the fleet document; its strings have no context, so reading it builds nothing
#     built    node name -> path of its toplevel as a string that makes Nix build it
#     scripts  node name -> what of its data are scripts for the deployer, as strings that make Nix build what they name
#     options  what modules.nix has to know of a node's options: `defaults`, those with one value, each { } or
#              { default }; `merged`, those that are put together name by name; `fromItself`, how a node is reached
#              that deploys itself
#
# One file without a path in it and without nixpkgs' lib: belay hands its very text to `nix eval --apply`,
# since a flake is evaluated in pure mode, where no file outside the store can be imported.
fleet:
let
  inherit (builtins)
    addErrorContext all any attrNames concatMap concatStringsSep deepSeq elem elemAt filter foldl' genList getContext
    head isAttrs isBool isFunction isInt isList isPath isString length listToAttrs map mapAttrs match replaceStrings
    seq sort split stringLength substring tail toJSON toString typeOf unsafeDiscardStringContext unsafeGetAttrPos;

  # ---- errors: all begin with "belay: " and are one line, so that belay finds them in what Nix prints

  fail = message: throw "belay: ${message}";

  # " (file:line)" of an attribute, or "" where Nix does not know it. Not of what a reader beside this file has made,
  # and not of what stands in no file: Nix 2.8 gives the whole text instead of its name.
  at = name: set:
    let
      pos = unsafeGetAttrPos name set;
      start = n: substring 0 n (toString pos.file);
      own = unsafeGetAttrPos "own" { own = 1; };
      beside = if own == null then "" else dirOf own.file + "/";
    in
    if pos == null || start 1 != "/" || beside != "" && start (stringLength beside) == beside then ""
    else " (${toString pos.file}:${toString pos.line})";

  shorten = text: if stringLength text > 60 then substring 0 57 text + "..." else text;

  describe = v:
    if isString v then "${shorten (toJSON v)} (a string)"
    else if isInt v || isBool v then "${toJSON v} (${if isInt v then "a number" else "a boolean"})"
    else if isFunction v then "a function"
    else if isDerivation v then "a derivation"
    else if isAttrs v then "an attribute set"
    else if isList v then "the list [ ${toString (map describe v)} ]"
    else if isPath v then "${toString v} (a path)"
    else typeOf v;

  # The known name that is the fewest single-letter changes away, as ", did you mean 'x'?"; "" if none is near.
  nearest = known: name:
    let
      min = x: y: if x < y then x else y;
      last = list: elemAt list (length list - 1);
      distance = a: b:
        let
          as = chars (lower a);
          # One row of the edit distance table from the row above it.
          step = above: c: foldl'
            (row: i: row ++ [
              (min (min (last row + 1) (elemAt above (i + 1) + 1))
                (elemAt above i + (if elemAt as i == c then 0 else 1)))
            ])
            [ (head above + 1) ]
            (genList (i: i) (length as));
        in
        last (foldl' step (genList (i: i) (length as + 1)) (chars (lower b)));
      scored = sort (x: y: x.score < y.score) (map (k: { name = k; score = distance k name; }) known);
      best = head scored;
    in
    if stringLength name <= 40 && best.score <= 1 + stringLength best.name / 4
    then ", did you mean '${best.name}'?" else "";

  # ---- what a value must be

  isDerivation = v: isAttrs v && v ? type && v.type == "derivation";
  isNixosSystem = v: isAttrs v && v ? config && v ? options;

  nameForm = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
  matches = form: v: isString v && match form v != null;
  listOf = ok: v: isList v && all ok v;
  # No control characters: these words become arguments and are shown on a terminal.
  isWord = matches "[^[:cntrl:]]+";

  # No more notes than a reader takes, or anybody reads.
  cut = most: notes:
    if length notes <= most then notes
    else genList (elemAt notes) (most - 1) ++ [ "and ${toString (length notes - most + 1)} more" ];

  bool = default: { inherit default; ok = isBool; want = "true or false"; };
  seconds = default: {
    inherit default;
    ok = v: isInt v && v >= 1 && v <= 86400;
    want = "a whole number of seconds from 1 to 86400";
  };
  oneOf = names: { ok = v: elem v names; want = orList (map toJSON names); };
  orList = words:
    let last = length words - 1;
    in "${concatStringsSep ", " (genList (elemAt words) last)} or ${elemAt words last}";
  script = {
    default = null;
    ok = v: v == null || isString v && stringLength v <= 16384;
    want = "null or a string of at most 16384 bytes with lines for sh";
    read = _: v: if v == "" then null else v;
  };
  # With its suffix: a unit is known by it among the failed ones, where nobody adds it.
  isUnit = v: isString v && stringLength v <= 255
    && match "[A-Za-z0-9:_.\\@-]+\\.(service|socket|target|device|mount|automount|swap|timer|path|slice|scope)" v != null;
  unitNames = {
    default = [ ];
    ok = v: listOf isUnit v && length v <= 256;
    want = "a list of at most 256 units like \"nginx.service\"";
  };

  # Every option of a node but `toplevel`. `default` may be absent: then it is worked out where the options are
  # read, or must be given. `read` turns another accepted way of writing into the one that the document has; its
  # first argument names the place for messages.
  # A leading '-' would be an option to ssh, and ssh hands user and host on to a ProxyCommand's shell.
  notInHosts = "[:space:][:cntrl:]'`\"$;&<>|(){}\\\\";
  isAddress = matches "[^${notInHosts}@-][^${notInHosts}@]*";

  options = {
    enable = bool true;
    host = {
      ok = v: v == null || matches "([^${notInHosts}@-][^${notInHosts}]*@)?[^${notInHosts}@-][^${notInHosts}@]*" v;
      want = "what to give to ssh: \"user@host\", \"host\" or a name from ~/.ssh/config";
    };
    successTimeout = seconds 20;
    switchTimeout = seconds 60;
    ignoreFailingSystemdUnits = bool false;
    privilegeEscalationCommand = {
      # -n: there is nobody to type a password in the window in which a host waits for its confirmation.
      default = [ "sudo" "-n" ];
      ok = v: listOf isWord v || isWord v;
      read = _: v: if isString v then filter (w: isString w && w != "") (split " +" v) else v;
      want = "a list of words like [ \"sudo\" \"-n\" ], or one string of them";
    };
    hasFastConnection = bool false;
    substituteOnTarget = { ok = isBool; want = "true or false"; };
    buildOn = oneOf [ "deployer" "target" ] // { default = "deployer"; };
    tags = {
      default = [ ];
      ok = listOf (matches nameForm);
      want = "a list of strings of letters, digits, '_', '.' and '-'";
    };
    addresses = {
      default = [ ];
      ok = v: listOf isAddress v && length v <= 256;
      want = "a list of names and addresses without a user, like [ \"10.0.0.5\" \"web1.example.org\" ]";
    };
    sshOptions = {
      default = [ ];
      ok = listOf isSshOption;
      want = "a list of strings as `ssh -o` takes them, like \"Port=2222\"";
    };
    sshArguments = {
      default = [ ];
      ok = listOf isWord;
      want = "a list of strings as ssh takes them as arguments, like [ \"-p\" \"2222\" ]";
    };
    strategy = oneOf [ "auto" "live" "boot" "live+boot" "kexec" "unguarded-boot" ] // { default = "auto"; };
    reboot = oneOf [ "never" "allowed" ] // { default = "never"; };
    rollbackReboot = oneOf [ "auto" "always" "never" ] // { default = "auto"; };
    bootTimeout = seconds 300;
    units = {
      default = readUnits "" { };
      ok = isPlainSet;
      read = readUnits;
      want = "a set { policy = ...; ignore = [ ... ]; listed = [ ... ]; }";
    };
    notes = {
      default = [ ];
      ok = listOf isWord;
      want = "a list of strings of one line each";
    };
    # Not in the document: where it speaks of the machine that deploys, it is in host and hasFastConnection.
    deployFrom = {
      default = { };
      ok = isPlainSet;
      read = readDeployFrom;
      want = "a set by machines that deploy, like { laptop = { host = \"root@192.0.2.1\"; hasFastConnection = true; }; }";
    };
    preparationPhases = {
      default = [ ];
      ok = v: isPlainSet v && length (attrNames v) <= 128;
      read = readPhases;
      want = "a set of at most 128 scripts by name, like { keys = \"./fetch-keys\"; }";
    };
    postDeployScript = script;
    preActivate = script;
    postRollback = script;
    checks = {
      default = [ ];
      ok = v: isPlainSet v && length (attrNames v) <= 128;
      read = where: v: map (name: readCheck where name v.${name}) (attrNames v);
      want = "a set of at most 128 checks by name, like { web = { type = \"tcp\"; port = 80; }; }";
    };
  };

  isSshOption = v: isWord v && matches "[A-Za-z][A-Za-z0-9]*[ =].+" v;

  # What a node says of these adds to what 'defaults' says, name by name.
  merged = [ "checks" "deployFrom" "preparationPhases" "units" ];

  # Of a machine that deploys; and of a node that is that machine, as nixus has it.
  fromOptions = {
    host = { inherit (options.host) want; ok = v: v != null && options.host.ok v; };
    inherit (options) hasFastConnection;
  };
  fromItself = { host = "root@localhost"; hasFastConnection = true; };

  # A phase as an entry of nixus's graph of phases, which is plain data.
  phaseOptions =
    let names = { default = [ ]; ok = listOf isString; want = "a list of names of phases"; };
    in {
      data = { inherit (script) want; ok = v: isString v && script.ok v; };
      before = names;
      after = names;
    };

  unitOptions = {
    policy = oneOf [ "new-failures" "strict" "listed" ] // { default = "new-failures"; };
    ignore = unitNames;
    listed = unitNames;
  };

  # Options of the whole fleet's 'rollout'.
  rolloutOptions =
    let hosts = v: isInt v && v >= 0 && v <= 10000;
    in {
      canary = {
        default = null;
        ok = v: v == null || hosts v || isWord v;
        want = "null, a number of hosts up to 10000, or a selection like \"web1\", \"web-*\" or \"@tag\"";
      };
      soak = {
        default = 0;
        ok = v: isInt v && v >= 0 && v <= 86400;
        want = "a whole number of seconds from 0 to 86400";
      };
      batch = {
        default = null;
        ok = v: v == null || hosts v && v > 0 || matches "([1-9][0-9]?|100)%" v;
        want = "null, a number of hosts from 1 to 10000, or a part of them like \"25%\"";
      };
      maxFailures = { default = 0; ok = hosts; want = "a number of hosts from 0 to 10000"; };
      onFailure = oneOf [ "stop" "rollback-batch" "rollback-all" ] // { default = "stop"; };
      atomic = bool false;
    };

  # Options of every check, and those of each type.
  checkOptions = {
    type = oneOf (attrNames typeOptions);
    where = oneOf [ "target" "deployer" ] // { default = "target"; };
    required = bool true;
    timeout = seconds 10;
    retries = {
      default = 3;
      ok = v: isInt v && v >= 0 && v <= 1000;
      want = "a whole number from 0 to 1000";
    };
    hold = {
      default = 0;
      ok = v: isInt v && v >= 0 && v <= 86400;
      want = "a whole number of seconds from 0 to 86400";
    };
  };
  typeOptions =
    let
      peer = want: { inherit want; ok = v: matches "[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*" v && stringLength v <= 255; };
      contains = {
        default = null;
        ok = v: v == null || isString v && stringLength v <= 16384;
        want = "null or a string that has to be in it";
      };
    in
    {
      unit.unit = { ok = isUnit; want = "a unit like \"nginx.service\""; };
      tcp.host = peer "a name or an address";
      tcp.port = { ok = v: isInt v && v >= 1 && v <= 65535; want = "a whole number from 1 to 65535"; };
      http.url = {
        ok = v: isWord v && match "https?://[^ ]+" v != null;
        want = "a URL like \"http://127.0.0.1/health\"";
      };
      http.status = {
        default = null;
        ok = v: v == null || isInt v && v >= 100 && v <= 599;
        want = "null (any of 2xx) or a number from 100 to 599";
      };
      http.contains = contains;
      command.command = { ok = v: isString v && v != "" && stringLength v <= 16384; want = "a line for sh"; };
      dns.lookup = peer "a name to look up";
      route = { };
      file.path = { ok = v: isWord v && substring 0 1 v == "/"; want = "a string with an absolute path"; };
      file.contains = contains;
    };

  # ---- arguments of ssh as options

  lower = replaceStrings (chars "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (chars "abcdefghijklmnopqrstuvwxyz");
  chars = s: genList (i: substring i 1 s) (stringLength s);

  sshFlags = {
    "4" = "AddressFamily=inet";
    "6" = "AddressFamily=inet6";
    A = "ForwardAgent=yes";
    a = "ForwardAgent=no";
    C = "Compression=yes";
    K = "GSSAPIAuthentication=yes";
    k = "GSSAPIDelegateCredentials=no";
  };
  # With a value; those without a name have no such form.
  sshSettings = {
    B = "BindInterface";
    b = "BindAddress";
    c = "Ciphers";
    I = "PKCS11Provider";
    i = "IdentityFile";
    J = "ProxyJump";
    l = "User";
    m = "MACs";
    p = "Port";
  } // listToAttrs (map (name: { inherit name; value = null; }) (chars "DEeFLOoPQRSWw"));

  # What belay refuses among sshOptions, since it decides that itself; StrictHostKeyChecking where it checks nothing.
  ownSshOptions = [
    "controlmaster" "controlpath" "controlpersist" "batchmode" "requesttty" "remotecommand" "forkafterauthentication"
    "sessiontype" "stdinnull" "localcommand" "permitlocalcommand"
  ];
  isOwnSshOption = option:
    let parts = match "([A-Za-z0-9]+)[ =]+(.*)" (lower option); in
    elem (head parts) ownSshOptions || head parts == "stricthostkeychecking" && elem (elemAt parts 1) [ "no" "off" ];

  # For each of the arguments { option } or, if it cannot be said so, { other }. As getopt reads them: letters may
  # stand together, and a value may stand behind its letter or be the next word.
  readSshArguments = args:
    let
      word = head args;
      rest = tail args;
      letter = substring 1 1 word;
      behind = substring 2 (-1) word;
      apart = behind == "" && rest != [ ];
      value = head (match " *(.*)" (if apart then head rest else behind));
      option = if letter == "o" then value else "${sshSettings.${letter}}=${value}";
      named = (letter == "o" || sshSettings.${letter} != null) && isSshOption option && !isOwnSshOption option;
    in
    if args == [ ] then [ ]
    # There is no terminal in any case.
    else if word == "-T" then readSshArguments rest
    else if match "-[A-Za-z0-9].*" word == null then [ { other = word; } ] ++ readSshArguments rest
    else if sshSettings ? ${letter} then
      [ (if named then { inherit option; } else { other = if apart then "${word} ${value}" else word; }) ]
      ++ readSshArguments (if apart then tail rest else rest)
    else
      [ (if sshFlags ? ${letter} then { option = sshFlags.${letter}; } else { other = "-${letter}"; }) ]
      ++ readSshArguments (if behind == "" then rest else [ "-${behind}" ] ++ rest);

  # What modules.nix takes away; here it comes only from a flake's output that the library has not seen.
  needsLibrary = "that is for the module system: give the fleet to the library, belay = belay.lib.fleet { ... }";

  # Known by name, but not in this version: what to do instead.
  useToplevel = "set 'configuration' to its NixOS configuration, or 'toplevel' to a system's config.system.build.toplevel";
  later = {
    configuration = "is here, but ${needsLibrary}";
    nixpkgs = "is here, but ${needsLibrary}";
    ssh = "is no option; use 'sshOptions', or ssh.access beside 'nodes'";
    closurePaths = "needs a 'configuration', to which it adds; make the paths part of the system that is given";
    deployHost = "is not a setting of single nodes; put it beside 'nodes', for the whole fleet";
    deployScriptPhases = "is not run; use 'preparationPhases' for what runs here before the host is asked, "
      + "or 'preActivate' for what runs on the host before the switch";
    secrets = "is not read by this version yet; remove it";
    dns = "is not read by this version; write its zones into the nodes' configurations";
    vpn = "is not read by this version; write it into the nodes' configurations";
    rollout = "is not a setting of single nodes; put it beside 'nodes', for the whole fleet";
  };

  # ---- checks

  # `where` names the set in messages; the error is for the first name that is not `known`.
  checkNames = where: known: set:
    let
      bad = filter (n: !elem n known) (attrNames set);
      name = head bad;
    in
    if bad == [ ] then set
    else if later ? ${name} then fail "${where}: '${name}' ${later.${name}}${at name set}"
    else fail "${where}: there is no option ${toJSON name}${nearest known name}${at name set}";

  nodeOptions = [ "toplevel" "enabled" ] ++ attrNames options;

  # nixus has another word for it. Made by listToAttrs, so that no message names a place in here.
  withEnable = where: set:
    if !(set ? enabled) then set
    else if set ? enable && set.enable != set.enabled then
      fail "${where}: 'enable' and 'enabled' are the same option, and differ; remove one of them${at "enabled" set}"
    else removeAttrs set [ "enabled" ] // listToAttrs [ { name = "enable"; value = set.enabled; } ];

  # A plain set of node options; also says what the other forms seen in practice should become.
  checkSet = where: set:
    if isFunction set then
      fail "${where}: is a function; ${needsLibrary}"
    else if isDerivation set || isNixosSystem set then
      fail "${where}: is ${if isDerivation set then "a derivation" else "a NixOS system"}; write { toplevel = ...; }"
    else if !isAttrs set then
      fail "${where}: is ${describe set}; it must be an attribute set of options"
    else withEnable where (checkNames where nodeOptions set);

  storeHint = "a derivation (config.system.build.toplevel) or the store path of a built one";

  # { drvPath, path, system } without context, and `built`, the path with it.
  checkToplevel = where: source: value:
    let
      wrong = fail "${where}: 'toplevel' is ${describe value}; it must be ${storeHint}${at "toplevel" source}";
      text = toString value;
      plain = unsafeDiscardStringContext text;
      prefix = builtins.storeDir + "/";
      inStore = substring 0 (stringLength prefix) plain == prefix
        && match "[0-9a-z]{32}-[^/[:cntrl:]]+" (substring (stringLength prefix) (-1) plain) != null;
      # "${system}" is a string, yet knows the derivation it came from.
      context = getContext text;
      origins = attrNames context;
      fromDerivation = length origins == 1 && context.${head origins} ? outputs;
    in
    if isDerivation value then {
      drvPath = unsafeDiscardStringContext value.drvPath;
      path = unsafeDiscardStringContext value.outPath;
      system = if value ? system && isString value.system then unsafeDiscardStringContext value.system else null;
      built = value.outPath;
    }
    else if isNixosSystem value then
      fail "${where}: 'toplevel' is a whole NixOS system; add .config.system.build.toplevel${at "toplevel" source}"
    else if !(isString value || isPath value) || !inStore then wrong
    else {
      drvPath = if fromDerivation then head origins else null;
      path = plain;
      system = null;
      # Without its context Nix would not see the path as an input of the deploy script.
      built = if origins != [ ] then text else builtins.appendContext plain { ${plain}.path = true; };
    };

  # The value of each of `types` in `set`, checked, or its default. `whereOf` and `sourceOf` tell where an option
  # stands; `computed` has the defaults that depend on something.
  readOptions = { whereOf, sourceOf, computed ? { } }: types: set:
    let
      value = option: type:
        let given = set.${option}; in
        if !(set ? ${option}) then
          type.default or (computed.${option} or (fail "${whereOf option}: has no '${option}'; it must be ${type.want}"))
        else if !type.ok given then
          fail "${whereOf option}: '${option}' is ${describe given}; it must be ${type.want}${at option (sourceOf option)}"
        else (type.read or (_: v: v)) (whereOf option) given;
    in
    mapAttrs value types;

  isPlainSet = v: isAttrs v && !isDerivation v;

  # The fleet's own: a selection of its nodes can be read by belay alone, which knows what it deploys.
  rollout =
    let set = top.rollout or { }; in
    if !isPlainSet set then
      fail "rollout: is ${describe set}; it must be a set like { canary = 1; batch = \"25%\"; }${at "rollout" top}"
    else
      readOptions { whereOf = _: "rollout"; sourceOf = _: set; } rolloutOptions
        (checkNames "rollout" (attrNames rolloutOptions) set);

  readUnits = where: set:
    let
      here = "${where}: units";
      v = readOptions { whereOf = _: here; sourceOf = _: set; } unitOptions (checkNames here (attrNames unitOptions) set);
    in
    if v.policy == "listed" && v.listed == [ ] then
      fail "${here}: the policy \"listed\" needs the units that count in 'listed'${at "policy" set}"
    else if v.policy != "listed" && v.listed != [ ] then
      fail "${here}: 'listed' counts only with policy = \"listed\"${at "listed" set}"
    else v;

  readDeployFrom = where: mapAttrs (from: set:
    let here = "${where}: deployFrom ${toJSON from}"; in
    if !isPlainSet set then
      fail "${here}: is ${describe set}; it must be a set like { host = \"root@192.0.2.1\"; hasFastConnection = true; }"
    else
      readOptions { whereOf = _: here; sourceOf = _: set; } fromOptions (checkNames here (attrNames fromOptions) set));

  # What a script on the deployer's machine names of what is to be built, as `nix-store --realise` takes it.
  needsOf = script:
    let context = if script == null then { } else getContext script; in
    concatMap (drv: map (output: "${unsafeDiscardStringContext drv}!${output}") (context.${drv}.outputs or [ ])) (attrNames context);

  # In the order of names, as far as the phases do not say which goes before which.
  readPhases = where: set:
    let
      here = "${where}: preparationPhases";
      names = attrNames set;
      read = name: given:
        let
          this = "${where}: preparation phase ${toJSON name}";
          v = if isString given then { data = given; } else given;
          phase = readOptions { whereOf = _: this; sourceOf = _: v; } phaseOptions (checkNames this (attrNames phaseOptions) v);
        in
        if match nameForm name == null then
          fail "${this}: a phase's name has up to 128 letters, digits, '_', '.' and '-'"
        else if !isPlainSet v then
          fail "${this}: is ${describe v}; it must be a string with lines for sh, or a set { data = ...; before = [ ]; after = [ ]; }"
        # nixus's own phase. What wants to go before it does so in any case.
        else if elem "copyClosure" phase.after then
          fail ("${this}: wants to run after the closure was copied, but phases run before that; "
            + "use 'preActivate' or 'postDeployScript'${at "after" v}")
        else phase;
      phases = mapAttrs read set;
      follows = a: b: elem b phases.${a}.after || elem a phases.${b}.before;
      order = left:
        let free = filter (a: !any (follows a) left) left; in
        if left == [ ] then [ ]
        else if free == [ ] then fail "${here}: ${concatStringsSep ", " left} go before each other in a circle"
        else [ (head free) ] ++ order (filter (n: n != head free) left);
    in
    map (name: { inherit name; script = phases.${name}.data; })
      (filter (name: phases.${name}.data != "") (order names));

  readCheck = where: name: set:
    let
      here = "${where}: check ${toJSON name}";
      read = readOptions { whereOf = _: here; sourceOf = _: set; inherit computed; };
      inherit (read { inherit (checkOptions) type; } set) type;
      types = checkOptions // typeOptions.${type};
      # From the deployer there is no default: its own loopback is hardly what is meant.
      computed = if set.where or "target" == "target" then { host = "127.0.0.1"; } else { };
      v = read types (checkNames "${here} of type ${toJSON type}" (attrNames types) set);
    in
    if match nameForm name == null then
      fail "${here}: a check's name has up to 128 letters, digits, '_', '.' and '-'"
    else if !isPlainSet set then
      fail "${here}: is ${describe set}; it must be a set like { type = \"tcp\"; port = 80; }"
    else if v.where == "deployer" && elem type [ "unit" "route" "file" ] then
      fail ("${here}: looks at a ${type} of the deployer's machine, which says nothing about the host; "
        + "leave 'where' out${at "where" set}")
    else v // { inherit name; };

  checkNode = name: own:
    let
      here = "node ${name}";
      given = checkSet here own;
      both = filter (o: all (s: s ? ${o} && isPlainSet s.${o}) [ defaults given ]) merged;
      node = defaults // given // listToAttrs (map (o: { name = o; value = defaults.${o} // given.${o}; }) both);
      whereOf = option: if given ? ${option} then here else "${here} (from 'defaults')";
      sourceOf = option: if given ? ${option} then given else defaults;
      values = readOptions
        {
          inherit whereOf sourceOf;
          computed = {
            host = name;
            # On a slow line the target fetches what it can by itself.
            substituteOnTarget = !hasFastConnection;
          };
        }
        options
        node;
      ways = { ${name} = fromItself; } // values.deployFrom;
      way = if deployHost == null then { } else ways.${deployHost} or { };
      host = way.host or values.host;
      hasFastConnection = way.hasFastConnection or values.hasFastConnection;
      arguments = readSshArguments values.sshArguments;
      twice = values.ignoreFailingSystemdUnits && values.units.policy != "new-failures";
      toplevel =
        if node ? toplevel
        then checkToplevel (whereOf "toplevel") (sourceOf "toplevel") node.toplevel
        else fail "${here}: has no system to deploy; ${useToplevel}${at name nodes}";
      # Around the fields too: the set is there at once, and its evaluation comes with drvPath.
      traced = addErrorContext "while evaluating the system of node '${name}'";
      evaluated = mapAttrs (_: traced) (traced toplevel);
    in
    if match nameForm name == null then
      fail ("node ${toJSON name}: a node's name has up to 128 letters, digits, '_', '.' and '-', "
        + "and begins with a letter, digit or '_'${at name nodes}")
    else if twice then
      fail ("${here}: 'ignoreFailingSystemdUnits' is true and 'units' has the policy ${toJSON values.units.policy}; "
        + "remove one of them${at "units" (sourceOf "units")}")
    else {
      data = plainStrings (deepSeq values.deployFrom (removeAttrs values [ "deployFrom" "sshArguments" ]) // {
        # There is no way to a host that is null.
        enable = values.enable && host != null;
        host = if host == null then name else host;
        inherit hasFastConnection;
        sshOptions = values.sshOptions ++ map (a: a.option) (filter (a: a ? option) arguments);
        scriptNeeds = attrNames (listToAttrs (map (need: { name = need; value = null; })
          (concatMap needsOf ([ values.postDeployScript ] ++ map (phase: phase.script) values.preparationPhases))));
        notes = cut 256 (values.notes
          ++ map (a: "the ssh argument ${toJSON a.other}: not supported, ignored") (filter (a: a ? other) arguments));
      }) // {
        # Not called outPath: Nix prints a set with that name as the bare path.
        toplevel = { inherit (evaluated) drvPath path; };
        inherit (evaluated) system;
      };
      inherit (evaluated) built;
      scripts = { inherit (values) preparationPhases postDeployScript; scriptNeeds = [ ]; };
    };

  # Options may be made from a derivation ("${pkgs.foo}/bin/x"); on their own they build nothing.
  plainStrings = v:
    if isString v then unsafeDiscardStringContext v
    else if isList v then map plainStrings v
    else if isAttrs v then mapAttrs (_: plainStrings) v
    else v;

  top =
    if !isAttrs fleet || isDerivation fleet then
      fail "the fleet is ${describe fleet}; it must be an attribute set { defaults = { ... }; nodes = { ... }; }"
    else if !(fleet ? nodes) then
      fail "the fleet has no 'nodes'; it must be an attribute set { defaults = { ... }; nodes = { ... }; }"
    else checkNames "fleet" [ "defaults" "nodes" "deployHost" "rollout" "notes" ] fleet;

  defaults = checkSet "defaults" (top.defaults or { });

  nodes =
    if isAttrs top.nodes && !isDerivation top.nodes then top.nodes
    else fail "fleet: 'nodes' is ${describe top.nodes}; it must be an attribute set with a node for each name${at "nodes" top}";

  checked = mapAttrs checkNode nodes;

  # The machine that deploys, or null: nodes are reached as they say without it.
  deployHost =
    let
      given = top.deployHost or null;
      from = set: if isAttrs set && isPlainSet (set.deployFrom or null) then attrNames set.deployFrom else [ ];
      known = attrNames nodes ++ concatMap from ([ defaults ] ++ map (name: nodes.${name}) (attrNames nodes));
    in
    if given == null then null
    else if !isWord given then
      fail "fleet: 'deployHost' is ${describe given}; it must be null or the name of the machine that deploys${at "deployHost" top}"
    else if !elem given known then
      fail ("fleet: 'deployHost' is ${toJSON given}, which is no node, and of which no node's 'deployFrom' speaks"
        + "${if known == [ ] then "" else nearest known given}${at "deployHost" top}")
    else plainStrings given;

  notes =
    let given = top.notes or [ ]; in
    if listOf isWord given then cut 1000 given
    else fail "fleet: 'notes' is ${describe given}; it must be ${options.notes.want}${at "notes" top}";
in
{
  data = {
    belayFleet = 1; # version of docs/fleet-schema.md
    notes = plainStrings notes;
    rollout = plainStrings rollout;
    # Wrong without any node too.
    nodes = seq deployHost (mapAttrs (_: node: node.data) checked);
  };
  built = mapAttrs (_: node: node.built) checked;
  scripts = mapAttrs (_: node: node.scripts) checked;
  options = {
    inherit fromItself merged;
    defaults = mapAttrs (_: type: if type ? default then { inherit (type) default; } else { })
      (removeAttrs options (merged ++ [ "host" "substituteOnTarget" ]));
  };
}
