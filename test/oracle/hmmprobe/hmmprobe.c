// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * hmmprobe: a device with no device. It lets a process ask the kernel it runs
 * on what hmm_range_fault(), the interval notifiers and pin_user_pages say
 * about that process's own address space. See hmmprobe.h for the ioctls.
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "hmmprobe.h"

#define BUSY_FOR	(2 * HZ)	/* how long -EBUSY is worth retrying */

/*
 * @lock is the driver lock of the HMM protocol: the callback moves the
 * sequence under it, a reader checks the sequence and uses the pages under it.
 */
struct mirror {
	struct mmu_interval_notifier mni;
	struct mutex lock;
	unsigned long first_seq;
	u64 seq;
	u32 n, lost;
	struct hp_event log[HP_MAX_EVENTS];
};

struct pinset {
	struct page **pages;
	int n;
};

struct probe {
	struct mutex lock;		/* slots below */
	struct mirror *mirrors[HP_MAX_IDS];
	struct pinset pins[HP_MAX_IDS];
};

static bool on_invalidate(struct mmu_interval_notifier *mni,
			  const struct mmu_notifier_range *range,
			  unsigned long cur_seq)
{
	struct mirror *m = container_of(mni, struct mirror, mni);
	bool blockable = mmu_notifier_range_blockable(range);
	struct hp_event *e;

	if (blockable)
		mutex_lock(&m->lock);
	else if (!mutex_trylock(&m->lock))
		return false;
	mmu_interval_set_seq(mni, cur_seq);
	m->seq++;
	if (m->n < HP_MAX_EVENTS) {
		e = &m->log[m->n++];
		e->start = range->start;
		e->end = range->end;
		e->seq = m->seq;
		e->type = range->event;
		e->blockable = blockable;
		e->owner = min_t(unsigned long, (uintptr_t)range->owner, HP_SOMEONE);
	} else {
		m->lost++;
	}
	mutex_unlock(&m->lock);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = {
	.invalidate = on_invalidate,
};

static struct mirror *mirror_new(u64 start, u64 end)
{
	struct mirror *m;
	int err = -EINVAL;

	if (start >= end || !PAGE_ALIGNED(start | end))
		return ERR_PTR(err);
	m = kvzalloc(sizeof(*m), GFP_KERNEL);
	if (!m)
		return ERR_PTR(-ENOMEM);
	mutex_init(&m->lock);
	err = mmu_interval_notifier_insert(&m->mni, current->mm, start,
					   end - start, &mirror_ops);
	if (err) {
		kvfree(m);
		return ERR_PTR(err);
	}
	m->first_seq = mmu_interval_read_begin(&m->mni);
	return m;
}

static void mirror_free(struct mirror *m)
{
	mmu_interval_notifier_remove(&m->mni);
	kvfree(m);
}

/*
 * One hmm_range_fault() with the collision retry every driver has. On success
 * the caller holds m->lock and the answer is current; *busy counts the rounds
 * that were not.
 */
static int range_fault_locked(struct mirror *m, struct hmm_range *r,
			      const unsigned long *input, u32 *busy)
{
	unsigned long until = jiffies + BUSY_FOR;
	size_t bytes = ((r->end - r->start) >> PAGE_SHIFT) * sizeof(*input);
	int err;

	for (;; (*busy)++, cond_resched()) {
		memcpy(r->hmm_pfns, input, bytes);
		r->notifier_seq = mmu_interval_read_begin(&m->mni);
		mmap_read_lock(m->mni.mm);
		err = hmm_range_fault(r);
		mmap_read_unlock(m->mni.mm);
		if (err && err != -EBUSY)
			return err;
		if (!err) {
			mutex_lock(&m->lock);
			if (!mmu_interval_read_retry(&m->mni, r->notifier_seq))
				return 0;
			mutex_unlock(&m->lock);
		}
		if (time_after(jiffies, until) || fatal_signal_pending(current))
			return -EBUSY;
	}
}

/* Owners are compared, never followed: migrprobe's devices go by numbers. */
static void *owner_of(u32 owner)
{
	return (void *)(uintptr_t)owner;
}

static unsigned long to_req(u32 f)
{
	return (f & HP_REQ_FAULT ? HMM_PFN_REQ_FAULT : 0) |
	       (f & HP_REQ_WRITE ? HMM_PFN_REQ_WRITE : 0);
}

static long do_hmm(struct hp_hmm *a)
{
	u64 n = (a->end - a->start) >> PAGE_SHIFT, i;
	struct hmm_range r = { };
	unsigned long *in, *out;
	struct hp_pfn *user;
	struct mirror *m;
	long ret = -ENOMEM;

	if (a->start >= a->end || !PAGE_ALIGNED(a->start | a->end) ||
	    n > HP_MAX_PAGES)
		return -EINVAL;
	user = kvcalloc(n, sizeof(*user), GFP_KERNEL);
	in = kvcalloc(n, sizeof(*in), GFP_KERNEL);
	out = kvcalloc(n, sizeof(*out), GFP_KERNEL);
	if (!user || !in || !out)
		goto free;
	ret = -EFAULT;
	if (copy_from_user(user, u64_to_user_ptr(a->pfns), n * sizeof(*user)))
		goto free;
	for (i = 0; i < n; i++)
		in[i] = to_req(user[i].flags);
	m = mirror_new(a->start, a->end);
	if (IS_ERR(m)) {
		ret = PTR_ERR(m);
		goto free;
	}
	r.notifier = &m->mni;
	r.start = a->start;
	r.end = a->end;
	r.hmm_pfns = out;
	r.default_flags = to_req(a->default_flags);
	r.pfn_flags_mask = to_req(a->pfn_flags_mask);
	r.dev_private_owner = owner_of(a->owner);
	a->busy = 0;
	a->err = range_fault_locked(m, &r, in, &a->busy);
	if (!a->err)
		mutex_unlock(&m->lock);
	mirror_free(m);
	for (i = 0; i < n; i++) {
		user[i].pfn = out[i] & ~HMM_PFN_FLAGS;
		user[i].order = hmm_pfn_to_map_order(out[i]);
		user[i].flags = (out[i] & HMM_PFN_VALID ? HP_VALID : 0) |
				(out[i] & HMM_PFN_WRITE ? HP_WRITE : 0) |
				(out[i] & HMM_PFN_ERROR ? HP_ERROR : 0);
	}
	ret = 0;
	if (copy_to_user(u64_to_user_ptr(a->pfns), user, n * sizeof(*user)))
		ret = -EFAULT;
free:
	kvfree(out);
	kvfree(in);
	kvfree(user);
	return ret;
}

/* A migrprobe device keeps its pages' contents elsewhere. */
static struct page *contents(struct page *page)
{
	return is_device_private_page(page) ? page->zone_device_data : page;
}

/* A page at a time, through a bounce page so no user fault nests in m->lock. */
static long do_rw(struct hp_rw *a)
{
	u64 first = a->start & PAGE_MASK, last = PAGE_ALIGN(a->start + a->len);
	struct mirror *m = mirror_new(first, last);
	unsigned long pfn, none = 0;
	struct hmm_range r = { };
	void *bounce, *map;
	long ret = 0;

	if (IS_ERR(m))
		return PTR_ERR(m);
	bounce = (void *)__get_free_page(GFP_KERNEL);
	if (!bounce) {
		mirror_free(m);
		return -ENOMEM;
	}
	a->err = 0;
	a->retries = 0;
	r.dev_private_owner = owner_of(a->owner);
	for (a->done = 0; a->done < a->len; ) {
		u64 at = a->start + a->done, off = offset_in_page(at);
		u64 part = min_t(u64, a->len - a->done, PAGE_SIZE - off);
		void __user *buf = u64_to_user_ptr(a->buf + a->done);

		if (a->write && copy_from_user(bounce, buf, part)) {
			ret = -EFAULT;
			break;
		}
		r.notifier = &m->mni;
		r.start = at & PAGE_MASK;
		r.end = r.start + PAGE_SIZE;
		r.hmm_pfns = &pfn;
		r.default_flags = HMM_PFN_REQ_FAULT |
				  (a->write ? HMM_PFN_REQ_WRITE : 0);
		a->err = range_fault_locked(m, &r, &none, &a->retries);
		if (a->err)
			break;
		if (a->write && !(pfn & HMM_PFN_WRITE)) {
			/* The owner's read only device pages, whatever it asked. */
			mutex_unlock(&m->lock);
			a->err = -EACCES;
			break;
		}
		map = kmap_local_page(contents(hmm_pfn_to_page(pfn)));
		if (a->write)
			memcpy(map + off, bounce, part);
		else
			memcpy(bounce, map + off, part);
		kunmap_local(map);
		mutex_unlock(&m->lock);
		if (!a->write && copy_to_user(buf, bounce, part)) {
			ret = -EFAULT;
			break;
		}
		a->done += part;
	}
	free_page((unsigned long)bounce);
	mirror_free(m);
	return ret;
}

static long do_mirror(struct probe *p, struct hp_mirror *a)
{
	struct mirror *m;

	if (a->id >= HP_MAX_IDS || p->mirrors[a->id])
		return -EBUSY;
	m = mirror_new(a->start, a->end);
	if (IS_ERR(m))
		return PTR_ERR(m);
	p->mirrors[a->id] = m;
	return 0;
}

static long do_unmirror(struct probe *p, struct hp_mirror *a)
{
	if (a->id >= HP_MAX_IDS || !p->mirrors[a->id])
		return -ENOENT;
	mirror_free(p->mirrors[a->id]);
	p->mirrors[a->id] = NULL;
	return 0;
}

static long do_events(struct probe *p, struct hp_events *a)
{
	struct hp_event *copy;
	struct mirror *m;
	long ret = 0;

	if (a->id >= HP_MAX_IDS || !p->mirrors[a->id])
		return -ENOENT;
	m = p->mirrors[a->id];
	copy = kvmalloc(sizeof(m->log), GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	mutex_lock(&m->lock);
	memcpy(copy, m->log, sizeof(m->log));
	a->n = m->n;
	a->lost = m->lost;
	a->stale = mmu_interval_read_retry(&m->mni, m->first_seq);
	m->n = 0;
	m->lost = 0;
	mutex_unlock(&m->lock);
	if (copy_to_user(u64_to_user_ptr(a->buf), copy, a->n * sizeof(*copy)))
		ret = -EFAULT;
	kvfree(copy);
	return ret;
}

static void pinset_drop(struct pinset *s)
{
	unpin_user_pages(s->pages, s->n);
	kvfree(s->pages);
	s->pages = NULL;
}

static long do_pin(struct probe *p, struct hp_pin *a)
{
	struct pinset *s;
	int i;

	if (a->id >= HP_MAX_IDS || !a->npages || a->npages > HP_MAX_PAGES)
		return -EINVAL;
	s = &p->pins[a->id];
	if (s->pages)
		return -EBUSY;
	s->pages = kvcalloc(a->npages, sizeof(*s->pages), GFP_KERNEL);
	if (!s->pages)
		return -ENOMEM;
	a->ret = pin_user_pages_fast(a->start, a->npages,
				     (a->flags & HP_PIN_WRITE ? FOLL_WRITE : 0) |
				     (a->flags & HP_PIN_LONGTERM ? FOLL_LONGTERM : 0),
				     s->pages);
	s->n = max(a->ret, 0);
	for (i = 0; i < s->n && a->pfns; i++)
		if (put_user((u64)page_to_pfn(s->pages[i]),
			     (u64 __user *)u64_to_user_ptr(a->pfns) + i)) {
			pinset_drop(s);
			return -EFAULT;
		}
	if (!s->n)
		pinset_drop(s);
	return 0;
}

static long do_unpin(struct probe *p, struct hp_pin *a)
{
	if (a->id >= HP_MAX_IDS || !p->pins[a->id].pages)
		return -ENOENT;
	pinset_drop(&p->pins[a->id]);
	return 0;
}

/* How many page table entries map this page, by itself or with all its folio. */
static int maps_of(struct page *page)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	return page_mapcount(page);
#else
	struct folio *folio = page_folio(page);
	int maps = atomic_read(&page->_mapcount) + 1;

	if (page_mapcount_is_type(maps))
		maps = 0;
	if (folio_test_large(folio))
		maps += folio_entire_mapcount(folio);
	return maps;
#endif
}

static long do_page(struct hp_page *a)
{
	struct page *page, *head;

	a->flags = 0;
	if (!pfn_valid(a->pfn))
		return 0;
	page = pfn_to_page(a->pfn);
	head = compound_head(page);
	a->refs = page_ref_count(head);
	a->maps = maps_of(page);
	a->flags = HP_PG_VALID |
		   (is_zone_device_page(page) ? HP_PG_DEVICE : 0) |
		   (is_zone_device_page(page) &&
		    page->pgmap->type == MEMORY_DEVICE_FS_DAX ? HP_PG_FSDAX : 0) |
		   (PageHWPoison(page) ? HP_PG_POISON : 0) |
		   (PageCompound(page) ? HP_PG_COMPOUND : 0) |
		   (folio_maybe_dma_pinned(page_folio(page)) ? HP_PG_PINNED : 0) |
		   (is_zero_pfn(a->pfn) ? HP_PG_ZERO : 0) |
		   (page->mapping ? HP_PG_MAPPING : 0) |
		   (is_device_private_page(page) ? HP_PG_PRIVATE : 0);
	return 0;
}

static long probe_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	union {
		struct hp_hmm hmm;
		struct hp_mirror mirror;
		struct hp_events events;
		struct hp_rw rw;
		struct hp_pin pin;
		struct hp_page page;
	} a = { };
	void __user *u = (void __user *)arg;
	struct probe *p = f->private_data;
	long ret;

	if (_IOC_SIZE(cmd) > sizeof(a) || copy_from_user(&a, u, _IOC_SIZE(cmd)))
		return -EFAULT;
	/* Faulting ioctls stay outside p->lock: an async one may sleep long. */
	switch (cmd) {
	case HP_HMM:
		ret = do_hmm(&a.hmm);
		break;
	case HP_RW:
		ret = do_rw(&a.rw);
		break;
	case HP_PAGE:
		ret = do_page(&a.page);
		break;
	default:
		mutex_lock(&p->lock);
		ret = cmd == HP_MIRROR ? do_mirror(p, &a.mirror) :
		      cmd == HP_UNMIRROR ? do_unmirror(p, &a.mirror) :
		      cmd == HP_EVENTS ? do_events(p, &a.events) :
		      cmd == HP_PIN ? do_pin(p, &a.pin) :
		      cmd == HP_UNPIN ? do_unpin(p, &a.pin) : -ENOTTY;
		mutex_unlock(&p->lock);
	}
	if (!ret && copy_to_user(u, &a, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

static int probe_open(struct inode *inode, struct file *f)
{
	struct probe *p = kzalloc(sizeof(*p), GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	mutex_init(&p->lock);
	f->private_data = p;
	return 0;
}

static int probe_release(struct inode *inode, struct file *f)
{
	struct probe *p = f->private_data;
	int i;

	for (i = 0; i < HP_MAX_IDS; i++) {
		if (p->mirrors[i])
			mirror_free(p->mirrors[i]);
		if (p->pins[i].pages)
			pinset_drop(&p->pins[i]);
	}
	kfree(p);
	return 0;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.open = probe_open,
	.release = probe_release,
	.unlocked_ioctl = probe_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice probe_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hmmprobe",
	.fops = &probe_fops,
	.mode = 0666,
};
module_misc_device(probe_misc);

MODULE_DESCRIPTION("Report HMM, interval notifier and GUP behaviour");
MODULE_LICENSE("Dual MIT/GPL");
