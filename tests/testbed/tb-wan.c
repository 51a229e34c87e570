/* tb-wan TAP_A TAP_B FILE: carries Ethernet frames between two tap devices, as a
 * long line would.  FILE holds one line, read again when it changes:
 *
 *   delay_ms jitter_ms loss_percent rate_kbit
 *
 * (rate 0: no limit; loss 100: the line is cut).  Each direction on its own.
 * Tap devices make the kernel finish checksums and segmentation before we see a
 * frame; packet sockets on veth would not.  Frames never overtake one another. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 2048
#define QUEUE_MAX 20000 /* frames a direction holds; more are lost */

struct frame {
	int64_t due; /* ns, monotonic clock */
	int len;
	struct frame *next;
	unsigned char data[];
};

struct line {
	int in, out;
	struct frame *head, *tail;
	int count;
	int64_t last_due, busy_until;
};

static double delay_ms, jitter_ms, loss, rate_kbit;

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int open_tap(const char *name)
{
	struct ifreq r;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	memset(&r, 0, sizeof r);
	r.ifr_flags = IFF_TAP | IFF_NO_PI;
	snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
	if (ioctl(fd, TUNSETIFF, &r) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void read_settings(const char *path)
{
	static struct timespec seen;
	struct stat st;
	double d, j, l, r;
	FILE *f;
	if (stat(path, &st) < 0 ||
	    (st.st_mtim.tv_sec == seen.tv_sec && st.st_mtim.tv_nsec == seen.tv_nsec))
		return;
	f = fopen(path, "re");
	if (!f)
		return;
	if (fscanf(f, "%lf %lf %lf %lf", &d, &j, &l, &r) == 4) {
		delay_ms = d, jitter_ms = j, loss = l, rate_kbit = r;
		seen = st.st_mtim;
	}
	fclose(f);
}

static void take(struct line *l)
{
	unsigned char buf[FRAME_MAX];
	for (int i = 0; i < 64; i++) {
		ssize_t n = read(l->in, buf, sizeof buf);
		if (n <= 0)
			return;
		if (drand48() * 100 < loss || l->count >= QUEUE_MAX)
			continue;
		struct frame *f = malloc(sizeof *f + (size_t)n);
		if (!f)
			return;
		int64_t t = now_ns();
		if (rate_kbit > 0) { /* the time the frame needs on the wire */
			if (l->busy_until < t)
				l->busy_until = t;
			l->busy_until += (int64_t)((double)n * 8e6 / rate_kbit);
			t = l->busy_until;
		}
		f->due = t + (int64_t)((delay_ms + (drand48() * 2 - 1) * jitter_ms) * 1e6);
		if (f->due < l->last_due)
			f->due = l->last_due;
		l->last_due = f->due;
		f->len = (int)n;
		f->next = NULL;
		memcpy(f->data, buf, (size_t)n);
		if (l->tail)
			l->tail->next = f;
		else
			l->head = f;
		l->tail = f;
		l->count++;
	}
}

static int64_t give(struct line *l, int64_t t) /* time of the next due frame, or -1 */
{
	while (l->head && l->head->due <= t) {
		struct frame *f = l->head;
		if (write(l->out, f->data, (size_t)f->len) < 0 && errno == EAGAIN)
			return t + 100000;
		l->head = f->next;
		if (!l->head)
			l->tail = NULL;
		l->count--;
		free(f);
	}
	return l->head ? l->head->due : -1;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: tb-wan TAP_A TAP_B SETTINGS_FILE\n");
		return 2;
	}
	int a = open_tap(argv[1]), b = open_tap(argv[2]);
	if (a < 0 || b < 0) {
		perror("tb-wan: tap");
		return 1;
	}
	srand48(1);
	struct line l[2] = { { .in = a, .out = b }, { .in = b, .out = a } };
	struct pollfd p[2] = { { .fd = a, .events = POLLIN }, { .fd = b, .events = POLLIN } };
	for (;;) {
		read_settings(argv[3]);
		int64_t t = now_ns(), next = t + 200000000LL;
		for (int i = 0; i < 2; i++) {
			int64_t d = give(&l[i], t);
			if (d >= 0 && d < next)
				next = d;
		}
		int64_t w = next - now_ns();
		struct timespec ts = { 0, w < 0 ? 0 : w };
		if (ppoll(p, 2, &ts, NULL) < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < 2; i++)
			if (p[i].revents & POLLIN)
				take(&l[i]);
	}
}
