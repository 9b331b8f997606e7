// SPDX-License-Identifier: MIT
/*
 * runner: carries out scenario files against the running kernel, one operation
 * a line, and prints one JSON line for each. README.md lists the operations.
 *
 *	runner FILE.scn...
 *
 * Everything printed is made relative (addresses to the scenario's own
 * mappings, frames to the first frame seen of each device), so that two runs
 * on one kernel print the same text.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/mman.h>

#include "hmmprobe/hmmprobe.h"
#include "migrprobe/migrprobe.h"

#define PG		4096ull
#define MiB		(1ull << 20)
#define GiB		(1ull << 30)
#define ARENA		0x200000000000ull
#define ARENA_END	0x300000000000ull
#define MAX_WORDS	24
#define MAX_NAMES	32
#define MAX_LINES	400
#define SCENARIO_SECONDS 120

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What a scenario has named: mappings, files, mirrors, pins, children ... */
enum kind { UNUSED, REGION, FILE_, MIRROR, PINS, CHILD, ASYNC };
struct name {
	char id[24];
	enum kind kind;
	uint64_t addr, len;		/* region, mirror */
	int fd;				/* file, child's socket */
	char path[128];
	int slot;			/* mirror, pins */
	uint64_t first_pfn;		/* pins */
	pid_t pid;
	pthread_t thread;		/* async */
	char *text, *out;
	volatile bool done;
};
static struct name names[MAX_NAMES];
static int nnames;

static const char *scenario;
static int probe_fd = -1, migr_fd = -1;
static int next_slot;
static uint64_t next_va = ARENA;
static char child_id[24];		/* who prints: empty in the main process */
static int line_no;
static char *last_vmas;

/* An operation: its words, and where its JSON members go. */
struct op {
	char *w[MAX_WORDS];
	int n;
	FILE *o;
};

/* ------------------------------------------------------------------ tools */

static void member(struct op *op, const char *fmt, ...)
{
	va_list ap;

	fputc(',', op->o);
	va_start(ap, fmt);
	vfprintf(op->o, fmt, ap);
	va_end(ap);
}

static void print_string(FILE *o, const char *s)
{
	fputc('"', o);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(o, "\\%c", *s);
		else if (*s == '\n')
			fputs("\\n", o);
		else if ((unsigned char)*s >= ' ')
			fputc(*s, o);
	}
	fputc('"', o);
}

static const char *errname(int e)
{
	const char *s = strerrorname_np(e);

	return s ? s : "E?";
}

/* Every operation reports "err", "ok" or the name of the errno. */
static void result(struct op *op, long ret)
{
	member(op, "\"err\":\"%s\"", ret < 0 ? errname(errno) : "ok");
}

static void refuse(struct op *op, const char *why, const char *what)
{
	member(op, "\"skip\":\"%s %s\"", why, what ? what : "?");
}

static uint64_t size_of(const char *s)
{
	char *e;
	uint64_t v = strtoull(s, &e, 0);

	switch (toupper((unsigned char)*e)) {
	case 'K': return v << 10;
	case 'M': return v << 20;
	case 'G': return v << 30;
	case 'P': return v * PG;
	}
	return v;
}

/* The value of key=value among the words, or the default. */
static const char *opt(struct op *op, const char *key, const char *def)
{
	size_t k = strlen(key);

	for (int i = 1; i < op->n; i++)
		if (!strncmp(op->w[i], key, k) && op->w[i][k] == '=')
			return op->w[i] + k + 1;
	return def;
}

static bool has(struct op *op, const char *word)
{
	for (int i = 1; i < op->n; i++)
		if (!strcmp(op->w[i], word))
			return true;
	return false;
}

static struct name *find(const char *id, enum kind kind)
{
	for (int i = nnames - 1; id && i >= 0; i--)
		if (names[i].kind == kind && !strcmp(names[i].id, id))
			return &names[i];
	return NULL;
}

static struct name *add(const char *id, enum kind kind)
{
	struct name *n = find(id, kind);

	for (int i = 0; !n && i < nnames; i++)
		if (names[i].kind == UNUSED)
			n = &names[i];
	if (!n && nnames < MAX_NAMES)
		n = &names[nnames++];
	if (!n) {
		fprintf(stderr, "%s: too many names\n", scenario);
		exit(2);
	}
	memset(n, 0, sizeof(*n));
	snprintf(n->id, sizeof(n->id), "%s", id);
	n->kind = kind;
	n->fd = -1;
	return n;
}

/* Nothing moves: a thread of "async" holds on to its own entry. */
static void forget(struct name *n)
{
	n->kind = UNUSED;
}

/* "name", "name+offset", "[vvar]" or a number. */
static bool address(const char *s, uint64_t *out)
{
	char id[64], *plus;
	struct name *n;
	uint64_t off = 0;

	snprintf(id, sizeof(id), "%s", s);
	plus = strchr(id, '+');
	if (plus) {
		*plus = 0;
		off = size_of(plus + 1);
	}
	if (isdigit((unsigned char)id[0])) {
		*out = size_of(id) + off;
		return true;
	}
	n = find(id, REGION);
	if (n) {
		*out = n->addr + off;
		return true;
	}
	if (id[0] == '[') {
		FILE *f = fopen("/proc/self/maps", "r");
		char line[256];
		bool ok = false;

		while (f && !ok && fgets(line, sizeof(line), f))
			if (strstr(line, id)) {
				*out = strtoull(line, NULL, 16) + off;
				ok = true;
			}
		if (f)
			fclose(f);
		return ok;
	}
	return false;
}

/* The address and length in words i and i + 1. */
static bool range(struct op *op, int i, uint64_t *addr, uint64_t *len)
{
	if (op->n < i + 2 || !address(op->w[i], addr)) {
		refuse(op, "no address", op->n > i ? op->w[i] : NULL);
		return false;
	}
	*len = size_of(op->w[i + 1]);
	return true;
}

/* addr as the nearest region below it sees it: "a+0x1000". */
static const char *relative(uint64_t addr, char *buf, size_t size)
{
	struct name *best = NULL;

	for (int i = 0; i < nnames; i++)
		if (names[i].kind == REGION && names[i].addr <= addr &&
		    (!best || names[i].addr > best->addr))
			best = &names[i];
	if (!best || addr >= ARENA_END)
		snprintf(buf, size, "outside");
	else
		snprintf(buf, size, "%s+0x%llx", best->id,
			 (unsigned long long)(addr - best->addr));
	return buf;
}

static int probe(void)
{
	if (probe_fd < 0)
		probe_fd = open("/dev/hmmprobe", O_RDWR | O_CLOEXEC);
	return probe_fd;
}

static int migr(void)
{
	if (migr_fd < 0)
		migr_fd = open("/dev/migrprobe", O_RDWR | O_CLOEXEC);
	return migr_fd;
}

/* owner=D: the question is device D's own. */
static uint32_t owner(struct op *op)
{
	const char *d = opt(op, "owner", NULL);

	return d ? MP_OWNER(strtoul(d, NULL, 0)) : 0;
}

/* ------------------------------------------------------- frames, normalised */

/* The pmem ranges boot.sh laid out, and the first frame seen of each. */
static struct { char label[16]; unsigned long start, end; uint64_t base; } pmem[12];
static int npmem;

static void read_pmem(void)
{
	FILE *f = fopen("/oracle/pmem", "r");
	char line[128];

	while (f && npmem < (int)COUNT(pmem) && fgets(line, sizeof(line), f))
		if (sscanf(line, "%15s %lu %lu", pmem[npmem].label, &pmem[npmem].start,
			   &pmem[npmem].end) == 3)
			npmem++;
	if (f)
		fclose(f);
	/* Device memory, where there is any, is told apart in the same way. */
	for (uint32_t d = 0; d < MP_DEVICES && npmem < (int)COUNT(pmem); d++) {
		struct mp_info q = { .dev = d };

		if (migr() < 0 || ioctl(migr_fd, MP_INFO, &q) < 0 || !q.npages)
			break;
		snprintf(pmem[npmem].label, sizeof(pmem[npmem].label), "dev%u", d);
		pmem[npmem].start = q.start_pfn * PG;
		pmem[npmem].end = (q.start_pfn + q.npages) * PG;
		npmem++;
	}
}

static int pmem_of(uint64_t phys)
{
	for (int i = 0; i < npmem; i++)
		if (phys >= pmem[i].start && phys < pmem[i].end)
			return i;
	return -1;
}

/* phys relative to the first one seen of its device. */
static void print_at(FILE *o, int dev, uint64_t phys)
{
	if (!pmem[dev].base)
		pmem[dev].base = phys;
	if (phys >= pmem[dev].base)
		fprintf(o, "\"at\":\"+0x%llx\"",
			(unsigned long long)(phys - pmem[dev].base));
	else
		fprintf(o, "\"at\":\"-0x%llx\"",
			(unsigned long long)(pmem[dev].base - phys));
}

/* What kind of memory a frame is: a pmem label, or what kpageflags says. */
static const char *frame_kind(uint64_t pfn)
{
	static int fd = -1;
	uint64_t flags = 0;
	int dev = pmem_of(pfn * PG);

	if (dev >= 0)
		return pmem[dev].label;
	if (fd < 0)
		fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &flags, 8, pfn * 8) != 8)
		return "unknown";
	if (flags & 1ull << 20)
		return "nopage";
	if (flags & 1ull << 24)
		return "zero";
	if (flags & 1ull << 17)
		return "hugetlb";
	if (flags & 1ull << 12)
		return "anon";
	return "ram";
}

static const char *size_name(uint64_t align)
{
	return align >= GiB ? "1G" : align >= 2 * MiB ? "2M" : "4K";
}

/*
 * The answer as runs. A run of device frames is contiguous; RAM frames, which
 * the allocator scatters, are told apart by flags, order and kind only, with
 * "cong" the largest of 4K, 2M, 1G at which frame and address are congruent
 * throughout.
 */
static void print_runs(struct op *op, const struct hp_pfn *p, uint64_t n, uint64_t va)
{
	uint64_t i, j;

	member(op, "\"pfns\":[");
	for (i = 0; i < n; i = j) {
		/* A walk that failed leaves the request it was given: no frame yet. */
		bool left = p[i].flags & HP_VALID && !p[i].pfn;
		bool valid = p[i].flags & HP_VALID && !left;
		const char *kind = valid ? frame_kind(p[i].pfn) : NULL;
		int dev = valid ? pmem_of(p[i].pfn * PG) : -1;
		uint64_t cong = dev < 0 || !strncmp(kind, "dax", 3) ? GiB : 2 * MiB;

		for (j = i; j < n; j++) {
			uint64_t diff = (p[j].pfn * PG) ^ (va + j * PG);

			if (p[j].flags != p[i].flags || p[j].order != p[i].order)
				break;
			if (!valid)
				continue;
			if (dev >= 0 ? p[j].pfn != p[i].pfn + (j - i) :
			    p[j].pfn >> p[j].order != p[i].pfn >> p[i].order &&
			    strcmp(kind, frame_kind(p[j].pfn)))
				break;
			while (diff & (cong - 1))
				cong = cong == GiB ? 2 * MiB : PG;
		}
		if (!p[i].order && (dev < 0 || !strncmp(kind, "dev", 3)))
			cong = PG;
		fprintf(op->o, "%s{\"n\":%llu,\"f\":\"%s%s%s%s\"", i ? "," : "",
			(unsigned long long)(j - i), left ? "in:f" : valid ? "V" : "",
			p[i].flags & HP_WRITE ? left ? "w" : "W" : "",
			p[i].flags & HP_ERROR ? "E" : "", p[i].flags ? "" : "-");
		if (!valid && p[j - 1].pfn) {	/* frame bits without VALID */
			uint64_t index = (va / PG + j - 1) & ((1ull << p[i].order) - 1);

			fprintf(op->o, ",\"junk\":\"%s\"", p[j - 1].pfn == index ? "index" : "other");
		}
		if (p[i].order)
			fprintf(op->o, ",\"o\":%d", p[i].order);
		if (valid) {
			fprintf(op->o, ",\"k\":\"%s\",\"cong\":\"%s\"", kind, size_name(cong));
			if (dev >= 0) {
				fputc(',', op->o);
				print_at(op->o, dev, p[i].pfn * PG);
			}
		}
		fputc('}', op->o);
	}
	fputc(']', op->o);
}

static void print_bytes(struct op *op, const uint8_t *b, uint64_t n)
{
	uint64_t i, j;
	int runs = 0;

	member(op, "\"bytes\":[");
	for (i = 0; i < n && runs < 16; i = j, runs++) {
		for (j = i; j < n && b[j] == b[i]; j++)
			;
		fprintf(op->o, "%s[%llu,%d]", i ? "," : "", (unsigned long long)(j - i), b[i]);
	}
	fputs(i < n ? ",\"...\"]" : "]", op->o);
}

/* ------------------------------------------------------------ HMM questions */

static uint32_t req_bits(const char *s)
{
	return (strchr(s, 'f') ? HP_REQ_FAULT : 0) | (strchr(s, 'w') ? HP_REQ_WRITE : 0);
}

/* "3:f,8-15:fw" into the per page input. */
static void page_requests(const char *s, struct hp_pfn *p, uint64_t n)
{
	while (*s) {
		char *e;
		uint64_t a = strtoull(s, &e, 0), b = a;

		if (*e == '-')
			b = strtoull(e + 1, &e, 0);
		for (; a <= b && a < n; a++)
			p[a].flags = *e == ':' ? req_bits((char[3]){ e[1], e[1] ? e[2] : 0, 0 }) : 0;
		s = strchr(e, ',');
		if (!s)
			break;
		s++;
	}
}

static void ask_hmm(struct op *op, uint32_t def, uint32_t mask, const char *pages)
{
	uint64_t addr, len;
	struct hp_hmm q = { .default_flags = def, .pfn_flags_mask = mask, .owner = owner(op) };
	struct hp_pfn *p;

	if (!range(op, 1, &addr, &len))
		return;
	p = calloc(len / PG + 1, sizeof(*p));
	page_requests(pages, p, len / PG);
	q.start = addr;
	q.end = addr + len;
	q.pfns = (uintptr_t)p;
	if (ioctl(probe(), HP_HMM, &q) < 0) {
		member(op, "\"ioctl\":\"%s\"", errname(errno));
	} else {
		member(op, "\"err\":\"%s\"", q.err ? errname(-q.err) : "ok");
		if (q.busy && q.err != -EBUSY)
			member(op, "\"busy\":true");
		print_runs(op, p, len / PG, addr);
	}
	free(p);
}

static void op_snap(struct op *op)
{
	ask_hmm(op, 0, 0, "");
}

static void op_fault(struct op *op)
{
	ask_hmm(op, HP_REQ_FAULT | (has(op, "w") ? HP_REQ_WRITE : 0), 0, "");
}

/* hmm ADDR LEN def=fw mask=fw req=0:f,2-3:fw */
static void op_hmm(struct op *op)
{
	ask_hmm(op, req_bits(opt(op, "def", "")), req_bits(opt(op, "mask", "")),
		opt(op, "req", ""));
}

static void op_mirror(struct op *op)
{
	uint64_t addr, len;
	struct hp_mirror q = { .id = next_slot };
	struct name *n;
	int r;

	if (!range(op, 2, &addr, &len))
		return;
	q.start = addr;
	q.end = addr + len;
	r = ioctl(probe(), HP_MIRROR, &q);
	result(op, r);
	if (r < 0)
		return;
	n = add(op->w[1], MIRROR);
	n->addr = addr;
	n->len = len;
	n->slot = next_slot++;
}

static void print_offset(FILE *o, const char *key, uint64_t at, uint64_t from)
{
	if (at == UINT64_MAX || !at)
		fprintf(o, "\"%s\":\"%s\"", key, at ? "max" : "0");
	else
		fprintf(o, "\"%s\":\"%s0x%llx\"", key, at < from ? "-" : "+",
			(unsigned long long)(at < from ? from - at : at - from));
}

static void op_events(struct op *op)
{
	static const char *const type[] = {
		"UNMAP", "CLEAR", "PROTECTION_VMA", "PROTECTION_PAGE",
		"SOFT_DIRTY", "RELEASE", "MIGRATE", "EXCLUSIVE",
	};
	struct name *n = find(op->w[1], MIRROR);
	struct hp_event *e = calloc(HP_MAX_EVENTS, sizeof(*e));
	struct hp_events q = { .buf = (uintptr_t)e };

	if (!n) {
		refuse(op, "no mirror", op->w[1]);
		goto out;
	}
	q.id = n->slot;
	if (ioctl(probe(), HP_EVENTS, &q) < 0) {
		result(op, -1);
		goto out;
	}
	/* Equal neighbours in a row, as page by page work makes, print as one. */
	member(op, "\"events\":[");
	for (uint32_t i = 0, j; i < q.n; i = j) {
		uint64_t each = e[i].end - e[i].start;

		for (j = i + 1; j < q.n && e[j].type == e[i].type &&
		     e[j].blockable == e[i].blockable && e[j].owner == e[i].owner &&
		     e[j].start == e[j - 1].end && e[j].end - e[j].start == each; j++)
			;
		fprintf(op->o, "%s{\"seq\":%llu,\"type\":\"%s\",", i ? "," : "",
			(unsigned long long)e[i].seq,
			e[i].type < COUNT(type) ? type[e[i].type] : "?");
		print_offset(op->o, "start", e[i].start, n->addr);
		fputc(',', op->o);
		print_offset(op->o, "end", e[j - 1].end, n->addr);
		if (j - i > 1)
			fprintf(op->o, ",\"n\":%u,\"each\":\"0x%llx\"", j - i,
				(unsigned long long)each);
		fprintf(op->o, ",\"block\":%s%s}", e[i].blockable ? "true" : "false",
			e[i].owner == HP_SOMEONE ? ",\"owner\":true" :
			e[i].owner ? e[i].owner == MP_OWNER(0) ? ",\"owner\":0" : ",\"owner\":1" : "");
	}
	fputc(']', op->o);
	if (q.lost)
		member(op, "\"lost\":%u", q.lost);
	member(op, "\"stale\":%s", q.stale ? "true" : "false");
out:
	free(e);
}

static void op_unmirror(struct op *op)
{
	struct name *n = find(op->w[1], MIRROR);
	struct hp_mirror q = { .id = n ? n->slot : HP_MAX_IDS };

	result(op, ioctl(probe(), HP_UNMIRROR, &q));
	if (n)
		forget(n);
}

static void device_copy(struct op *op, bool write)
{
	uint64_t addr, len;
	struct hp_rw q = { .write = write, .owner = owner(op) };
	uint8_t *b;

	if (!range(op, 1, &addr, &len))
		return;
	b = malloc(len);
	memset(b, write && op->n > 3 ? strtol(op->w[3], NULL, 0) : 0, len);
	q.start = addr;
	q.len = len;
	q.buf = (uintptr_t)b;
	if (ioctl(probe(), HP_RW, &q) < 0) {
		member(op, "\"ioctl\":\"%s\"", errname(errno));
	} else {
		member(op, "\"err\":\"%s\",\"done\":%llu", q.err ? errname(-q.err) : "ok",
		       (unsigned long long)q.done);
		if (!write && q.done)
			print_bytes(op, b, q.done);
	}
	free(b);
}

static void op_dread(struct op *op)
{
	device_copy(op, false);
}

static void op_dwrite(struct op *op)
{
	device_copy(op, true);
}

static void print_page(struct op *op, uint64_t pfn)
{
	static const char *const bit[] = {
		"valid", "device", "fsdax", "poison", "compound", "pinned", "zero", "mapping",
		"private",
	};
	struct hp_page q = { .pfn = pfn };
	bool first = true;

	if (ioctl(probe(), HP_PAGE, &q) < 0) {
		result(op, -1);
		return;
	}
	member(op, "\"page\":[");
	for (unsigned int i = 0; i < COUNT(bit); i++)
		if (q.flags & 1u << i) {
			fprintf(op->o, "%s\"%s\"", first ? "" : ",", bit[i]);
			first = false;
		}
	fputc(']', op->o);
	/* The zero page is everyone's: its counts say nothing of this scenario. */
	if (q.flags & HP_PG_VALID && !(q.flags & HP_PG_ZERO))
		member(op, "\"refs\":%d,\"maps\":%d", q.refs, q.maps);
}

/* page ADDR: the struct page now mapped there. page PINS: the first pinned. */
static void op_page(struct op *op)
{
	struct name *pins = find(op->w[1], PINS);
	struct hp_pfn p = { };
	struct hp_hmm q = { .pfns = (uintptr_t)&p, .owner = owner(op) };
	uint64_t addr;

	if (pins) {
		print_page(op, pins->first_pfn);
		return;
	}
	if (!address(op->w[1], &addr)) {
		refuse(op, "no address", op->w[1]);
		return;
	}
	q.start = addr & ~(PG - 1);
	q.end = q.start + PG;
	if (ioctl(probe(), HP_HMM, &q) < 0 || q.err || !(p.flags & HP_VALID))
		member(op, "\"page\":null");
	else
		print_page(op, p.pfn);
}

/* pin ID ADDR PAGES [w] [longterm] */
static void op_pin(struct op *op)
{
	uint64_t addr, *pfn;
	uint32_t pages = op->n > 3 ? size_of(op->w[3]) : 0;
	struct hp_pin q = { .id = next_slot, .npages = pages };
	struct hp_pfn *p;
	struct name *n;

	if (op->n < 4 || !address(op->w[2], &addr)) {
		refuse(op, "no address", op->n > 2 ? op->w[2] : NULL);
		return;
	}
	pfn = calloc(pages + 1, sizeof(*pfn));
	p = calloc(pages + 1, sizeof(*p));
	q.start = addr;
	q.pfns = (uintptr_t)pfn;
	q.flags = (has(op, "w") ? HP_PIN_WRITE : 0) | (has(op, "longterm") ? HP_PIN_LONGTERM : 0);
	if (ioctl(probe(), HP_PIN, &q) < 0) {
		member(op, "\"ioctl\":\"%s\"", errname(errno));
	} else {
		member(op, "\"err\":\"%s\",\"pinned\":%d",
		       q.ret < 0 ? errname(-q.ret) : "ok", q.ret < 0 ? 0 : q.ret);
		if (q.ret > 0) {
			for (int i = 0; i < q.ret; i++)
				p[i] = (struct hp_pfn){ .pfn = pfn[i], .flags = HP_VALID };
			print_runs(op, p, q.ret, addr);
			n = add(op->w[1], PINS);
			n->slot = next_slot++;
			n->first_pfn = pfn[0];
		}
	}
	free(p);
	free(pfn);
}

static void op_unpin(struct op *op)
{
	struct name *n = find(op->w[1], PINS);
	struct hp_pin q = { .id = n ? n->slot : HP_MAX_IDS };

	result(op, ioctl(probe(), HP_UNPIN, &q));
	if (n)
		forget(n);
}

/* ------------------------------------------------------------ device memory */

/* todev|tosys D ADDR LEN [sel=system+private] [hold=MS] [whole] [nodst] */
static void op_move(struct op *op)
{
	bool back = !strcmp(op->w[0], "tosys");
	const char *sel = opt(op, "sel", back ? "private" : "system");
	struct mp_move q = { .dev = strtoul(op->w[1], NULL, 0) };
	uint64_t addr, len, i, j;
	uint8_t *p;

	if (!range(op, 2, &addr, &len))
		return;
	p = calloc(len / PG + 1, 1);
	q.start = addr;
	q.len = len;
	q.pages = (uintptr_t)p;
	q.hold_ms = strtoul(opt(op, "hold", "0"), NULL, 0);
	q.flags = (back ? MP_TO_SYSTEM : 0) | (strstr(sel, "system") ? MP_SEL_SYSTEM : 0) |
		  (strstr(sel, "private") ? MP_SEL_PRIVATE : 0) |
		  (strstr(sel, "coherent") ? MP_SEL_COHERENT : 0) |
		  (has(op, "whole") ? MP_WHOLE : 0) | (has(op, "nodst") ? MP_NO_DST : 0);
	if (ioctl(migr(), MP_MOVE, &q) < 0) {
		member(op, "\"ioctl\":\"%s\"", errname(errno));
		goto out;
	}
	member(op, "\"err\":\"%s\",\"cpages\":%u", q.err ? errname(-q.err) : "ok", q.cpages);
	if (q.steps > 1)
		member(op, "\"steps\":%u", q.steps);
	member(op, "\"pages\":[");
	for (i = 0; i < len / PG; i = j) {
		for (j = i; j < len / PG && p[j] == p[i]; j++)
			;
		fprintf(op->o, "%s{\"n\":%llu,\"src\":\"%s%s%s%s\",\"moved\":%s}", i ? "," : "",
			(unsigned long long)(j - i), p[i] & MP_PAGE ? "P" : "",
			p[i] & MP_MIGRATE ? "M" : "", p[i] & MP_WRITE ? "W" : "",
			p[i] & (MP_PAGE | MP_MIGRATE | MP_WRITE) ? "" : "-",
			p[i] & MP_MOVED ? "true" : "false");
	}
	fputc(']', op->o);
out:
	free(p);
}

/* excl D ADDR LEN [BYTE]: device exclusive access, writing BYTE while it lasts */
static void op_excl(struct op *op)
{
	struct mp_excl q = { .dev = strtoul(op->w[1], NULL, 0), .byte = -1 };
	uint64_t addr, len, i, j;
	uint8_t *p;

	if (!range(op, 2, &addr, &len))
		return;
	p = calloc(len / PG + 1, 1);
	q.start = addr;
	q.len = len;
	q.pages = (uintptr_t)p;
	if (op->n > 4)
		q.byte = strtol(op->w[4], NULL, 0);
	if (ioctl(migr(), MP_EXCL, &q) < 0) {
		member(op, "\"ioctl\":\"%s\"", errname(errno));
		goto out;
	}
	member(op, "\"err\":\"%s\",\"done\":%d,\"granted\":[",
	       q.ret < 0 ? errname(-q.ret) : "ok", q.ret < 0 ? 0 : q.ret);
	for (i = 0; i < len / PG; i = j) {
		for (j = i; j < len / PG && p[j] == p[i]; j++)
			;
		fprintf(op->o, "%s[%llu,%s]", i ? "," : "", (unsigned long long)(j - i),
			p[i] ? "true" : "false");
	}
	fputc(']', op->o);
out:
	free(p);
}

/* devinfo D: pages in use, CPU faults since last asked. evict D, devdown D, devup D */
static void op_device(struct op *op)
{
	const char *w = op->w[0];
	struct mp_info q = { .dev = strtoul(op->w[1], NULL, 0) };
	int r = ioctl(migr(), !strcmp(w, "evict") ? MP_EVICT : !strcmp(w, "devdown") ? MP_DOWN :
		      !strcmp(w, "devup") ? MP_UP : MP_INFO, &q);

	result(op, r);
	if (r < 0)
		return;
	if (!strcmp(w, "evict"))
		member(op, "\"moved\":%u", q.moved);
	if (!strcmp(w, "devinfo"))
		member(op, "\"used\":%u,\"faults\":%u", q.used, q.faults);
}

/* ----------------------------------------------------------------- mappings */

static int prot_bits(const char *s)
{
	return (strchr(s, 'r') ? PROT_READ : 0) | (strchr(s, 'w') ? PROT_WRITE : 0) |
	       (strchr(s, 'x') ? PROT_EXEC : 0);
}

/* A fresh place of len bytes, aligned as asked (1G unless told), plus skew. */
static uint64_t place(struct op *op, uint64_t len)
{
	uint64_t align = size_of(opt(op, "align", "1G"));
	uint64_t at = (next_va + align - 1) / align * align;

	at += size_of(opt(op, "skew", "0"));
	next_va = (at + len + 2 * GiB) / GiB * GiB;
	return at;
}

/* map ID LEN anon|FILE [off=] [prot=rw] [private|shared|sync|validate] ... */
static void op_map(struct op *op)
{
	static const struct { const char *word; int flag; } flag[] = {
		{ "private", MAP_PRIVATE }, { "shared", MAP_SHARED },
		{ "validate", MAP_SHARED_VALIDATE }, { "sync", MAP_SHARED_VALIDATE | MAP_SYNC },
		{ "populate", MAP_POPULATE }, { "noreserve", MAP_NORESERVE },
		{ "locked", MAP_LOCKED },
		{ "huge2m", MAP_HUGETLB | MAP_HUGE_2MB }, { "huge1g", MAP_HUGETLB | MAP_HUGE_1GB },
	};
	const char *at = opt(op, "at", NULL);
	uint64_t addr, len;
	struct name *f = NULL, *n;
	int flags = 0;
	void *r;

	if (op->n < 4) {
		refuse(op, "usage", "map");
		return;
	}
	len = size_of(op->w[2]);
	if (strcmp(op->w[3], "anon")) {
		f = find(op->w[3], FILE_);
		if (!f) {
			refuse(op, "no file", op->w[3]);
			return;
		}
	} else {
		flags |= MAP_ANONYMOUS;
	}
	for (unsigned int i = 0; i < COUNT(flag); i++)
		if (has(op, flag[i].word))
			flags |= flag[i].flag;
	if (!(flags & MAP_TYPE))
		flags |= f ? MAP_SHARED : MAP_PRIVATE;
	if (at) {
		if (!address(at, &addr)) {
			refuse(op, "no address", at);
			return;
		}
		flags |= MAP_FIXED;
	} else {
		/* MAP_SHARED_VALIDATE refuses MAP_FIXED_NOREPLACE; the arena is ours. */
		addr = place(op, len);
		flags |= MAP_FIXED;
	}
	r = mmap((void *)addr, len, prot_bits(opt(op, "prot", "rw")), flags,
		 f ? f->fd : -1, size_of(opt(op, "off", "0")));
	result(op, r == MAP_FAILED ? -1 : 0);
	if (r == MAP_FAILED)
		return;
	n = add(op->w[1], REGION);
	n->addr = addr;
	n->len = len;
}

/* hole ID LEN [align=] [skew=]: a name for an address range with nothing in it */
static void op_hole(struct op *op)
{
	uint64_t len = size_of(op->w[2]), at = place(op, len);
	struct name *n = add(op->w[1], REGION);

	n->addr = at;
	n->len = len;
	result(op, 0);
}

static void op_unmap(struct op *op)
{
	uint64_t addr, len;

	if (range(op, 1, &addr, &len))
		result(op, munmap((void *)addr, len));
}

static void op_protect(struct op *op)
{
	uint64_t addr, len;

	if (range(op, 1, &addr, &len))
		result(op, mprotect((void *)addr, len, op->n > 3 ? prot_bits(op->w[3]) : 0));
}

/* remap NEW ADDR OLDLEN NEWLEN [dontunmap] [inplace] [align=] [skew=] */
static void op_remap(struct op *op)
{
	uint64_t addr, len, newlen, to;
	struct name *n;
	void *r;

	if (op->n < 5 || !range(op, 2, &addr, &len))
		return;
	newlen = size_of(op->w[4]);
	if (has(op, "inplace")) {
		r = mremap((void *)addr, len, newlen, 0);
		to = addr;
	} else {
		to = place(op, newlen);
		r = mremap((void *)addr, len, newlen, MREMAP_MAYMOVE | MREMAP_FIXED |
			   (has(op, "dontunmap") ? MREMAP_DONTUNMAP : 0), (void *)to);
	}
	result(op, r == MAP_FAILED ? -1 : 0);
	if (r == MAP_FAILED || find(op->w[1], REGION))
		return;
	n = add(op->w[1], REGION);
	n->addr = to;
	n->len = newlen;
}

static void op_advise(struct op *op)
{
	static const struct { const char *word; int advice; } known[] = {
		{ "normal", MADV_NORMAL }, { "willneed", MADV_WILLNEED },
		{ "dontneed", MADV_DONTNEED }, { "free", MADV_FREE },
		{ "remove", MADV_REMOVE }, { "dontfork", MADV_DONTFORK },
		{ "dofork", MADV_DOFORK }, { "wipeonfork", MADV_WIPEONFORK },
		{ "hugepage", MADV_HUGEPAGE }, { "nohugepage", MADV_NOHUGEPAGE },
		{ "cold", MADV_COLD }, { "pageout", MADV_PAGEOUT },
		{ "populate_read", MADV_POPULATE_READ }, { "populate_write", MADV_POPULATE_WRITE },
		{ "hwpoison", MADV_HWPOISON }, { "softoffline", 101 },
		{ "mergeable", MADV_MERGEABLE }, { "collapse", 25 },
	};
	uint64_t addr, len;

	if (!range(op, 1, &addr, &len))
		return;
	for (unsigned int i = 0; i < COUNT(known) && op->n > 3; i++)
		if (!strcmp(known[i].word, op->w[3])) {
			result(op, madvise((void *)addr, len, known[i].advice));
			return;
		}
	refuse(op, "no advice", op->n > 3 ? op->w[3] : NULL);
}

static void op_msync(struct op *op)
{
	uint64_t addr, len;

	if (range(op, 1, &addr, &len))
		result(op, msync((void *)addr, len, has(op, "async") ? MS_ASYNC :
				 has(op, "inval") ? MS_INVALIDATE : MS_SYNC));
}

/* mlock and munlock */
static void op_mlock(struct op *op)
{
	uint64_t addr, len;

	if (range(op, 1, &addr, &len))
		result(op, op->w[0][1] == 'u' ? munlock((void *)addr, len) :
			   mlock((void *)addr, len));
}

/* ---------------------------------------------------- the CPU's own accesses */

static __thread sigjmp_buf on_fault;
static __thread volatile bool guarded;
static __thread volatile int fault_sig, fault_code;
static __thread volatile uint64_t fault_addr;
static __thread volatile int fault_lsb;

/* A SIGBUS for poison comes to a process that touched nothing: noted, no more. */
static volatile struct { int code, lsb; uint64_t addr; } notices[16];
static volatile int nnotices;

static void catch(int sig, siginfo_t *si, void *ctx)
{
	(void)ctx;
	if (!guarded && nnotices < (int)COUNT(notices) &&
	    (si->si_code == BUS_MCEERR_AR || si->si_code == BUS_MCEERR_AO)) {
		notices[nnotices].code = si->si_code;
		notices[nnotices].lsb = si->si_addr_lsb;
		notices[nnotices].addr = (uintptr_t)si->si_addr;
		nnotices++;
		return;
	}
	if (!guarded) {
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	fault_sig = sig;
	fault_code = si->si_code;
	fault_addr = (uintptr_t)si->si_addr;
	fault_lsb = si->si_code == BUS_MCEERR_AR || si->si_code == BUS_MCEERR_AO ?
		    si->si_addr_lsb : 0;
	siglongjmp(on_fault, 1);
}

static void print_fault(struct op *op)
{
	static const char *const bus[] = { "?", "ADRALN", "ADRERR", "OBJERR", "MCEERR_AR", "MCEERR_AO" };
	static const char *const segv[] = { "?", "MAPERR", "ACCERR", "BNDERR", "PKUERR" };
	int c = fault_code;
	char buf[64];

	member(op, "\"err\":\"%s\",\"code\":\"%s\",\"addr\":\"%s\"",
	       fault_sig == SIGBUS ? "SIGBUS" : "SIGSEGV",
	       fault_sig == SIGBUS ? (c > 0 && c < 6 ? bus[c] : "?") :
	       (c > 0 && c < 5 ? segv[c] : "?"), relative(fault_addr, buf, sizeof(buf)));
	if (fault_lsb)
		member(op, "\"lsb\":%d", fault_lsb);
}

static void print_notices(struct op *op)
{
	char buf[64];

	if (!nnotices)
		return;
	member(op, "\"signals\":[");
	for (int i = 0; i < nnotices; i++)
		fprintf(op->o, "%s{\"sig\":\"SIGBUS\",\"code\":\"%s\",\"addr\":\"%s\",\"lsb\":%d}",
			i ? "," : "", notices[i].code == BUS_MCEERR_AR ? "MCEERR_AR" : "MCEERR_AO",
			relative(notices[i].addr, buf, sizeof(buf)), notices[i].lsb);
	fputc(']', op->o);
	nnotices = 0;
}

/* touch ADDR r|w [n=1] [step=4K] [byte=1] */
static void op_touch(struct op *op)
{
	uint64_t addr, step = size_of(opt(op, "step", "4K")), n = size_of(opt(op, "n", "1"));
	volatile uint8_t sum = 0;
	volatile uint64_t i = 0;
	int byte = strtol(opt(op, "byte", "1"), NULL, 0);

	if (op->n < 2 || !address(op->w[1], &addr)) {
		refuse(op, "no address", op->w[1]);
		return;
	}
	guarded = true;
	if (!sigsetjmp(on_fault, 1)) {
		for (i = 0; i < n; i++) {
			volatile uint8_t *p = (uint8_t *)(addr + i * step);

			if (has(op, "w"))
				*p = byte;
			else
				sum |= *p;
		}
		member(op, "\"err\":\"ok\"");
		if (!has(op, "w"))
			member(op, "\"or\":%d", sum);
	} else {
		print_fault(op);
		if (i)
			member(op, "\"after\":%llu", (unsigned long long)i);
	}
	guarded = false;
}

/* peek ADDR LEN: what the CPU reads. poke ADDR LEN BYTE: what it writes. */
static void op_peek(struct op *op)
{
	uint64_t addr, len;
	uint8_t *b;

	if (!range(op, 1, &addr, &len))
		return;
	b = malloc(len);
	guarded = true;
	if (!sigsetjmp(on_fault, 1)) {
		if (!strcmp(op->w[0], "poke")) {
			memset((void *)addr, op->n > 3 ? strtol(op->w[3], NULL, 0) : 1, len);
			member(op, "\"err\":\"ok\"");
		} else {
			memcpy(b, (void *)addr, len);
			member(op, "\"err\":\"ok\"");
			print_bytes(op, b, len);
		}
	} else {
		print_fault(op);
	}
	guarded = false;
	free(b);
}

/* -------------------------------------------------------------------- files */

/* "ext4:f" is f on the file system mounted at /mnt/ext4, "dev:x" is a device. */
static void path_of(const char *s, char *buf, size_t size)
{
	const char *colon = strchr(s, ':');

	if (!colon)
		snprintf(buf, size, "%s", s);
	else if (!strncmp(s, "dev:", 4)) {
		snprintf(buf, size, "/oracle/dev/%s", colon + 1);
		if (access(buf, F_OK))
			snprintf(buf, size, "/dev/%s", colon + 1);
	} else
		snprintf(buf, size, "/mnt/%.*s/%s", (int)(colon - s), s, colon + 1);
}

static void op_open(struct op *op)
{
	char path[128];
	struct name *n;
	int fd;

	path_of(op->w[2], path, sizeof(path));
	fd = open(path, (has(op, "ro") ? O_RDONLY : O_RDWR) | O_CLOEXEC |
		  (strncmp(op->w[2], "dev:", 4) && !has(op, "ro") ? O_CREAT : 0) |
		  (has(op, "trunc") ? O_TRUNC : 0) | (has(op, "direct") ? O_DIRECT : 0), 0600);
	result(op, fd);
	if (fd < 0)
		return;
	n = add(op->w[1], FILE_);
	n->fd = fd;
	snprintf(n->path, sizeof(n->path), "%s", path);
}

static void op_memfd(struct op *op)
{
	struct name *n;
	int fd = memfd_create(op->w[1], has(op, "huge2m") ? MFD_HUGETLB | MFD_HUGE_2MB :
			      has(op, "huge1g") ? MFD_HUGETLB | MFD_HUGE_1GB : 0);

	result(op, fd);
	if (fd < 0)
		return;
	n = add(op->w[1], FILE_);
	n->fd = fd;
}

static struct name *file_of(struct op *op, int i)
{
	struct name *f = op->n > i ? find(op->w[i], FILE_) : NULL;

	if (!f)
		refuse(op, "no file", op->n > i ? op->w[i] : NULL);
	return f;
}

static void op_close(struct op *op)
{
	struct name *f = file_of(op, 1);

	if (!f)
		return;
	result(op, close(f->fd));
	forget(f);
}

static void op_unlink(struct op *op)
{
	struct name *f = file_of(op, 1);

	if (f)
		result(op, unlink(f->path));
}

static void op_truncate(struct op *op)
{
	struct name *f = file_of(op, 1);

	if (f)
		result(op, ftruncate(f->fd, size_of(op->w[2])));
}

/* falloc FILE alloc|keep|punch|zero|collapse|insert|unshare OFF LEN */
static void op_falloc(struct op *op)
{
	static const struct { const char *word; int mode; } known[] = {
		{ "alloc", 0 }, { "keep", FALLOC_FL_KEEP_SIZE },
		{ "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE },
		{ "zero", FALLOC_FL_ZERO_RANGE }, { "collapse", FALLOC_FL_COLLAPSE_RANGE },
		{ "insert", FALLOC_FL_INSERT_RANGE }, { "unshare", FALLOC_FL_UNSHARE_RANGE },
	};
	struct name *f = file_of(op, 1);

	if (!f || op->n < 5)
		return;
	for (unsigned int i = 0; i < COUNT(known); i++)
		if (!strcmp(known[i].word, op->w[2]))
			result(op, fallocate(f->fd, known[i].mode, size_of(op->w[3]),
					     size_of(op->w[4])));
}

/* pwrite FILE OFF LEN BYTE, pread FILE OFF LEN */
static void op_pwrite(struct op *op)
{
	struct name *f = file_of(op, 1);
	uint64_t off, len;
	uint8_t *b;
	ssize_t r;

	if (!f || op->n < 4)
		return;
	off = size_of(op->w[2]);
	len = size_of(op->w[3]);
	b = aligned_alloc(PG, (len + PG - 1) / PG * PG);
	if (!strcmp(op->w[0], "pread")) {
		r = pread(f->fd, b, len, off);
		result(op, r);
		if (r > 0)
			print_bytes(op, b, r);
	} else {
		memset(b, op->n > 4 ? strtol(op->w[4], NULL, 0) : 1, len);
		r = pwrite(f->fd, b, len, off);
		result(op, r);
	}
	if (r >= 0 && (uint64_t)r != len)
		member(op, "\"short\":%zd", r);
	free(b);
}

static void op_fsync(struct op *op)
{
	struct name *f = file_of(op, 1);

	if (f)
		result(op, fsync(f->fd));
}

/* clone DST SRC [SRCOFF LEN DSTOFF] */
static void op_clone(struct op *op)
{
	struct name *d = file_of(op, 1), *s = d ? file_of(op, 2) : NULL;
	struct file_clone_range r = { };

	if (!s)
		return;
	if (op->n < 6) {
		result(op, ioctl(d->fd, FICLONE, s->fd));
		return;
	}
	r.src_fd = s->fd;
	r.src_offset = size_of(op->w[3]);
	r.src_length = size_of(op->w[4]);
	r.dest_offset = size_of(op->w[5]);
	result(op, ioctl(d->fd, FICLONERANGE, &r));
}

/* extents FILE: FIEMAP, frames relative as everywhere */
static void op_extents(struct op *op)
{
	enum { MAX = 64 };
	struct name *f = file_of(op, 1);
	struct fiemap *m = calloc(1, sizeof(*m) + MAX * sizeof(struct fiemap_extent));
	int dev = -1;

	if (!f)
		goto out;
	m->fm_length = UINT64_MAX;
	m->fm_extent_count = MAX;
	if (ioctl(f->fd, FS_IOC_FIEMAP, m) < 0) {
		result(op, -1);
		goto out;
	}
	for (int i = 0; i < npmem; i++) {
		size_t l = strlen(pmem[i].label);

		if (!strncmp(f->path, "/mnt/", 5) && !strncmp(f->path + 5, pmem[i].label, l) &&
		    f->path[5 + l] == '/')
			dev = i;
	}
	member(op, "\"extents\":[");
	for (unsigned int i = 0; i < m->fm_mapped_extents; i++) {
		struct fiemap_extent *e = &m->fm_extents[i];

		fprintf(op->o, "%s{\"off\":\"0x%llx\",\"len\":\"0x%llx\",", i ? "," : "",
			(unsigned long long)e->fe_logical, (unsigned long long)e->fe_length);
		if (dev >= 0) {
			print_at(op->o, dev, pmem[dev].start + e->fe_physical);
			fputc(',', op->o);
		}
		fprintf(op->o, "\"f\":\"%s%s%s%s\"}",
			e->fe_flags & FIEMAP_EXTENT_UNWRITTEN ? "unwritten " : "",
			e->fe_flags & FIEMAP_EXTENT_SHARED ? "shared " : "",
			e->fe_flags & FIEMAP_EXTENT_DELALLOC ? "delalloc " : "",
			e->fe_flags & FIEMAP_EXTENT_LAST ? "last" : "");
	}
	fputc(']', op->o);
out:
	free(m);
}

static void op_stat(struct op *op)
{
	struct name *f = file_of(op, 1);
	struct statx s;

	if (!f)
		return;
	if (statx(f->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &s) < 0)
		result(op, -1);
	else
		member(op, "\"size\":\"0x%llx\",\"blocks\":%llu,\"dax\":%s",
		       (unsigned long long)s.stx_size, (unsigned long long)s.stx_blocks,
		       s.stx_attributes & 0x00200000 ? "true" : "false");
}

/* ------------------------------------------------------------ VMAs and smaps */

/* The arena's VMAs as a JSON list; smaps adds the counters that are not zero. */
static char *vmas(bool counters, uint64_t from, uint64_t to)
{
	static const char *const keep[] = {
		"Rss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty",
		"Anonymous", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped",
		"Shared_Hugetlb", "Private_Hugetlb", "Swap", "Locked", "MMUPageSize",
	};
	char *text, line[512], buf[64];
	size_t size;
	FILE *o = open_memstream(&text, &size);
	FILE *f = fopen(counters ? "/proc/self/smaps" : "/proc/self/maps", "r");
	bool inside = false, first = true;

	fputc('[', o);
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, end, off, value;
		char perm[8], file[256] = "", key[64];

		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %255[^\n]", &start, &end, perm,
			   &off, file) >= 4) {
			char *base = strrchr(file, '/');

			if (inside)
				fputc('}', o);
			inside = start >= from && end <= to;
			if (!inside)
				continue;
			fprintf(o, "%s{\"at\":\"%s\",\"len\":\"0x%lx\",\"perm\":\"%s\"",
				first ? "" : ",", relative(start, buf, sizeof(buf)),
				end - start, perm);
			if (base)
				fprintf(o, ",\"file\":\"%s\",\"off\":\"0x%lx\"", base + 1, off);
			first = false;
		} else if (inside && !strncmp(line, "VmFlags:", 8)) {
			char *p = line + 8;

			while (*p == ' ')
				p++;
			p[strcspn(p, "\n")] = 0;
			while (*p && p[strlen(p) - 1] == ' ')
				p[strlen(p) - 1] = 0;
			fprintf(o, ",\"vmflags\":\"%s\"", p);
		} else if (inside && sscanf(line, "%63[^:]: %lu kB", key, &value) == 2 && value) {
			for (unsigned int i = 0; i < COUNT(keep); i++)
				if (!strcmp(key, keep[i]))
					fprintf(o, ",\"%s\":%lu", key, value);
		}
	}
	fputs(inside ? "}]" : "]", o);
	if (f)
		fclose(f);
	fclose(o);
	return text;
}

static void op_smaps(struct op *op)
{
	struct name *n = op->n > 1 ? find(op->w[1], REGION) : NULL;
	char *text = n ? vmas(true, n->addr, n->addr + n->len + GiB) :
			 vmas(true, ARENA, ARENA_END);

	member(op, "\"smaps\":%s", text);
	free(text);
}

/* --------------------------------------------------- processes and the system */

static void run_line(const char *text, bool quiet_vmas);
static void dispatch(struct op *op);

static void serve(int fd)
{
	char buf[512];
	ssize_t r;

	while ((r = recv(fd, buf, sizeof(buf) - 1, 0)) > 0) {
		buf[r] = 0;
		run_line(buf, false);
		send(fd, "k", 1, MSG_NOSIGNAL);
	}
	_exit(0);
}

/* fork ID, then "in ID operation ...", then join ID */
static void op_fork(struct op *op)
{
	int s[2];
	struct name *n;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0 || (pid = fork()) < 0) {
		result(op, -1);
		return;
	}
	if (!pid) {
		close(s[0]);
		if (probe_fd >= 0)
			close(probe_fd);
		probe_fd = -1;
		if (migr_fd >= 0)
			close(migr_fd);
		migr_fd = -1;
		/* Its brothers end when the parent lets go of them: not for want of us. */
		for (int i = 0; i < nnames; i++)
			if (names[i].kind == CHILD) {
				close(names[i].fd);
				forget(&names[i]);
			}
		next_slot = 0;
		snprintf(child_id, sizeof(child_id), "%s", op->w[1]);
		serve(s[1]);
	}
	close(s[1]);
	n = add(op->w[1], CHILD);
	n->fd = s[0];
	n->pid = pid;
	result(op, 0);
}

static void op_in(struct op *op)
{
	struct name *n = find(op->w[1], CHILD);
	struct pollfd pf = { .events = POLLIN };
	char buf[512] = "", k;

	if (!n) {
		refuse(op, "no child", op->w[1]);
		return;
	}
	for (int i = 2; i < op->n; i++) {
		strncat(buf, op->w[i], sizeof(buf) - strlen(buf) - 2);
		strcat(buf, i + 1 < op->n ? " " : "");
	}
	pf.fd = n->fd;
	if (send(n->fd, buf, strlen(buf), MSG_NOSIGNAL) < 0 || poll(&pf, 1, 30000) != 1 ||
	    recv(n->fd, &k, 1, 0) != 1)
		member(op, "\"child\":\"no answer\"");
}

static void op_join(struct op *op)
{
	struct name *n = find(op->w[1], CHILD);
	int status;

	if (!n) {
		refuse(op, "no child", op->w[1]);
		return;
	}
	close(n->fd);
	waitpid(n->pid, &status, 0);
	if (WIFSIGNALED(status))
		member(op, "\"signal\":%d", WTERMSIG(status));
	else
		member(op, "\"exit\":%d", WEXITSTATUS(status));
	forget(n);
}

static int split(char *text, char **w)
{
	int n = 0;

	for (char *t, *save; n < MAX_WORDS && (t = strtok_r(n ? NULL : text, " \t\n", &save)); )
		w[n++] = t;
	return n;
}

static void *async_main(void *arg)
{
	struct name *n = arg;
	char *text = strdup(n->text), *out;
	size_t size;
	struct op op = { .o = open_memstream(&out, &size) };

	op.n = split(text, op.w);
	dispatch(&op);
	fclose(op.o);
	n->out = out;
	n->done = true;
	free(text);
	return NULL;
}

/* async ID operation ...: in a thread of its own; wait ID [MS] tells the result */
static void op_async(struct op *op)
{
	struct name *n = add(op->w[1], ASYNC);
	char buf[512] = "";

	for (int i = 2; i < op->n; i++) {
		strncat(buf, op->w[i], sizeof(buf) - strlen(buf) - 2);
		strcat(buf, i + 1 < op->n ? " " : "");
	}
	n->text = strdup(buf);
	errno = pthread_create(&n->thread, NULL, async_main, n);
	result(op, errno ? -1 : 0);
}

static void nap(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static void op_wait(struct op *op)
{
	struct name *n = find(op->w[1], ASYNC);
	long ms = op->n > 2 ? strtol(op->w[2], NULL, 0) : 1000;

	if (!n) {
		refuse(op, "no async", op->w[1]);
		return;
	}
	for (; ms > 0 && !n->done; ms -= 20)
		nap(20);
	member(op, "\"async\":");
	print_string(op->o, n->text);
	member(op, "\"done\":%s", n->done ? "true" : "false");
}

static void op_sleep(struct op *op)
{
	nap(op->n > 1 ? strtol(op->w[1], NULL, 0) : 100);
	result(op, 0);
}

/* sh COMMAND: its exit status and first output */
static void op_sh(struct op *op)
{
	char cmd[512] = "", out[400];
	FILE *f;
	size_t n;
	int status;

	for (int i = 1; i < op->n; i++) {
		strncat(cmd, op->w[i], sizeof(cmd) - strlen(cmd) - 2);
		strcat(cmd, " ");
	}
	f = popen(cmd, "r");
	n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	out[n] = 0;
	status = f ? pclose(f) : -1;
	member(op, "\"exit\":%d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	if (n) {
		member(op, "\"out\":");
		print_string(op->o, out);
	}
}

/* fs NAME [options]: a fresh file system there, mounted for DAX */
static void op_fs(struct op *op)
{
	char cmd[256] = "/oracle/fs";
	int status;

	for (int i = 1; i < op->n; i++) {
		strncat(cmd, " ", sizeof(cmd) - strlen(cmd) - 1);
		strncat(cmd, op->w[i], sizeof(cmd) - strlen(cmd) - 1);
	}
	status = system(cmd);
	member(op, "\"exit\":%d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void op_note(struct op *op)
{
	(void)op;
}

/* ------------------------------------------------------------- one scenario */

static const struct { const char *word; void (*run)(struct op *op); int args; } ops[] = {
	{ "snap", op_snap, 2 }, { "fault", op_fault, 2 }, { "hmm", op_hmm, 2 },
	{ "mirror", op_mirror, 3 }, { "events", op_events, 1 }, { "unmirror", op_unmirror, 1 },
	{ "dread", op_dread, 2 }, { "dwrite", op_dwrite, 2 }, { "page", op_page, 1 },
	{ "pin", op_pin, 3 }, { "unpin", op_unpin, 1 },
	{ "todev", op_move, 3 }, { "tosys", op_move, 3 }, { "excl", op_excl, 3 },
	{ "devinfo", op_device, 1 }, { "evict", op_device, 1 }, { "devdown", op_device, 1 },
	{ "devup", op_device, 1 },
	{ "map", op_map, 3 }, { "hole", op_hole, 2 }, { "unmap", op_unmap, 2 },
	{ "protect", op_protect, 2 }, { "remap", op_remap, 4 }, { "advise", op_advise, 3 },
	{ "msync", op_msync, 2 }, { "mlock", op_mlock, 2 }, { "munlock", op_mlock, 2 },
	{ "touch", op_touch, 2 }, { "peek", op_peek, 2 }, { "poke", op_peek, 2 },
	{ "open", op_open, 2 }, { "memfd", op_memfd, 1 }, { "close", op_close, 1 },
	{ "unlink", op_unlink, 1 }, { "truncate", op_truncate, 2 }, { "falloc", op_falloc, 4 },
	{ "pwrite", op_pwrite, 3 }, { "pread", op_pwrite, 3 }, { "fsync", op_fsync, 1 },
	{ "clone", op_clone, 2 }, { "extents", op_extents, 1 }, { "stat", op_stat, 1 },
	{ "smaps", op_smaps, 0 },
	{ "fork", op_fork, 1 }, { "in", op_in, 2 }, { "join", op_join, 1 },
	{ "async", op_async, 2 }, { "wait", op_wait, 1 }, { "sleep", op_sleep, 0 },
	{ "sh", op_sh, 1 }, { "fs", op_fs, 1 }, { "note", op_note, 0 },
};

static void dispatch(struct op *op)
{
	for (unsigned int i = 0; i < COUNT(ops); i++)
		if (!strcmp(ops[i].word, op->w[0])) {
			if (op->n - 1 < ops[i].args)
				refuse(op, "too few words for", op->w[0]);
			else
				ops[i].run(op);
			return;
		}
	refuse(op, "no operation", op->w[0]);
}

static void emit(const char *fmt, ...)
{
	char *text;
	va_list ap;
	size_t n, done = 0;
	ssize_t r;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	while (done < n && (r = write(1, text + done, n - done)) > 0)
		done += r;
	free(text);
}

static void run_line(const char *text, bool quiet_vmas)
{
	char *words = strdup(text), *out, *now;
	size_t size;
	struct op op = { .o = open_memstream(&out, &size) };
	bool in;

	op.n = split(words, op.w);
	fprintf(op.o, "{\"s\":\"%s\",\"i\":%d,", scenario, line_no);
	if (child_id[0])
		fprintf(op.o, "\"who\":\"%s\",", child_id);
	fputs("\"op\":", op.o);
	print_string(op.o, text);
	in = !strcmp(op.w[0], "in");
	dispatch(&op);
	if (op.n > 1 && !strcmp(op.w[0], "wait")) {
		struct name *n = find(op.w[1], ASYNC);

		if (n && n->done) {
			pthread_join(n->thread, NULL);
			fputs(n->out, op.o);
			forget(n);
		}
	}
	print_notices(&op);
	now = vmas(false, ARENA, ARENA_END);
	if (!quiet_vmas && (!last_vmas || strcmp(now, last_vmas)))
		member(&op, "\"vmas\":%s", now);
	free(last_vmas);
	last_vmas = now;
	fputs("}\n", op.o);
	fclose(op.o);
	/* "in" prints only when the child did not. */
	if (!in || strstr(out, "\"skip\"") || strstr(out, "\"child\""))
		emit("%s", out);
	free(out);
	free(words);
}

static int read_scenario(const char *path, char **lines, char *title, size_t tsize)
{
	FILE *f = fopen(path, "r");
	char line[512];
	int n = 0;

	title[0] = 0;
	while (f && n < MAX_LINES && fgets(line, sizeof(line), f)) {
		char *p = line + strspn(line, " \t");

		p[strcspn(p, "\n")] = 0;
		if (*p == '#' && !title[0])
			snprintf(title, tsize, "%s", p + 1 + strspn(p + 1, " "));
		if (*p && *p != '#')
			lines[n++] = strdup(p);
	}
	if (f)
		fclose(f);
	return f ? n : -1;
}

static void play(char **lines, int n)
{
	struct sigaction sa = { .sa_sigaction = catch, .sa_flags = SA_SIGINFO | SA_NODEFER };

	setpgid(0, 0);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	last_vmas = strdup("[]");
	for (int i = 0; i < n; i++) {
		line_no = i + 1;
		run_line(lines[i], false);
	}
	exit(0);
}

static void run_scenario(const char *path)
{
	char *lines[MAX_LINES], title[256], name[128];
	const char *base = strrchr(path, '/');
	int n, status = 0, tenths;
	pid_t pid;

	snprintf(name, sizeof(name), "%s", base ? base + 1 : path);
	name[strcspn(name, ".")] = 0;
	scenario = name;
	n = read_scenario(path, lines, title, sizeof(title));
	if (n < 0) {
		emit("{\"s\":\"%s\",\"end\":\"cannot read\"}\n", name);
		return;
	}
	emit("{\"s\":\"%s\",\"begin\":\"%s\"}\n", name, title);
	fflush(stdout);
	pid = fork();
	if (!pid)
		play(lines, n);
	for (tenths = 0; tenths < SCENARIO_SECONDS * 20; tenths++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		nap(50);
	}
	kill(-pid, SIGKILL);
	if (tenths == SCENARIO_SECONDS * 20) {
		emit("{\"s\":\"%s\",\"end\":\"timeout\"}\n", name);
		nap(2000);
		waitpid(pid, &status, WNOHANG);
	} else if (WIFSIGNALED(status)) {
		emit("{\"s\":\"%s\",\"end\":\"signal %d\"}\n", name, WTERMSIG(status));
	} else {
		emit("{\"s\":\"%s\",\"end\":\"%s\"}\n", name, WEXITSTATUS(status) ? "failed" : "ok");
	}
	while (n--)
		free(lines[n]);
}

int main(int argc, char **argv)
{
	read_pmem();
	for (int i = 1; i < argc; i++)
		run_scenario(argv[i]);
	return 0;
}
