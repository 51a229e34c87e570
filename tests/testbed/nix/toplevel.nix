# A NixOS-shaped system closure without nixpkgs, for test hosts that run
# Debian's systemd and sshd.  Everything a deployment tool looks at is there:
# activate, dry-activate, init, init-interface-version, nixos-version, system,
# kernel-params, boot.json, etc/, sw/bin, bin/switch-to-configuration.
#
# Built by any Nix >= 2.3, sandboxed, with a static busybox as /bin/sh:
#   nix-build toplevel.nix --argstr hostName web1 --argstr address 10.77.0.13/16
{ hostName
, address ? null            # "10.77.0.11/16"; null: no network at all
, address6 ? null           # "fd77::11/64", besides; the deployer is fd77::1 in segment 1
, gateway ? null
, residualGateway ? false   # scripted: the gateway in a unit of its own that only ever adds it, as NixOS's network-setup
, address2 ? null           # of a second interface
, iface2 ? "eth1"
, iface ? "eth0"
, networking ? "networkd"   # or "scripted", NixOS's default: an oneshot unit that is stopped and started
, networkText ? null        # overrides the whole .network file
, authorizedKeys ? [ ]      # list of key lines, or one string with newlines
, sshPort ? 22
, sshdConfig ? ""           # lines put before ours (sshd takes the first value)
, sshdEnable ? true
, users ? [ ]               # { name, authorizedKeys ? [ ], sudo ? false, sudoPassword ? false }: normal users; sudo without a password, or with
, dropPrograms ? [ ]        # names missing from sw/bin
, units ? { }               # "foo.service" = { text = "..."; wantedBy = [ "multi-user.target" ]; }
, userUnits ? { }           # the same for the managers of users; started with their default.target
, guard ? false             # with belay's boot guard, as its NixOS module has it
, etc ? { }                 # "some/file" = "text"
, version ? "a"
, kernelParams ? [ ]        # behind the virtual machine's own; [ "init=/nope" ] wins over the entry's init=
, loader ? "systemd-boot"   # which boot loader's files the installer writes; or "grub"
, kernel ? null             # a virtual machine's kernel and initrd; containers have none
, initrd ? null
, initrdKind ? "good"        # "other": good, but another file; "broken": is none, so the kernel panics; "hang": waits for ever
, initInterfaceVersion ? "systemd 2"
, activationExtra ? ""      # shell run at the end of activate; non-zero -> exit status 2
, preSwitchCheck ? ""       # shell; non-zero -> exit status 1
, configurationLimit ? null  # the boot menu has only so many generations, the newest, of each profile
, bootloaderExtra ? ""      # shell run first by the boot loader installer; `exit 1` -> status 1
, lean ? kernel != null     # for emulated machines: no udev, no logind, no PAM; boots about twice as fast
, ballastMB ? 0             # adds a store path of that size to the closure
, system ? "x86_64-linux"
}:
let
  inherit (builtins) attrNames concatStringsSep filter hasContext isString map stringLength toFile;

  writeFile = name: text: if hasContext text then run name { inherit text; passAsFile = [ "text" ]; } ''
    cp "$textPath" "$out"'' else toFile name text;

  run = name: env: script: derivation (env // {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-e" (toFile "builder.sh" ("export PATH=/bin:/usr/bin\n" + script)) ];
  });

  lines = concatStringsSep "\n";

  keyText = k: (if isString k then k else lines k) + "\n";

  network = if networkText != null then networkText else ''
    [Match]
    Name=${iface}
    [Network]
    ${if address == null then "" else "Address=${address}"}
    ${if address6 == null then "" else "Address=${address6}"}
    ${if gateway == null then "" else "Gateway=${gateway}"}
    LinkLocalAddressing=no
    IPv6AcceptRA=no
    [Link]
    RequiredForOnline=no
  '';
  network2 = ''
    [Match]
    Name=${iface2}
    [Network]
    Address=${toString address2}
    LinkLocalAddressing=no
    IPv6AcceptRA=no
    [Link]
    RequiredForOnline=no
  '';

  # Also without an address: networkd then takes the old one away, while a networkd that
  # is gone leaves everything as it was.
  hasNetworkd = networking == "networkd";
  networkFile = writeFile "10-uplink.network" network;
  networkFile2 = if address2 == null then null else writeFile "20-second.network" network2;
  sshdFile = writeFile "sshd_config" ''
    ${sshdConfig}
    Port ${toString sshPort}
    HostKey /etc/ssh/ssh_host_ed25519_key
    AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    UsePAM ${if lean then "no" else "yes"}
    UseDNS no
    PrintMotd no
    SetEnv PATH=/run/wrappers/bin:/run/current-system/sw/bin
    MaxStartups 100:30:200
    MaxSessions 100
    Subsystem sftp /usr/lib/openssh/sftp-server
  '';

  baseUnits = {
    # Same shape as NixOS: stopped sessions survive a restart (KillMode=process),
    # and a changed sshd_config changes the unit text through the trigger.
    "sshd.service" = {
      enable = sshdEnable;
      wantedBy = [ "multi-user.target" ];
      text = ''
        [Unit]
        Description=SSH Daemon
        After=network.target
        X-StopIfChanged=false
        X-Restart-Triggers=${sshdFile}
        StartLimitIntervalSec=0
        [Service]
        ExecStartPre=/bin/mkdir -p /run/sshd
        ExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
        KillMode=process
        Restart=always
        RestartSec=1
      '';
    };
    # On every NixOS host; users other than root have no other way into the store.
    "nix-daemon.socket" = {
      wantedBy = [ "sockets.target" ];
      text = ''
        [Unit]
        Description=Nix Daemon Socket
        [Socket]
        ListenStream=/nix/var/nix/daemon-socket/socket
      '';
    };
    "nix-daemon.service" = {
      wantedBy = [ ];
      text = ''
        [Unit]
        Description=Nix Daemon
        X-StopIfChanged=false
        [Service]
        ExecStart=/usr/bin/nix-daemon --daemon
        KillMode=process
        LimitNOFILE=1048576
      '';
    };
    "sysinit-reactivation.target" = {
      wantedBy = [ ];
      text = ''
        [Unit]
        Description=Reactivate sysinit units
      '';
    };
  };

  # The kernel drops the default route together with the last address; starting the
  # unit sets both.  (With residualGateway the route outlives a system that lacks it.)
  scriptedUnit = dev: addr: via: {
    "network-addresses-${dev}.service".text = ''
      [Unit]
      Description=Address configuration of ${dev}
      Before=network.target
      Wants=network.target
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=/sbin/ip link set ${dev} up
      ExecStart=/sbin/ip addr replace ${addr} dev ${dev}
      ${if via == null then "" else "ExecStart=/sbin/ip route replace default via ${via}"}
      ExecStop=/sbin/ip addr flush dev ${dev}
    '';
  };
  scriptedUnits = if networking != "scripted" then { } else
  (if address == null then { } else scriptedUnit iface address (if residualGateway then null else gateway))
  // (if address2 == null then { } else scriptedUnit iface2 address2 null)
  // (if !residualGateway then { } else {
    "network-setup.service".text = ''
      [Unit]
      Description=Networking Setup
      After=network-addresses-${iface}.service
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=/bin/true
      ${if gateway == null then "" else "ExecStart=/sbin/ip route replace default via ${gateway}"}
    '';
  });

  guardUnits = if !guard then { } else {
    "belay-guard.service".text = builtins.readFile ../../../nix/belay-guard.service;
  };

  allUnits = baseUnits // scriptedUnits // guardUnits // units;
  unitNames = filter (n: allUnits.${n}.enable or true) (attrNames allUnits);
  unitLines = lines (map
    (n: concatStringsSep " " ([ n (writeFile "unit-${builtins.replaceStrings [ "@" ] [ "-" ] n}" allUnits.${n}.text) ]
      ++ (allUnits.${n}.wantedBy or [ "multi-user.target" ])))
    unitNames) + "\n";

  userUnitLines = lines (map (n: "${n} ${writeFile "user-unit-${n}" userUnits.${n}.text}") (attrNames userUnits)) + "\n";

  # Debian's own units that must stay on, and those that only slow tests down.
  # On NixOS every target is in /etc/systemd/system; switching re-starts the active
  # ones, and that is what starts units new in this system.
  upstream = [ "basic.target" "multi-user.target" "sockets.target" "sysinit.target" "timers.target" ]
    ++ (if hasNetworkd then [ "systemd-networkd.service" "systemd-networkd.socket" ] else [ ]);
  masked = [ "getty.target" "systemd-update-utmp-runlevel.service" "dev-hugepages.mount" "sys-kernel-debug.mount" "sys-kernel-tracing.mount" ]
    ++ (if !lean then [ ] else [ "systemd-udevd.service" "systemd-udevd-control.socket" "systemd-udevd-kernel.socket"
      "systemd-udev-trigger.service" "systemd-udev-settle.service" "systemd-modules-load.service" "systemd-sysctl.service"
      "kmod-static-nodes.service" "modprobe@.service" "systemd-logind.service" "systemd-sysusers.service"
      "systemd-random-seed.service" "systemd-update-utmp.service" "systemd-binfmt.service" "proc-sys-fs-binfmt_misc.automount"
      "dev-mqueue.mount" "sys-kernel-config.mount" "sys-fs-fuse-connections.mount" "systemd-tmpfiles-setup-dev.service"
      "systemd-user-sessions.service" "systemd-journal-flush.service" "systemd-ask-password-wall.path" "systemd-remount-fs.service"
      "tmp.mount" "e2scrub_reap.service" "systemd-journal-catalog-update.service" "systemd-update-done.service" "systemd-boot-update.service" ]);

  networkdOverride = toFile "overrides.conf" ''
    [Unit]
    X-Reload-Triggers=${networkFile} ${toString networkFile2}
  '';

  etcFiles = {
    "hostname" = toFile "hostname" "${hostName}\n";
    "hosts" = toFile "hosts" "127.0.0.1 localhost\n127.0.0.2 ${hostName}\n";
    "resolv.conf" = toFile "resolv.conf" "# no name server\n";
    "os-release" = toFile "os-release" ''
      ID=nixos
      NAME=NixOS
      PRETTY_NAME="NixOS testbed ${version}"
      VERSION_ID="${version}"
    '';
    "nix/nix.conf" = toFile "nix.conf" ''
      build-users-group =
      require-sigs = false
      sandbox = false
      substituters =
      experimental-features = nix-command
      trusted-users = root
    '';
    "ssh/sshd_config" = sshdFile;
    "shells" = toFile "shells" "/run/current-system/sw/bin/bash\n/run/current-system/sw/bin/sh\n/bin/sh\n/bin/bash\n";
    "profile" = toFile "profile" "export PATH=/run/wrappers/bin:/run/current-system/sw/bin\n";
  } // builtins.mapAttrs (n: t: writeFile (baseNameOf n) t) etc;
  # Copied, not linked: sshd and sudo want files that only root can have written.
  copies = [
    { name = "ssh/authorized_keys.d/root"; file = toFile "keys-root" (keyText authorizedKeys); }
    {
      name = "sudoers";
      file = toFile "sudoers" ''
        Defaults secure_path="/run/wrappers/bin:/run/current-system/sw/bin"
        Defaults !fqdn
        root ALL=(ALL:ALL) SETENV: ALL
        %wheel ALL=(ALL:ALL) SETENV: ALL
        ${lines (map (u: "${u.name} ALL=(ALL:ALL) NOPASSWD: SETENV: ALL") (filter (u: u.sudo or false) users))}
        ${lines (map (u: "${u.name} ALL=(ALL:ALL) SETENV: ALL") (filter (u: u.sudoPassword or false) users))}
      '';
    }
  ] ++ map (u: { name = "ssh/authorized_keys.d/${u.name}"; file = toFile "keys-${u.name}" (keyText (u.authorizedKeys or [ ])); }) users;
  copyLines = lines (map (c: "${c.name} ${c.file}") copies) + "\n";

  etcLines = lines (map (n: "${n} ${etcFiles.${n}}") (attrNames etcFiles)) + "\n";

  # The kernel unpacks what is appended over what was there.
  initrdFile =
    if initrdKind == "broken" then toFile "initrd-broken" "not an initrd\n"
    else if initrdKind == "hang" then
      initrdWith "init" "#!/bin/busybox sh\necho initrd: hangs\nwhile :; do /bin/busybox sleep 1000; done\n"
    else if initrdKind == "other" then initrdWith "version" "${version}\n"
    else initrd;
  initrdWith = file: text: run "initrd-with-${file}" { base = initrd; inherit file text; } ''
    printf %s "$text" > "$file"; chmod 755 "$file"
    size=$(wc -c < "$base")
    { cat "$base"; head -c $(( (512 - size % 512) % 512 )) /dev/zero; echo "$file" | cpio -o -H newc; } > "$out"'';
  # panic=5: a kernel that has panicked starts the machine anew.  One serial line, old names of
  # interfaces, and nothing that only costs time.
  machineParams = [ "root=/dev/vda" "console=ttyS0" "panic=5" "net.ifnames=0" "audit=0" "apparmor=0" "selinux=0" "mitigations=off" "nowatchdog" "systemd.show_status=0" "quiet" ];
  params = (if kernel == null then [ ] else machineParams) ++ kernelParams;

  ballast = run "ballast-${toString ballastMB}-${version}" { } ''
    mkdir "$out"; i=0
    while [ $i -lt ${toString ballastMB} ]; do
      yes "${version} $i" | head -c 1048576 > "$out/$i"; i=$((i+1))
    done'';

  toplevel = run "nixos-system-${hostName}-${version}"
    {
      inherit unitLines userUnitLines etcLines copyLines networkdOverride networkFile networkFile2 hostName version initInterfaceVersion
        activationExtra preSwitchCheck bootloaderExtra;
      upstream = concatStringsSep " " upstream;
      masked = concatStringsSep " " masked;
      drop = concatStringsSep " " dropPrograms;
      userNames = concatStringsSep " " (map (u: u.name) users);
      params = concatStringsSep " " params;
      paramList = concatStringsSep ", " (map (p: "\"${p}\"") params);
      kernel = if kernel == null then "/boot/vmlinuz" else "${kernel}";
      initrd = if kernel == null then "/boot/initrd.img" else "${initrdFile}";
      machine = if kernel == null then "" else "1";
      inherit loader;
      limit = if configurationLimit == null then "+1" else toString configurationLimit;
      hasNetwork = if hasNetworkd then "1" else "";
      ballast = if ballastMB > 0 then "${ballast}" else "";
      activate = ./activate.sh;
      init = ./init.sh;
      stc = ./switch-to-configuration.sh;
      bootloader = ./install-bootloader.sh;
      bootctl = ./bootctl.sh;
      passAsFile = [ "unitLines" "userUnitLines" "etcLines" "copyLines" "activationExtra" "preSwitchCheck" "bootloaderExtra" ];
    } ''
    u=$out/etc/systemd/system
    mkdir -p "$u" "$out/etc/systemd/network" "$out/etc/ssh" "$out/bin" "$out/sw/bin"

    while read -r name file wanted; do
      [ -n "$name" ] || continue
      cp "$file" "$u/$name"     # a copy: systemd takes a link to another base name for an alias
      for w in $wanted; do mkdir -p "$u/$w.wants"; ln -s "../$name" "$u/$w.wants/$name"; done
    done < "$unitLinesPath"
    for n in $upstream; do ln -s /usr/lib/systemd/system/$n "$u/$n"; done
    for n in $masked; do ln -s /dev/null "$u/$n"; done
    ln -s multi-user.target "$u/default.target"
    while read -r name file; do
      [ -n "$name" ] || continue
      mkdir -p "$out/etc/systemd/user/default.target.wants"
      cp "$file" "$out/etc/systemd/user/$name"; ln -s "../$name" "$out/etc/systemd/user/default.target.wants/$name"
    done < "$userUnitLinesPath"

    if [ -n "$hasNetwork" ]; then
      ln -s "$networkFile" "$out/etc/systemd/network/10-uplink.network"
      [ -z "$networkFile2" ] || ln -s "$networkFile2" "$out/etc/systemd/network/20-second.network"
      mkdir -p "$u/multi-user.target.wants" "$u/systemd-networkd.service.d"
      ln -s ../systemd-networkd.service "$u/multi-user.target.wants/systemd-networkd.service"
      cp "$networkdOverride" "$u/systemd-networkd.service.d/overrides.conf"
    fi

    # etc-links: paths linked into /etc; etc-copies: paths copied (sshd wants no
    # symlink into the group-writable store for its keys)
    while read -r name file; do
      [ -n "$name" ] || continue
      mkdir -p "$(dirname "$out/etc/$name")"; ln -s "$file" "$out/etc/$name"; echo "$name"
    done < "$etcLinesPath" > "$out/etc-links"
    printf 'systemd/system\nsystemd/network\n' >> "$out/etc-links"
    [ ! -e "$out/etc/systemd/user" ] || echo systemd/user >> "$out/etc-links"
    while read -r name file; do
      [ -n "$name" ] || continue
      mkdir -p "$(dirname "$out/etc/$name")"; cp "$file" "$out/etc/$name"; echo "$name"
    done < "$copyLinesPath" > "$out/etc-copies"
    printf '%s\n' $userNames > "$out/users"

    # what /run/current-system/sw/bin offers on NixOS (its required and default packages),
    # where /usr/bin holds env alone and /bin sh alone
    for t in bash sh \
      '[' arch base32 base64 basename cat chgrp chmod chown cksum comm cp csplit cut date dd df dir \
      dirname du echo env expand expr factor false fmt fold groups head hostid id install join link ln logname ls md5sum \
      mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste pathchk pr printenv printf pwd readlink realpath rm \
      rmdir seq sha1sum sha256sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync tac tail tee test timeout \
      touch tr true truncate tsort tty uname unexpand uniq unlink vdir wc whoami yes \
      awk cmp diff find grep egrep fgrep sed tar xargs gzip gunzip zcat xz which getent ldd locale \
      systemctl systemd-run systemd-inhibit systemd-cat systemd-cgls systemd-escape systemd-notify systemd-tmpfiles \
      systemd-analyze systemd-detect-virt journalctl loginctl busctl networkctl hostnamectl timedatectl \
      ip ss ping curl ps pgrep pkill pidof kill free top uptime w watch hostname \
      mount umount findmnt lsblk flock setsid setpriv unshare nsenter logger lscpu more script dmesg \
      kmod ssh ssh-keygen ssh-keyscan scp sftp su login passwd \
      nix nix-env nix-store nix-daemon nix-instantiate nix-build nix-collect-garbage nix-copy-closure nix-hash nix-channel nix-shell; do
      ln -s "/usr/bin/$t" "$out/sw/bin/$t"
    done
    for t in reboot poweroff shutdown halt blkid fsck losetup mkswap swapon swapoff sysctl modprobe lsmod nft useradd \
      userdel usermod groupadd tc bridge ldconfig runuser chroot switch_root pivot_root fstrim; do
      ln -s "/usr/sbin/$t" "$out/sw/bin/$t"
    done
    # on NixOS only the wrapper in /run/wrappers has the setuid bit
    printf '%s\n' '#!/bin/sh' '[ "$(/usr/bin/id -u)" = 0 ] && exec /usr/bin/sudo "$@"' \
      'echo "sudo: /run/current-system/sw/bin/sudo must be owned by uid 0 and have the setuid bit set" >&2; exit 1' > "$out/sw/bin/sudo"
    chmod 755 "$out/sw/bin/sudo"
    if [ -n "$machine" ]; then
      ln -s /usr/bin/bootctl /usr/bin/grub-editenv /usr/sbin/grub-reboot /usr/sbin/kexec "$out/sw/bin/"
    else
      cp "$bootctl" "$out/sw/bin/bootctl"; chmod 755 "$out/sw/bin/bootctl"
    fi
    for t in $drop; do rm -f "$out/sw/bin/$t"; done

    sub() { sed "s|@out@|$out|g; s|@loader@|$loader|g; s|@limit@|$limit|g" "$1" > "$2"; chmod 755 "$2"; }
    sub "$activate" "$out/activate"; sub "$init" "$out/init"
    sub "$stc" "$out/bin/switch-to-configuration"; sub "$bootloader" "$out/bin/install-bootloader"
    cp "$activationExtraPath" "$out/activation-extra"
    cp "$preSwitchCheckPath" "$out/pre-switch-check"
    cp "$bootloaderExtraPath" "$out/bootloader-extra"
    printf '#!/bin/sh\necho "would run the activation of $1"\n' > "$out/dry-activate"; chmod 755 "$out/dry-activate"

    printf %s "$version" > "$out/nixos-version"
    printf %s "$initInterfaceVersion" > "$out/init-interface-version"
    printf %s "$system" > "$out/system"
    printf %s "$params" > "$out/kernel-params"
    ln -s "$kernel" "$out/kernel"; ln -s "$initrd" "$out/initrd"; ln -s /lib/systemd "$out/systemd"
    [ -z "$ballast" ] || ln -s "$ballast" "$out/ballast"
    cat > "$out/boot.json" <<X
    { "org.nixos.bootspec.v1": { "system": "$system", "label": "NixOS testbed $version",
      "kernel": "$kernel", "initrd": "$initrd", "init": "$out/init",
      "kernelParams": [ $paramList ], "toplevel": "$out" }, "org.nixos.specialisation.v1": { } }
    X
  '';
in
toplevel
