/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* hmmprobe: ask the running kernel what HMM, notifiers and GUP say. */
#ifndef HMMPROBE_H
#define HMMPROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HP_MAX_PAGES	(1u << 20)	/* pages per HMM request: 4 GiB */
#define HP_MAX_EVENTS	2048		/* events kept per mirror */
#define HP_MAX_IDS	16		/* mirrors, and pin sets, per open file */

/* Request bits of hp_hmm.default_flags / pfn_flags_mask / per page input. */
#define HP_REQ_FAULT	1u
#define HP_REQ_WRITE	2u

/* One page of an HMM answer, with the kernel's bit layout undone. */
struct hp_pfn {
	__u64 pfn;
	__u8 flags;			/* HP_VALID ... on output, HP_REQ_* on input */
	__u8 order;
	__u16 pad;
	__u32 pad2;
};
#define HP_VALID	1
#define HP_WRITE	2
#define HP_ERROR	4

/* hmm_range_fault() over [start, end) of the caller's address space. */
struct hp_hmm {
	__u64 start, end;
	__u64 pfns;			/* struct hp_pfn[], in and out */
	__u32 default_flags;
	__u32 pfn_flags_mask;
	__s32 err;			/* what hmm_range_fault() returned last */
	__u32 busy;			/* how often it said -EBUSY or went stale */
	__u32 owner;			/* dev_private_owner: MP_OWNER() or 0 */
	__u32 pad;
};

/* mmu_interval_notifier over [start, end); id picks the slot. */
struct hp_mirror {
	__u32 id;
	__u32 pad;
	__u64 start, end;
};

struct hp_event {
	__u64 start, end;
	__u64 seq;			/* count of invalidations of this mirror */
	__u32 type;			/* enum mmu_notifier_event */
	__u8 blockable;
	__u8 owner;			/* range->owner: MP_OWNER(), 0, HP_SOMEONE */
	__u16 pad;
};
#define HP_SOMEONE	255

struct hp_events {
	__u32 id;
	__u32 n;			/* out: events in buf; the log is emptied */
	__u32 lost;			/* out: events that did not fit */
	__u32 stale;			/* out: read_retry() since HP_MIRROR */
	__u64 buf;			/* struct hp_event[HP_MAX_EVENTS] */
};

/* What a device does: fault, hold the mirror lock, check, copy. */
struct hp_rw {
	__u64 start, len;
	__u64 buf;
	__u32 write;
	__s32 err;
	__u64 done;			/* bytes copied before err */
	__u32 retries;
	__u32 owner;			/* as in hp_hmm */
};

/* pin_user_pages_fast(start, npages, flags); pins are kept under id. */
struct hp_pin {
	__u32 id;
	__u32 flags;
	__u64 start;
	__u32 npages;
	__s32 ret;			/* pages pinned, or the error */
	__u64 pfns;			/* __u64[npages] out, or 0 */
};
#define HP_PIN_WRITE	1u
#define HP_PIN_LONGTERM	2u

/* The struct page behind a pfn. */
struct hp_page {
	__u64 pfn;
	__u32 flags;
	__s32 refs, maps;		/* of the head page */
	__u32 pad;
};
#define HP_PG_VALID	1u
#define HP_PG_DEVICE	2u		/* ZONE_DEVICE */
#define HP_PG_FSDAX	4u
#define HP_PG_POISON	8u
#define HP_PG_COMPOUND	16u
#define HP_PG_PINNED	32u		/* page_maybe_dma_pinned() */
#define HP_PG_ZERO	64u
#define HP_PG_MAPPING	128u		/* page->mapping is set */
#define HP_PG_PRIVATE	256u		/* device private */

#define HP_HMM		_IOWR('H', 0x60, struct hp_hmm)
#define HP_MIRROR	_IOWR('H', 0x61, struct hp_mirror)
#define HP_UNMIRROR	_IOWR('H', 0x62, struct hp_mirror)
#define HP_EVENTS	_IOWR('H', 0x63, struct hp_events)
#define HP_RW		_IOWR('H', 0x64, struct hp_rw)
#define HP_PIN		_IOWR('H', 0x65, struct hp_pin)
#define HP_UNPIN	_IOWR('H', 0x66, struct hp_pin)
#define HP_PAGE		_IOWR('H', 0x67, struct hp_page)

#endif
