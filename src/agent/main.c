/* SPDX-License-Identifier: MIT */
/* belay-agent: the program on the target. People need it rarely; `belay` runs it. */
#include "agent/confirm.h"
#include "agent/keeper.h"
#include "agent/reboot.h"
#include "agent/serve.h"
#include "agent/system.h"
#include "agent/txn.h"
#include "base/log.h"
#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
	"usage: belay-agent COMMAND\n"
	"\n"
	"belay runs: serve confirm keeper deadman force guard. By hand, as root:\n"
	"\n"
	"  status       what runs, what would boot, and the newest transaction\n"
	"  abort N      end transaction N now: back to the old system\n"
	"  --version, --help\n"
	"\n"
	"See belay-agent(8).\n";

static int print_status(void)
{
	BL_AUTO(bl_facts) f = { 0 };
	BL_AUTO(bl_txn) t = { .dir_fd = -1 };
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) text = { 0 };
	struct bl_err err = { 0 };
	if (bl_facts_read(&f, &err) < 0) {
		fprintf(stderr, "belay-agent: %s\n", err.msg);
		return 1;
	}
	bl_facts_tell(&f, &kv);
	uint64_t epoch = bl_txn_newest();
	if (epoch && bl_txn_open(epoch, &t, &err) == 0)
		bl_txn_tell(&t, &kv);
	bl_kv_encode(&kv, &text);
	fputs(bl_buf_str(&text), stdout);
	return 0;
}

static int abort_txn(uint64_t epoch)
{
	struct bl_err err = { 0 };
	if (bl_confirm_abort(epoch, "", &err) < 0) {
		fprintf(stderr, "belay-agent: %s\n", err.msg);
		return 1;
	}
	return 0;
}

static int with_epoch(const char *command, const char *text)
{
	struct bl_err err = { 0 };
	uint64_t epoch = 0;
	if (bl_parse_u64(text, 1, UINT64_MAX, &epoch, &err) < 0) {
		fprintf(stderr, "belay-agent %s: transaction: %s\n", command, err.msg);
		return 2;
	}
	if (strcmp(command, "keeper") == 0)
		return bl_keeper_main(epoch, BL_KEEPER);
	if (strcmp(command, "deadman") == 0)
		return bl_keeper_main(epoch, BL_DEADMAN);
	if (strcmp(command, "confirm") == 0)
		return bl_confirm_main(epoch);
	if (strcmp(command, "abort") == 0)
		return abort_txn(epoch);
	if (strcmp(command, "force") == 0) {
		bl_reboot_force((int64_t)epoch);
		return 1;
	}
	return -1;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "--help";
	/* a deployer that has gone is an error of write(), not the end of us */
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	bl_log_setup(BL_LOG_WARN, false);
	if (strcmp(command, "--help") == 0) {
		fputs(help, stdout);
		return 0;
	}
	if (strcmp(command, "--version") == 0) {
		puts("belay-agent " BELAY_VERSION);
		return 0;
	}
	if (geteuid() != 0 && strcmp(command, "serve") != 0) {
		fputs("belay-agent: only root may do this\n", stderr);
		return 1;
	}
	if (strcmp(command, "serve") == 0)
		return bl_serve_main(argc > 2 ? argv[2] : "");
	if (strcmp(command, "guard") == 0 && argc == 2)
		return bl_guard_main();
	if (strcmp(command, "status") == 0 && argc == 2)
		return print_status();
	int rc = argc == 3 ? with_epoch(command, argv[2]) : -1;
	if (rc < 0) {
		fputs("belay-agent: not understood; see belay-agent --help\n", stderr);
		return 2;
	}
	return rc;
}
