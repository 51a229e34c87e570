/* SPDX-License-Identifier: MIT */
#include "agent/coverage.h"

#include "base/file.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNTIME_REMEDY \
	"set RuntimeWatchdogSec=30s in systemd's system.conf (NixOS: services.belay.enable)"

/* "30", "-1", "Y"; anything else is 0. */
static int64_t number(const char *text)
{
	uint64_t n = 0;
	bool minus = text[0] == '-';
	bl_autofree char *line = bl_xstrndup(text, strcspn(text, " \t\n"));
	if (strcmp(line, "Y") == 0)
		return 1;
	if (bl_parse_u64(line + minus, 0, INT32_MAX, &n, NULL) < 0)
		return 0;
	return minus ? -(int64_t)n : (int64_t)n;
}

static int64_t read_number(const char *root, const char *path, int64_t fallback)
{
	bl_autofree char *file = bl_xprintf("%s/%s", root, path);
	bl_autofree char *text = bl_slurp(file, 4096);
	return text ? number(text) : fallback;
}

/* The value in a line "KEY=VALUE"; what systemd calls off is "". */
static void property(const char *show, const char *key, char *out, size_t size)
{
	size_t n = strlen(key);
	out[0] = '\0';
	for (const char *line = show; *line; line += strcspn(line, "\n"), line += *line != 0) {
		if (strncmp(line, key, n) != 0 || line[n] != '=')
			continue;
		snprintf(out, size, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
		if (strcmp(out, "0") == 0)
			out[0] = '\0';
		else if (strcmp(out, "infinity") == 0)
			snprintf(out, size, "the device's own time");
		return;
	}
}

/* The last panic= counts, as for the kernel. */
static int64_t panic_of(const char *params)
{
	int64_t found = 0;
	for (const char *word = params; *word; word += strcspn(word, " \t\n")) {
		word += strspn(word, " \t\n");
		if (bl_starts_with(word, "panic="))
			found = number(word + strlen("panic="));
	}
	return found;
}

void bl_coverage_read(const char *root, const char *show, const char *params,
		      struct bl_coverage *out)
{
	static const char *const lockups[] = { "proc/sys/kernel/softlockup_panic",
					       "proc/sys/kernel/hardlockup_panic",
					       "proc/sys/kernel/hung_task_panic" };
	char device[64];
	*out = (struct bl_coverage){ 0 };
	property(show, "RuntimeWatchdogUSec", out->runtime, sizeof(out->runtime));
	property(show, "RebootWatchdogUSec", out->reboot, sizeof(out->reboot));
	property(show, "WatchdogDevice", device, sizeof(device));
	out->panic_s = read_number(root, "proc/sys/kernel/panic", 0);
	out->panic_on_oops = read_number(root, "proc/sys/kernel/panic_on_oops", 0) != 0;
	for (size_t i = 0; i < BL_COUNT(lockups); i++)
		out->lockups_panic |= read_number(root, lockups[i], 0) != 0;
	out->panic_next_s = panic_of(params);
	out->boot_watched =
		read_number(root, "sys/module/watchdog/parameters/open_timeout", 0) != 0 ||
		read_number(root, "sys/module/watchdog/parameters/handle_boot_enabled", 1) == 0;
	/* systemd takes watchdog0 unless it is told another one; /dev/watchdog is that too */
	bool other = out->runtime[0] && bl_starts_with(device, "/dev/watchdog") &&
		     bl_is_digit(device[strlen("/dev/watchdog")]);
	bl_watchdog_look(root, other ? device + strlen("/dev/") : "watchdog0", &out->dog);
	out->feedable = !other && bl_watchdog_is_free(&out->dog);
}

static void put(const struct bl_items *items, const char *name, bool covered, const char *text,
		const char *remedy)
{
	items->put(items->ctx, name, covered ? BL_ITEM_OK : BL_ITEM_WARNING, text,
		   covered ? "" : remedy);
}

/* Somebody feeds it, and it does not hang together with what it watches. */
static bool hardware_is_fed(const struct bl_coverage *c)
{
	return c->dog.there && !c->dog.soft && (c->runtime[0] || c->dog.active || c->feedable);
}

static const char *feeder(const struct bl_coverage *c)
{
	if (c->runtime[0])
		return "which systemd feeds";
	return c->feedable ? "which belay feeds while a deployment is open"
			   : "which another program feeds";
}

static void judge_panic(const struct bl_coverage *c, const struct bl_items *items)
{
	BL_AUTO(bl_buf) b = { 0 };
	bool now = c->panic_s != 0;
	bool next = c->panic_next_s != 0;
	if (c->panic_s > 0)
		bl_buf_printf(&b, "the host restarts %lld s after one", (long long)c->panic_s);
	else
		bl_buf_puts(&b, now ? "the host restarts at once after one"
				    : "the host stays down after one (kernel.panic=0)");
	if (!next)
		bl_buf_printf(&b, "%s the next boot's kernel command line has no panic=",
			      now ? ", but" : ", and");
	if ((!now || !next) && hardware_is_fed(c))
		bl_buf_printf(&b, "; %s, %s, resets it", c->dog.identity, feeder(c));
	if (now && !c->panic_on_oops)
		bl_buf_puts(&b, "; an oops does not panic (kernel.panic_on_oops=0)");
	put(items, "panic", (now && next) || hardware_is_fed(c), bl_buf_str(&b),
	    "put panic=30 on the kernel's command line and set kernel.panic=30 (NixOS: "
	    "services.belay.enable)");
}

static void judge_kernel(const struct bl_coverage *c, const struct bl_items *items)
{
	BL_AUTO(bl_buf) b = { 0 };
	const struct bl_watchdog_seen *dog = &c->dog;
	const char *remedy = RUNTIME_REMEDY;
	if (!dog->there) {
		bl_buf_puts(&b, "no watchdog device");
		remedy =
			"load the driver of the board's watchdog, or give the virtual machine one "
			"(i6300esb), and set RuntimeWatchdogSec=30s";
	} else if (hardware_is_fed(c)) {
		bl_buf_printf(&b, "%s, %s, resets the host", dog->identity, feeder(c));
	} else if (dog->soft) {
		bl_buf_puts(&b, "softdog alone, which hangs with its kernel");
		remedy = "use a watchdog in hardware, or the virtual machine's (i6300esb)";
	} else {
		bl_buf_printf(&b, "nobody feeds %s%s", dog->identity,
			      dog->nowayout ? ", and what belay starts could not be stopped "
					      "again (nowayout)"
					    : "");
	}
	if (!hardware_is_fed(c) && c->lockups_panic && c->panic_s != 0)
		bl_buf_puts(&b, "; lockups that the kernel finds itself end in a panic");
	put(items, "hang in the kernel", hardware_is_fed(c), bl_buf_str(&b), remedy);
}

static void judge_pid1(const struct bl_coverage *c, const struct bl_items *items)
{
	BL_AUTO(bl_buf) b = { 0 };
	bool covered = c->dog.there && (c->runtime[0] || c->feedable);
	if (c->dog.there && c->runtime[0])
		bl_buf_printf(&b, "systemd feeds %s (RuntimeWatchdogSec: %s)", c->dog.identity,
			      c->runtime);
	else if (covered)
		bl_buf_printf(
			&b,
			"belay's keeper restarts the host without it while a deployment is "
			"open; %s, when the keeper is gone too",
			c->dog.identity);
	else
		bl_buf_puts(&b,
			    "only belay's keeper restarts the host without it, as long as it "
			    "lives and a deployment is open");
	put(items, "hang in PID 1", covered, bl_buf_str(&b), RUNTIME_REMEDY);
}

static void judge_boot(const struct bl_coverage *c, const struct bl_items *items)
{
	BL_AUTO(bl_buf) b = { 0 };
	bool covered = c->dog.there && !c->dog.soft && c->boot_watched;
	if (covered)
		bl_buf_printf(
			&b,
			"the kernel lets %s run out until systemd is there, if the firmware "
			"has started it",
			c->dog.identity);
	else if (c->dog.there && c->runtime[0])
		bl_buf_printf(&b, "%s runs only from systemd's start on", c->dog.identity);
	else
		bl_buf_puts(&b, "no watchdog runs then: the host would need a power cycle");
	put(items, "hang in boot", covered, bl_buf_str(&b),
	    "have the firmware or hypervisor start a watchdog and put watchdog.open_timeout=180 on "
	    "the kernel's command line, or have power control out of band");
}

static void judge_shutdown(const struct bl_coverage *c, const struct bl_items *items)
{
	BL_AUTO(bl_buf) b = { 0 };
	bool covered = c->dog.there && c->reboot[0];
	if (covered)
		bl_buf_printf(&b, "systemd leaves %s running (RebootWatchdogSec: %s)%s",
			      c->dog.identity, c->reboot,
			      c->dog.soft ? ", as long as the kernel lives" : "");
	else
		bl_buf_printf(
			&b,
			"%s: systemd's own limits end units that hang, nothing ends a kernel",
			c->dog.there ? "RebootWatchdogSec is off" : "no watchdog device");
	put(items, "hang in shutdown", covered, bl_buf_str(&b),
	    c->dog.there ? "set RebootWatchdogSec=10min in systemd's system.conf (NixOS: "
			   "services.belay.enable)"
			 : "give the host a watchdog; RebootWatchdogSec is 10min by default");
}

void bl_coverage_judge(const struct bl_coverage *c, const struct bl_items *items)
{
	judge_panic(c, items);
	judge_kernel(c, items);
	judge_pid1(c, items);
	judge_boot(c, items);
	judge_shutdown(c, items);
}
