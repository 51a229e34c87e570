/* tb-probe HOST_DIR LOG: every 20 ms, what would this host boot after a power cut?
 *
 * Reads, from outside, the profile link and the boot loader's default.  A line goes
 * to LOG when one of them names another system than at the start although the
 * newest transaction has not been confirmed (and is not being undone either).
 * Once a transaction is committed, its system is the one that counts.
 * Reads only; ends by a signal or when the host is deleted. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *dir;

static int read_file(const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	FILE *f;
	size_t n;
	buf[0] = '\0';
	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f)
		return -1;
	n = fread(buf, 1, size - 1, f);
	buf[n] = '\0';
	fclose(f);
	return 0;
}

/* the profile's store path: system -> system-N-link -> /nix/store/... */
static void profile(char *out, size_t size)
{
	char path[PATH_MAX], link[512];
	ssize_t n;
	out[0] = '\0';
	snprintf(path, sizeof path, "%s/nix/var/nix/profiles/system", dir);
	n = readlink(path, link, sizeof link - 1);
	if (n <= 0)
		return;
	link[n] = '\0';
	if (link[0] != '/') {
		snprintf(path, sizeof path, "%s/nix/var/nix/profiles/%s", dir, link);
		n = readlink(path, link, sizeof link - 1);
		if (n <= 0)
			return;
		link[n] = '\0';
	}
	snprintf(out, size, "%s", link);
}

/* the store path in init= of the loader's default entry */
static void loader(char *out, size_t size)
{
	char conf[4096], name[600], entry[8192], *p, *e;
	out[0] = '\0';
	if (read_file("boot/loader/loader.conf", conf, sizeof conf) < 0)
		return;
	for (p = conf; p && strncmp(p, "default ", 8); p = (p = strchr(p, '\n')) ? p + 1 : NULL)
		;
	if (!p)
		return;
	p += 8;
	p[strcspn(p, "\n")] = '\0';
	snprintf(name, sizeof name, "boot/loader/entries/%.500s", p);
	if (read_file(name, entry, sizeof entry) < 0)
		return;
	p = strstr(entry, "init=");
	if (!p)
		return;
	p += 5;
	p[strcspn(p, " \n")] = '\0';
	e = strstr(p, "/init");
	if (e)
		*e = '\0';
	snprintf(out, size, "%s", p);
}

/* newest epoch, its state in out; -1 when there is none */
static long newest(char *out, size_t size)
{
	char path[PATH_MAX], text[8192], *p;
	struct dirent *d;
	long best = -1;
	DIR *h;
	out[0] = '\0';
	snprintf(path, sizeof path, "%s/upper/var/lib/belay/txn", dir);
	h = opendir(path);
	if (!h)
		return -1;
	while ((d = readdir(h))) {
		char *end;
		long n = strtol(d->d_name, &end, 10);
		if (end != d->d_name && !*end && n > best)
			best = n;
	}
	closedir(h);
	if (best < 0)
		return -1;
	snprintf(path, sizeof path, "upper/var/lib/belay/txn/%ld/state", best);
	if (read_file(path, text, sizeof text) < 0)
		return best;
	for (p = text; p && strncmp(p, "state=", 6); p = (p = strchr(p, '\n')) ? p + 1 : NULL)
		;
	if (p) {
		p += 6;
		p[strcspn(p, "\n")] = '\0';
		snprintf(out, size, "%s", p);
	}
	return best;
}

static int may_differ(const char *state)
{
	static const char *const ok[] = { "CONFIRMED", "COMMITTING", "COMMITTED",
					  "ROLLING_BACK" };
	for (size_t i = 0; i < sizeof ok / sizeof *ok; i++)
		if (!strcmp(state, ok[i]))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	char p0[512], l0[512], p1[512], l1[512], p2[512], l2[512], state[64];
	char last[2048] = "", line[2048];
	long adopted;
	FILE *log;
	if (argc != 3) {
		fprintf(stderr, "usage: tb-probe HOST_DIR LOG\n");
		return 2;
	}
	dir = argv[1];
	log = fopen(argv[2], "we");
	if (!log)
		return perror("tb-probe: log"), 1;
	setlinebuf(log);
	profile(p0, sizeof p0);
	loader(l0, sizeof l0);
	adopted =
		newest(state, sizeof state); /* a finished one must not excuse what comes now */
	if (strcmp(state, "COMMITTED"))
		adopted = -1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct timespec t = { 0, 20000000 };
		struct stat st;
		if (stat(dir, &st) < 0)
			return 0;
		/* links, state, links again: only what stood still around the state counts */
		profile(p1, sizeof p1);
		loader(l1, sizeof l1);
		long epoch = newest(state, sizeof state);
		profile(p2, sizeof p2);
		loader(l2, sizeof l2);
		int still = !strcmp(p1, p2) && !strcmp(l1, l2);
		int differs = strcmp(p1, p0) || strcmp(l1, l0);
		if (still && !strcmp(state, "COMMITTED") && epoch != adopted) {
			strcpy(p0, p1);
			strcpy(l0, l1);
			adopted = epoch;
		} else if (still && differs && (!may_differ(state) || epoch == adopted)) {
			snprintf(
				line, sizeof line,
				"profile %s, loader default %s, was %s, state of transaction %ld is %s",
				*p1 ? p1 : "(none)", *l1 ? l1 : "(none)", p0, epoch,
				*state ? state : "(none)");
			if (strcmp(line, last)) {
				fprintf(log, "%s\n", line);
				strcpy(last, line);
			}
		}
		nanosleep(&t, NULL);
	}
}
