/* SPDX-License-Identifier: MIT */
/*
 * What a deployer says to the agent while it copies, with a daemon that a thread plays. Four
 * bytes say how that daemon is, then come records: what kind, how long (two bytes), and that
 * many bytes. Some kinds are right, so that others come to places where it matters. Whatever is
 * said, the agent answers in frames, and it says OK only when all of a closure is valid.
 */
#include "agent/receive.h"
#include "agent/talk.h"
#include "base/file.h"
#include "delta/encode.h"
#include "store/path.h"
#include "wire/copy.h"
#include "wire/msg.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATHS = 4, OLDS = 3 };
enum { F_DISTRUST = 1, F_SYSTEM = 2, F_SUBSTITUTE = 4, F_MEMORY = 8, F_TOP = 16 };
enum { RAW, FRAME, BLOCK, ZSTD, CLOSURE, INFOS, WHOLE, KINDS };

static char *folder, *socket_path, *system_path;
static char *paths[PATHS], *olds[OLDS]; /* sorted both */
static struct bl_buf nars[PATHS], old_nars[OLDS];
static uint8_t hashes[PATHS][BL_SHA256_LEN];

/* ---- the daemon */

static struct {
	uint8_t flags, valid;
	uint8_t ends_at;  /* after that many requests, 0: never */
	uint8_t fails_at; /* that path is refused, 0: none */
	unsigned requests, adds;
	struct bl_strv registered;
} daemon_;
static sem_t rest;

enum { LAST = 0x616c7473, ERROR = 0x63787470 };
#define REST UINT64_C(0x74736572) /* instead of a first word: nothing is going on any more */

static bool get(int fd, void *out, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, (char *)out + at, len - at);
		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static bool get_u64(int fd, uint64_t *out)
{
	return get(fd, out, sizeof(*out));
}

static bool get_text(int fd, char **out)
{
	uint64_t len = 0;
	if (!get_u64(fd, &len))
		return false;
	assert(len < 1U << 20);
	bl_autofree char *text = bl_xcalloc(len + 8, 1);
	if (!get(fd, text, (len + 7) / 8 * 8))
		return false;
	text[len] = '\0';
	if (out)
		*out = BL_STEAL(text);
	return true;
}

static bool get_texts(int fd, struct bl_strv *out)
{
	uint64_t n = 0;
	if (!get_u64(fd, &n))
		return false;
	while (n-- > 0) {
		char *text = NULL;
		if (!get_text(fd, &text))
			return false;
		if (out)
			bl_strv_add_take(out, text);
		else
			free(text);
	}
	return true;
}

static void put_u64(struct bl_buf *b, uint64_t v)
{
	bl_buf_append(b, &v, sizeof(v));
}

static void put_text(struct bl_buf *b, const char *s, size_t len)
{
	put_u64(b, len);
	bl_buf_append(b, s, len);
	bl_buf_append(b, "\0\0\0\0\0\0\0", (8 - len % 8) % 8);
}

static void put_str(struct bl_buf *b, const char *s)
{
	put_text(b, s, strlen(s));
}

static void put_error(struct bl_buf *b)
{
	put_u64(b, ERROR);
	put_str(b, "Error");
	put_u64(b, 0);
	put_str(b, "Error");
	put_str(b, "error: it is refused");
	put_u64(b, 0);
	put_u64(b, 0);
}

static int number_of(char *const *list, int n, const char *path)
{
	for (int i = 0; i < n; i++)
		if (strcmp(list[i], path) == 0)
			return i;
	return -1;
}

static bool is_registered(const char *path)
{
	for (size_t i = 0; i < daemon_.registered.n; i++)
		if (strcmp(daemon_.registered.items[i], path) == 0)
			return true;
	return false;
}

static bool is_valid(const char *path)
{
	int i = number_of(paths, PATHS, path);
	return number_of(olds, OLDS, path) >= 0 || (i >= 0 && daemon_.valid >> i & 1) ||
	       is_registered(path);
}

static bool tell_valid(int fd, struct bl_buf *b)
{
	BL_AUTO(bl_strv) asked = { 0 };
	uint64_t n = 0;
	if (!get_texts(fd, &asked) || !get_u64(fd, &n))
		return false;
	n = 0;
	for (size_t i = 0; i < asked.n; i++)
		n += is_valid(asked.items[i]);
	put_u64(b, LAST);
	put_u64(b, n);
	for (size_t i = 0; i < asked.n; i++)
		if (is_valid(asked.items[i]))
			put_str(b, asked.items[i]);
	return true;
}

static bool tell_info(int fd, struct bl_buf *b)
{
	bl_autofree char *path = NULL;
	if (!get_text(fd, &path))
		return false;
	int at = number_of(olds, OLDS, path);
	put_u64(b, LAST);
	put_u64(b, at >= 0);
	if (at < 0)
		return true;
	put_str(b, "");
	put_str(b, "0000000000000000000000000000000000000000000000000000000000000000");
	put_u64(b, (uint64_t)at);
	for (int i = 0; i < at; i++)
		put_str(b, olds[i]);
	put_u64(b, 1);
	put_u64(b, old_nars[at].len);
	put_u64(b, 0);
	put_u64(b, 0);
	put_str(b, "");
	return true;
}

/* Registers what is whole and what it should be, as Nix does. */
static bool take_path(int fd, struct bl_buf *b)
{
	bl_autofree char *path = NULL;
	bl_autofree char *hash = NULL;
	BL_AUTO(bl_strv) refs = { 0 };
	struct bl_sha256 s;
	uint8_t sum[BL_SHA256_LEN];
	char hex[2 * BL_SHA256_LEN + 1];
	uint64_t size = 0;
	uint64_t n = 0;
	uint64_t fill = 0;
	if (!get_text(fd, &path) || !get_text(fd, NULL) || !get_text(fd, &hash) ||
	    !get_texts(fd, &refs) || !get_u64(fd, &n) || !get_u64(fd, &size) ||
	    !get_u64(fd, &n) || !get_texts(fd, NULL) || !get_text(fd, NULL) ||
	    !get_u64(fd, &n) || !get_u64(fd, &n))
		return false;
	assert(bl_store_path_ok(path) && strlen(hash) == 2L * BL_SHA256_LEN);
	bl_sha256_init(&s);
	while (get_u64(fd, &n)) {
		char bytes[65536];
		assert(n <= sizeof(bytes));
		if (n > 0 && get(fd, bytes, n)) {
			bl_sha256_update(&s, bytes, n);
			fill += n;
			continue;
		}
		bl_sha256_final(&s, sum);
		bl_hex(sum, sizeof(sum), hex);
		assert(fill <= size);
		bool good = n == 0 && fill == size && strcmp(hex, hash) == 0 &&
			    ++daemon_.adds != daemon_.fails_at;
		for (size_t i = 0; good && i < refs.n; i++)
			good = strcmp(refs.items[i], path) == 0 || is_valid(refs.items[i]);
		if (good || is_valid(path))
			put_u64(b, LAST);
		else
			put_error(b);
		if (good)
			bl_strv_add(&daemon_.registered, path);
		return true;
	}
	return false;
}

static bool take_request(int fd, struct bl_buf *b)
{
	uint64_t op = 0;
	if (!get_u64(fd, &op) || ++daemon_.requests == daemon_.ends_at)
		return false;
	switch (op) {
	case 10:
	case 11:
		if (!get_text(fd, NULL))
			return false;
		if (op == 10 && daemon_.requests % 2) {
			put_error(b);
			return true;
		}
		put_u64(b, LAST);
		put_u64(b, 1);
		return true;
	case 26:
		return tell_info(fd, b);
	case 31:
		return tell_valid(fd, b);
	default:
		assert(op == 39);
		return take_path(fd, b);
	}
}

static void serve(int fd)
{
	BL_AUTO(bl_buf) b = { 0 };
	uint64_t n = 0;
	if (!get_u64(fd, &n))
		return;
	if (n == REST) {
		sem_post(&rest);
		return;
	}
	for (int i = 0; i < 3; i++)
		if (!get_u64(fd, &n))
			return;
	put_u64(&b, 0x6478696f);
	put_u64(&b, 0x123);
	put_str(&b, "2.15.0");
	put_u64(&b, daemon_.flags & F_DISTRUST ? 2 : 1);
	put_u64(&b, LAST);
	do {
		if (bl_write_all(fd, b.data, b.len, NULL) < 0)
			return;
		bl_buf_clear(&b);
	} while (take_request(fd, &b));
}

static void *serve_all(void *arg)
{
	int fd = *(int *)arg;
	for (;;) {
		bl_autofd int one = accept(fd, NULL, NULL);
		if (one >= 0)
			serve(one);
	}
	return NULL;
}

static int connect_daemon(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	memcpy(to.sun_path, socket_path, strlen(socket_path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = connect(fd, (const struct sockaddr *)&to, sizeof(to));
	assert(rc == 0);
	return fd;
}

static void wait_for_daemon(void)
{
	const uint64_t word = REST;
	bl_autofd int fd = connect_daemon();
	ssize_t n = write(fd, &word, sizeof(word));
	assert(n == sizeof(word));
	sem_wait(&rest);
}

/* ---- what there is */

static void make_nar(const char *text, struct bl_buf *out)
{
	static const char *const words[] = { "nix-archive-1", "(", "type", "regular",
					     "contents" };
	for (size_t i = 0; i < BL_COUNT(words); i++)
		put_str(out, words[i]);
	put_str(out, text);
	put_str(out, ")");
}

static char *path_of(char c, int i)
{
	char hash[BL_STORE_HASH_LEN + 1];
	memset(hash, c + i, BL_STORE_HASH_LEN);
	hash[BL_STORE_HASH_LEN] = '\0';
	return bl_xprintf("%s/%s-part-%d", BL_STORE_DIR, hash, i);
}

/* New ones are old ones with other hashes; the last is new altogether. */
static void make_paths(void)
{
	for (int i = 0; i < PATHS; i++) {
		struct bl_sha256 s;
		paths[i] = path_of('0', i);
		bl_autofree char *text = bl_xprintf("%08d this is %s\n", i, paths[i]);
		make_nar(text, &nars[i]);
		bl_sha256_init(&s);
		bl_sha256_update(&s, nars[i].data, nars[i].len);
		bl_sha256_final(&s, hashes[i]);
	}
	for (int i = 0; i < OLDS; i++) {
		olds[i] = path_of('a', i);
		bl_autofree char *text = bl_xprintf("%08d this is %s\n", i, olds[i]);
		bl_autofree char *at = bl_xprintf("%s%s", folder, olds[i]);
		make_nar(text, &old_nars[i]);
		FILE *f = fopen(at, "we");
		assert(f);
		fputs(text, f);
		fclose(f);
	}
	system_path = olds[OLDS - 1];
}

static void clean_up(void)
{
	for (int i = 0; i < OLDS; i++) {
		bl_autofree char *at = bl_xprintf("%s%s", folder, olds[i]);
		unlink(at);
	}
	unlink(socket_path);
	static const char *const names[] = { "/nix/store", "/nix", "" };
	for (size_t i = 0; i < BL_COUNT(names); i++) {
		bl_autofree char *at = bl_xprintf("%s%s", folder, names[i]);
		rmdir(at);
	}
}

static void begin(void)
{
	static int listener;
	static pthread_t thread;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct bl_err err = { 0 };
	folder = bl_xprintf("%s/belay-fuzz.XXXXXX", bl_tmp_dir("/tmp"));
	char *made = mkdtemp(folder);
	assert(made);
	bl_autofree char *store = bl_xprintf("%s%s", folder, BL_STORE_DIR);
	int rc = bl_mkdirs(store, 0755, &err);
	assert(rc == 0);
	socket_path = bl_xprintf("%s/socket", folder);
	assert(strlen(socket_path) < sizeof(at.sun_path));
	memcpy(at.sun_path, socket_path, strlen(socket_path) + 1);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	rc = bind(listener, (const struct sockaddr *)&at, sizeof(at));
	assert(rc == 0);
	rc = listen(listener, 8);
	assert(rc == 0);
	make_paths();
	atexit(clean_up);
	signal(SIGPIPE, SIG_IGN);
	sem_init(&rest, 0, 0);
	rc = pthread_create(&thread, NULL, serve_all, &listener);
	assert(rc == 0);
}

/* ---- what the deployer says */

static int append(void *arg, const uint8_t *data, size_t len, struct bl_err *err)
{
	(void)err;
	bl_buf_append(arg, data, len);
	return 0;
}

static void encode(const void *data, size_t len, struct bl_buf *out)
{
	struct bl_err err = { 0 };
	const struct bl_delta_head h = { .kind = BL_DELTA_ZSTD, .size_bytes = len };
	const struct bl_sink sink = { append, out };
	static struct bl_encoder *e;
	if (!e)
		e = bl_encoder_new();
	int rc = bl_encoder_begin(e, &h, 1, NULL, &sink, &err);
	assert(rc == 0);
	rc = bl_encoder_feed(e, data, len, &err);
	assert(rc == 0);
	rc = bl_encoder_end(e, &err);
	assert(rc == 0);
}

static void put_block(struct bl_buf *out, uint16_t type, const void *data, size_t len)
{
	BL_AUTO(bl_buf) block = { 0 };
	bl_copy_put_number(&block, len);
	encode(data, len, &block);
	bl_frame_put(out, type, block.data, block.len);
}

static void put_closure(struct bl_buf *out)
{
	BL_AUTO(bl_buf) block = { 0 };
	for (int i = 0; i < PATHS; i++)
		bl_copy_put_path(&block, paths[i]);
	put_block(out, BL_COPY_PATHS, block.data, block.len);
}

/* Of what is missing; each refers to those before it. */
static void put_infos(struct bl_buf *out)
{
	BL_AUTO(bl_buf) block = { 0 };
	for (uint32_t i = 0; i < PATHS; i++) {
		uint32_t refs[PATHS];
		struct bl_copy_info info = { .path = i,
					     .nar_size = nars[i].len,
					     .deriver = (char[]){ "" },
					     .ca = (char[]){ "" },
					     .refs = refs,
					     .n_refs = i };
		for (uint32_t k = 0; k < i; k++)
			refs[k] = k;
		memcpy(info.nar_hash, hashes[i], BL_SHA256_LEN);
		if (!(daemon_.valid >> i & 1))
			bl_copy_put_info(&block, &info);
	}
	put_block(out, BL_COPY_INFOS, bl_buf_str(&block), block.len);
}

/* The whole NAR of a path, said to be that of info @i; some of its bytes are replaced. */
static void put_whole(struct bl_buf *out, const uint8_t *data, size_t len)
{
	unsigned i = len > 0 ? data[0] % PATHS : 0;
	unsigned path = len > 1 ? data[1] % PATHS : i;
	BL_AUTO(bl_buf) nar = { 0 };
	BL_AUTO(bl_buf) head = { 0 };
	BL_AUTO(bl_buf) content = { 0 };
	bl_buf_append(&nar, nars[path].data, nars[path].len);
	for (size_t k = 2; k + 1 < len; k += 2)
		nar.data[data[k] % nar.len] = (char)data[k + 1];
	struct bl_copy_piece p = {
		.kind = BL_DELTA_ZSTD, .first = i, .count = 1, .size_bytes = nar.len
	};
	bl_copy_put_piece(&head, &p, NULL);
	encode(nar.data, nar.len, &content);
	bl_frame_put(out, BL_COPY_PIECE, head.data, head.len);
	bl_frame_put(out, BL_COPY_DATA, content.data, content.len);
}

static void put_record(struct bl_buf *out, unsigned kind, const uint8_t *data, size_t len)
{
	static const uint16_t types[] = { BL_COPY_PATHS, BL_COPY_INFOS, BL_COPY_PAIRS,
					  BL_COPY_PIECE, BL_COPY_DATA,  BL_MSG_COPY_END,
					  BL_MSG_STATUS, BL_COPY_FAILED };
	uint16_t type = len > 0 ? types[data[0] % BL_COUNT(types)] : BL_MSG_COPY_END;
	const uint8_t *rest_ = len > 0 ? data + 1 : data;
	size_t rest_len = len > 0 ? len - 1 : 0;
	BL_AUTO(bl_buf) content = { 0 };
	switch (kind) {
	case RAW:
		bl_buf_append(out, data, len);
		break;
	case FRAME:
		bl_frame_put(out, type, rest_, rest_len);
		break;
	case BLOCK:
		put_block(out, type, rest_, rest_len);
		break;
	case ZSTD:
		encode(data, len, &content);
		bl_frame_put(out, BL_COPY_DATA, content.data, content.len);
		break;
	case CLOSURE:
		put_closure(out);
		break;
	case INFOS:
		put_infos(out);
		break;
	default:
		put_whole(out, data, len);
		break;
	}
}

static void put_records(struct bl_buf *out, const uint8_t *data, size_t size)
{
	while (size >= 3) {
		size_t len = (size_t)data[1] << 8 | data[2];
		size_t n = len < size - 3 ? len : size - 3;
		put_record(out, data[0] % KINDS, data + 3, n);
		data += 3 + n;
		size -= 3 + n;
	}
}

/* ---- what the agent answers */

/* Whether all of it are frames that it may say, and whether OK is among them. */
static bool check_answers(const char *data, size_t len)
{
	bool ok = false;
	while (len > 0) {
		struct bl_frame f;
		struct bl_err err = { 0 };
		int rc = bl_frame_take(data, len, &f, &err);
		assert(rc == 1);
		assert(f.type == BL_MSG_HAVE || f.type == BL_COPY_VALID ||
		       f.type == BL_MSG_LINE || f.type == BL_COPY_FAILED ||
		       f.type == BL_MSG_OK || f.type == BL_MSG_REFUSED);
		assert(!ok); /* nothing behind it */
		ok = f.type == BL_MSG_OK;
		data += f.used;
		len -= f.used;
	}
	return ok;
}

static void receive(struct bl_buf *said, size_t n_paths, struct bl_buf *answers)
{
	static int in = -1;
	static int out = -1;
	BL_AUTO(bl_kv) kv = { 0 };
	BL_AUTO(bl_buf) rest_of_it = { 0 };
	if (in < 0) {
		in = memfd_create("in", MFD_CLOEXEC);
		out = memfd_create("out", MFD_CLOEXEC);
		dup2(in, STDIN_FILENO);
	}
	int rc = ftruncate(in, 0) | ftruncate(out, 0);
	assert(rc == 0);
	ssize_t n = pwrite(in, bl_buf_str(said), said->len, 0);
	assert(n == (ssize_t)said->len);
	lseek(in, 0, SEEK_SET);
	lseek(out, 0, SEEK_SET);
	bl_kv_set_u64(&kv, "paths", n_paths);
	if (daemon_.flags & F_TOP)
		bl_kv_set(&kv, "top", paths[PATHS - 1]);
	bl_kv_set(&kv, "substitute", daemon_.flags & F_SUBSTITUTE ? "1" : "0");
	const struct bl_receive_spec spec = {
		.system = daemon_.flags & F_SYSTEM ? system_path : NULL,
		.root = folder,
		.socket = socket_path,
		.memory_bytes = daemon_.flags & F_MEMORY ? 300 : 1U << 20,
	};
	int stdout_ = dup(STDOUT_FILENO);
	dup2(out, STDOUT_FILENO);
	(void)bl_receive(&spec, &kv, &rest_of_it);
	dup2(stdout_, STDOUT_FILENO);
	close(stdout_);
	struct stat st;
	rc = fstat(out, &st);
	assert(rc == 0);
	bl_autofree char *text = bl_xcalloc((size_t)st.st_size + 1, 1);
	n = pread(out, text, (size_t)st.st_size, 0);
	assert(n == st.st_size);
	bl_buf_append(answers, text, (size_t)n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BL_AUTO(bl_buf) said = { 0 };
	BL_AUTO(bl_buf) answers = { 0 };
	if (size < 4)
		return 0;
	if (!folder)
		begin();
	daemon_.flags = data[0];
	daemon_.valid = data[1] & 15;
	daemon_.ends_at = data[2];
	daemon_.fails_at = data[3];
	daemon_.requests = daemon_.adds = 0;
	put_records(&said, data + 4, size - 4);
	receive(&said, data[1] >> 4 ? data[1] >> 4 : PATHS, &answers);
	wait_for_daemon();
	/* only the closure of PATHS has a list that is known here; the top stands for all */
	if (check_answers(bl_buf_str(&answers), answers.len) && size > 4 &&
	    data[4] % KINDS == CLOSURE)
		for (int i = daemon_.flags & F_TOP ? PATHS - 1 : 0; i < PATHS; i++)
			assert(is_valid(paths[i]));
	bl_strv_free(&daemon_.registered);
	return 0;
}
