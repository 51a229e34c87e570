#!/bin/bash
# What a container host has for bootctl(1): the real one refuses to work there.  The
# variables have the form of efivarfs, and lib/supervise reads them as firmware does.
set -e
var=/sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
case ${1-} in
  set-oneshot)
    if [ -z "${2-}" ]; then rm -f "$var"; exit; fi
    { printf '\7\0\0\0'; printf '%s\0' "$2" | sed 's/./&\x00/g'; } > "$var.new"
    mv "$var.new" "$var" ;;
  *) echo "bootctl: the test bed knows set-oneshot only" >&2; exit 1 ;;
esac
