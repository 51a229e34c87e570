#!/bin/bash
# E8 and E10 with GRUB.
. "$(dirname "$0")/lib.sh"

up_vm vm1 11 grub
E8() {
  crash_at vm1 11 after-WAIT_CONFIRM old
  crash_at vm1 11 after-profile old
  crash_at vm1 11 after-loader new
  check "E8: the system is whole" whole vm1
}
E10() { panics vm1 11; }
rows E8 E10
oracle_again vm1 "$(system vm1 11 --argstr version good)"
done_testing
