/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* migrprobe: move a process's pages to a pretended device's memory and back. */
#ifndef MIGRPROBE_H
#define MIGRPROBE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MP_DEVICES	2
#define MP_MAX_PAGES	(1u << 16)	/* pages a request may span */
#define MP_STEP		512u		/* pages in one migrate_vma_setup() */

/*
 * What each device hands the kernel as its owner. hmmprobe takes the same
 * number, so that its questions can be a device's own.
 */
#define MP_OWNER(dev)	((dev) + 1)

/* One page of a migration: as collected, and what became of it. */
#define MP_PAGE		1		/* there was a page */
#define MP_MIGRATE	2		/* it was to migrate */
#define MP_WRITE	4
#define MP_MOVED	8		/* migrate_vma_pages() left MIGRATE on it */

struct mp_move {
	__u32 dev;
	__u32 flags;
	__u64 start, len;
	__u64 pages;			/* __u8[len / PAGE_SIZE] out */
	__u32 hold_ms;			/* pause between setup and the rest */
	__s32 err;			/* of the setup that failed, else 0 */
	__u32 cpages;			/* the sum over all steps */
	__u32 steps;			/* calls of migrate_vma_setup() */
};
#define MP_TO_SYSTEM	1u		/* destination: RAM, not the device */
#define MP_SEL_SYSTEM	2u		/* MIGRATE_VMA_SELECT_SYSTEM */
#define MP_SEL_PRIVATE	4u		/* MIGRATE_VMA_SELECT_DEVICE_PRIVATE */
#define MP_SEL_COHERENT	8u
#define MP_WHOLE	16u		/* one setup for all, VMAs or not */
#define MP_NO_DST	32u		/* offer no destination pages */

/* make_device_exclusive over [start, start + len), then let go at once. */
struct mp_excl {
	__u32 dev;
	__s32 byte;			/* write it while exclusive; -1 does not */
	__u64 start, len;
	__u64 pages;			/* __u8[] out: 1 where it was granted */
	__s32 ret;			/* what the kernel returned */
	__u32 pad;
};

struct mp_info {
	__u32 dev;
	__u32 used;			/* device pages in use */
	__u32 faults;			/* migrate_to_ram calls since the last MP_INFO */
	__u32 moved;			/* by MP_EVICT */
	__u64 start_pfn, npages;	/* 0 while the device is down */
};

#define MP_MOVE		_IOWR('M', 0x60, struct mp_move)
#define MP_EXCL		_IOWR('M', 0x61, struct mp_excl)
#define MP_INFO		_IOWR('M', 0x62, struct mp_info)
#define MP_EVICT	_IOWR('M', 0x63, struct mp_info)	/* all of a device to RAM */
#define MP_DOWN		_IOWR('M', 0x64, struct mp_info)	/* memunmap_pages() */
#define MP_UP		_IOWR('M', 0x65, struct mp_info)

#endif
