// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * migrprobe: two devices with memory the CPU cannot see (MEMORY_DEVICE_PRIVATE)
 * and nothing else, to learn what the migrate_vma interface and device
 * exclusive access do to a process. See migrprobe.h for the ioctls.
 *
 * A device page's contents are in an ordinary page, its store, to which
 * zone_device_data points; hmmprobe relies on that.
 */
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "migrprobe.h"

#define DEVICE_BYTES	(128UL << 20)	/* a memory section: no less can be had */
#define DEVICE_PAGES	(DEVICE_BYTES >> PAGE_SHIFT)

struct device_memory {
	struct dev_pagemap pgmap;
	struct resource *res;		/* NULL while down */
	struct mutex lock;		/* going up and down */
	spinlock_t pages;		/* those below */
	bool open;			/* to new pages */
	unsigned long *taken;
	u32 used;
	atomic_t faults;
};
static struct device_memory devices[MP_DEVICES];

static void *owner_of(struct device_memory *d)
{
	return (void *)(uintptr_t)MP_OWNER(d - devices);
}

static struct device_memory *device_of(struct page *page)
{
	return container_of(page->pgmap, struct device_memory, pgmap);
}

static unsigned long first_pfn(struct device_memory *d)
{
	return PHYS_PFN(d->pgmap.range.start);
}

/* ------------------------------------------------------------ device pages */

/* A locked device page, and its store, or NULL. */
static struct page *device_page(struct device_memory *d)
{
	struct page *store = alloc_page(GFP_HIGHUSER), *page;
	unsigned long i;

	if (!store)
		return NULL;
	spin_lock(&d->pages);
	i = d->open ? find_first_zero_bit(d->taken, DEVICE_PAGES) : DEVICE_PAGES;
	if (i < DEVICE_PAGES) {
		set_bit(i, d->taken);
		d->used++;
	}
	spin_unlock(&d->pages);
	if (i >= DEVICE_PAGES) {
		__free_page(store);
		return NULL;
	}
	page = pfn_to_page(first_pfn(d) + i);
	page->zone_device_data = store;
	zone_device_page_init(page);
	return page;
}

static void on_page_free(struct page *page)
{
	struct device_memory *d = device_of(page);

	__free_page(page->zone_device_data);
	page->zone_device_data = NULL;
	spin_lock(&d->pages);
	clear_bit(page_to_pfn(page) - first_pfn(d), d->taken);
	d->used--;
	spin_unlock(&d->pages);
}

static struct page *contents(struct page *page)
{
	return is_device_private_page(page) ? page->zone_device_data : page;
}

/* ---------------------------------------------------------------- migration */

/* Destinations for what was collected, filled from the sources. */
static void fill_destinations(struct migrate_vma *m, struct device_memory *to)
{
	unsigned long i, addr = m->start;

	for (i = 0; i < m->npages; i++, addr += PAGE_SIZE) {
		struct page *src, *dst;

		if (!(m->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		src = migrate_pfn_to_page(m->src[i]);
		if (to) {
			dst = device_page(to);
		} else {
			dst = alloc_page_vma(GFP_HIGHUSER_MOVABLE, m->vma, addr);
			if (dst)
				lock_page(dst);
		}
		if (!dst)
			continue;
		if (src)
			copy_highpage(contents(dst), contents(src));
		else
			clear_highpage(contents(dst));
		m->dst[i] = migrate_pfn(page_to_pfn(dst));
		if (m->src[i] & MIGRATE_PFN_WRITE)
			m->dst[i] |= MIGRATE_PFN_WRITE;
	}
}

static u8 collected(unsigned long src)
{
	return (src & MIGRATE_PFN_VALID ? MP_PAGE : 0) |
	       (src & MIGRATE_PFN_MIGRATE ? MP_MIGRATE : 0) |
	       (src & MIGRATE_PFN_WRITE ? MP_WRITE : 0);
}

/* One setup, one pages, one finalize, with the mmap lock held throughout. */
static int move_step(struct mp_move *a, struct migrate_vma *m, u8 *out)
{
	unsigned long i;
	int err;

	memset(m->src, 0, MP_STEP * sizeof(*m->src));
	memset(m->dst, 0, MP_STEP * sizeof(*m->dst));
	m->cpages = 0;
	a->steps++;
	err = migrate_vma_setup(m);
	if (err)
		return err;
	a->cpages += m->cpages;
	for (i = 0; i < m->npages; i++)
		out[i] = collected(m->src[i]);
	if (a->hold_ms)
		msleep(a->hold_ms);
	if (!m->cpages) {
		/* Nothing to do, but finalize costs nothing either. */
	} else if (!(a->flags & MP_NO_DST)) {
		fill_destinations(m, a->flags & MP_TO_SYSTEM ? NULL : &devices[a->dev]);
	}
	migrate_vma_pages(m);
	for (i = 0; i < m->npages; i++)
		if (m->src[i] & MIGRATE_PFN_MIGRATE)
			out[i] |= MP_MOVED;
	migrate_vma_finalize(m);
	return 0;
}

static long do_move(struct mp_move *a)
{
	unsigned long n = a->len >> PAGE_SHIFT, addr, end = a->start + a->len;
	struct mm_struct *mm = current->mm;
	struct migrate_vma m = { };
	long ret = -ENOMEM;
	u8 *out;

	if (!PAGE_ALIGNED(a->start | a->len) || !n || n > MP_MAX_PAGES ||
	    (a->flags & MP_WHOLE && n > MP_STEP))
		return -EINVAL;
	out = kvzalloc(n, GFP_KERNEL);
	m.src = kvcalloc(MP_STEP, sizeof(*m.src), GFP_KERNEL);
	m.dst = kvcalloc(MP_STEP, sizeof(*m.dst), GFP_KERNEL);
	if (!out || !m.src || !m.dst)
		goto free;
	m.pgmap_owner = owner_of(&devices[a->dev]);
	m.flags = (a->flags & MP_SEL_SYSTEM ? MIGRATE_VMA_SELECT_SYSTEM : 0) |
		  (a->flags & MP_SEL_PRIVATE ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE : 0) |
		  (a->flags & MP_SEL_COHERENT ? MIGRATE_VMA_SELECT_DEVICE_COHERENT : 0);
	a->err = 0;
	a->cpages = 0;
	a->steps = 0;
	mmap_read_lock(mm);
	for (addr = a->start; addr < end && !a->err; addr = m.end) {
		m.vma = vma_lookup(mm, addr);
		m.start = addr;
		m.end = end;
		if (!(a->flags & MP_WHOLE)) {
			if (m.vma)
				m.end = min(end, m.vma->vm_end);
			m.end = min(m.end, addr + MP_STEP * PAGE_SIZE);
		}
		a->err = move_step(a, &m, out + ((addr - a->start) >> PAGE_SHIFT));
	}
	mmap_read_unlock(mm);
	ret = copy_to_user(u64_to_user_ptr(a->pages), out, n) ? -EFAULT : 0;
free:
	kvfree(m.dst);
	kvfree(m.src);
	kvfree(out);
	return ret;
}

/* The CPU touched a device page, or the kernel wants it: back to RAM with it. */
static vm_fault_t on_cpu_fault(struct vm_fault *vmf)
{
	struct device_memory *d = device_of(vmf->page);
	unsigned long src = 0, dst = 0;
	struct migrate_vma m = {
		.vma = vmf->vma,
		.start = vmf->address & PAGE_MASK,
		.end = (vmf->address & PAGE_MASK) + PAGE_SIZE,
		.src = &src,
		.dst = &dst,
		.pgmap_owner = owner_of(d),
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		.fault_page = vmf->page,
	};

	atomic_inc(&d->faults);
	if (migrate_vma_setup(&m))
		return VM_FAULT_SIGBUS;
	if (m.cpages) {
		fill_destinations(&m, NULL);
		if (!dst) {
			migrate_vma_finalize(&m);
			return VM_FAULT_OOM;
		}
		migrate_vma_pages(&m);
	}
	migrate_vma_finalize(&m);
	return 0;
}

static const struct dev_pagemap_ops device_ops = {
	.page_free = on_page_free,
	.migrate_to_ram = on_cpu_fault,
};

static long do_evict(struct device_memory *d, u32 *moved)
{
	unsigned long *src, *dst, i;
	long ret = -ENOMEM;

	src = kvcalloc(DEVICE_PAGES, sizeof(*src), GFP_KERNEL);
	dst = kvcalloc(DEVICE_PAGES, sizeof(*dst), GFP_KERNEL);
	if (!src || !dst)
		goto free;
	ret = 0;
	if (!d->res)
		goto free;
	migrate_device_range(src, first_pfn(d), DEVICE_PAGES);
	for (i = 0; i < DEVICE_PAGES; i++) {
		struct page *from = migrate_pfn_to_page(src[i]), *to;

		if (!(src[i] & MIGRATE_PFN_MIGRATE) || !from)
			continue;
		to = alloc_page(GFP_HIGHUSER_MOVABLE);
		if (!to)
			continue;
		lock_page(to);
		copy_highpage(to, contents(from));
		dst[i] = migrate_pfn(page_to_pfn(to));
	}
	migrate_device_pages(src, dst, DEVICE_PAGES);
	for (i = 0; i < DEVICE_PAGES; i++)
		if (src[i] & MIGRATE_PFN_MIGRATE)
			++*moved;
	migrate_device_finalize(src, dst, DEVICE_PAGES);
free:
	kvfree(dst);
	kvfree(src);
	return ret;
}

/* ---------------------------------------------------- device exclusive access */

static void use_exclusive(struct page *page, s32 byte)
{
	void *map = kmap_local_page(page);

	if (byte >= 0)
		memset(map, byte, PAGE_SIZE);
	kunmap_local(map);
}

static long do_excl(struct mp_excl *a)
{
	unsigned long n = a->len >> PAGE_SHIFT, i;
	struct mm_struct *mm = current->mm;
	struct page **pages;
	long ret = -ENOMEM;
	u8 *out;

	if (!PAGE_ALIGNED(a->start | a->len) || !n || n > MP_STEP)
		return -EINVAL;
	pages = kvcalloc(n, sizeof(*pages), GFP_KERNEL);
	out = kvzalloc(n, GFP_KERNEL);
	if (!pages || !out)
		goto free;
	mmap_read_lock(mm);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 15, 0)
	a->ret = make_device_exclusive_range(mm, a->start, a->start + a->len, pages,
					     owner_of(&devices[a->dev]));
	mmap_read_unlock(mm);
	for (i = 0; i < n; i++) {
		if (!pages[i])
			continue;
		out[i] = 1;
		use_exclusive(pages[i], a->byte);
		unlock_page(pages[i]);
		put_page(pages[i]);
	}
#else
	/* One page a call, and a pointer or the error. */
	for (a->ret = 0, i = 0; i < n; i++) {
		struct folio *folio;

		pages[i] = make_device_exclusive(mm, a->start + i * PAGE_SIZE,
						 owner_of(&devices[a->dev]), &folio);
		if (IS_ERR(pages[i])) {
			a->ret = PTR_ERR(pages[i]);
			break;
		}
		out[i] = 1;
		use_exclusive(pages[i], a->byte);
		folio_unlock(folio);
		folio_put(folio);
	}
	mmap_read_unlock(mm);
	if (!a->ret)
		a->ret = n;
#endif
	ret = copy_to_user(u64_to_user_ptr(a->pages), out, n) ? -EFAULT : 0;
free:
	kvfree(out);
	kvfree(pages);
	return ret;
}

/* -------------------------------------------------------------- up and down */

static long device_up(struct device_memory *d)
{
	struct resource *res;
	void *at;

	if (d->res)
		return -EEXIST;
	res = request_free_mem_region(&iomem_resource, DEVICE_BYTES, "migrprobe");
	if (IS_ERR(res))
		return PTR_ERR(res);
	memset(&d->pgmap, 0, sizeof(d->pgmap));
	d->pgmap.type = MEMORY_DEVICE_PRIVATE;
	d->pgmap.range.start = res->start;
	d->pgmap.range.end = res->end;
	d->pgmap.nr_range = 1;
	d->pgmap.ops = &device_ops;
	d->pgmap.owner = owner_of(d);
	at = memremap_pages(&d->pgmap, NUMA_NO_NODE);
	if (IS_ERR(at)) {
		release_mem_region(res->start, resource_size(res));
		return PTR_ERR(at);
	}
	d->res = res;
	d->open = true;
	return 0;
}

static void device_down(struct device_memory *d)
{
	struct resource *res = d->res;

	if (!res)
		return;
	spin_lock(&d->pages);
	d->open = false;
	spin_unlock(&d->pages);
	memunmap_pages(&d->pgmap);	/* waits for the last page to be free */
	d->res = NULL;
	release_mem_region(res->start, resource_size(res));
}

static void do_info(struct device_memory *d, struct mp_info *a)
{
	a->used = d->used;
	a->faults = atomic_xchg(&d->faults, 0);
	a->start_pfn = d->res ? first_pfn(d) : 0;
	a->npages = d->res ? DEVICE_PAGES : 0;
}

static long probe_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	union {
		u32 dev;		/* comes first in all of them */
		struct mp_move move;
		struct mp_excl excl;
		struct mp_info info;
	} a = { };
	void __user *u = (void __user *)arg;
	struct device_memory *d;
	long ret;

	if (_IOC_SIZE(cmd) > sizeof(a) || copy_from_user(&a, u, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (a.dev >= MP_DEVICES)
		return -ENODEV;
	d = &devices[a.dev];
	switch (cmd) {
	case MP_MOVE:
		ret = do_move(&a.move);
		break;
	case MP_EXCL:
		ret = do_excl(&a.excl);
		break;
	case MP_INFO:
		do_info(d, &a.info);
		ret = 0;
		break;
	case MP_EVICT:
		a.info.moved = 0;
		ret = do_evict(d, &a.info.moved);
		break;
	case MP_UP:
	case MP_DOWN:
		mutex_lock(&d->lock);
		ret = cmd == MP_UP ? device_up(d) : (device_down(d), 0);
		mutex_unlock(&d->lock);
		break;
	default:
		ret = -ENOTTY;
	}
	if (!ret && copy_to_user(u, &a, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = probe_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice probe_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "migrprobe",
	.fops = &probe_fops,
	.mode = 0666,
};

static void probe_exit(void)
{
	int i;

	for (i = 0; i < MP_DEVICES; i++) {
		device_down(&devices[i]);
		bitmap_free(devices[i].taken);
	}
}

static int __init probe_init(void)
{
	long err;
	int i;

	for (i = 0; i < MP_DEVICES; i++) {
		mutex_init(&devices[i].lock);
		spin_lock_init(&devices[i].pages);
		devices[i].taken = bitmap_zalloc(DEVICE_PAGES, GFP_KERNEL);
		err = devices[i].taken ? device_up(&devices[i]) : -ENOMEM;
		if (err)
			goto undo;
	}
	err = misc_register(&probe_misc);
	if (!err)
		return 0;
undo:
	probe_exit();
	return err;
}

static void __exit probe_remove(void)
{
	misc_deregister(&probe_misc);
	probe_exit();
}

module_init(probe_init);
module_exit(probe_remove);
MODULE_DESCRIPTION("Report what migration to device memory does");
MODULE_LICENSE("Dual MIT/GPL");
