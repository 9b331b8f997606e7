/** An address space as a table of pages: what mmap and its kin mean, without areas, trees, leaves or mirrors. */

export const R = 1;
export const W = 2;
export const X = 4;

export interface NaivePage {
  readonly kind: 'anon' | 'file' | 'shm';
  readonly shared: boolean;
  /** opened for reading only */
  readonly readOnly: boolean;
  readonly prot: number;
  readonly huge: 'as it came' | 'yes' | 'no';
  /** page of the file or of the shared memory */
  readonly pgoff: number;
  /** of which shared anonymous mapping */
  readonly instance: number;
  /** first byte of the process's own copy, or null */
  readonly own: number | null;
}

export type Answer = 'ok' | 'ENOMEM' | 'EACCES' | 'EEXIST' | 'SIGSEGV' | 'SIGBUS' | number;

export class NaiveMm {
  readonly pages: (NaivePage | null)[];
  /** first byte of each page of the file; the length is its size */
  file: number[];
  readonly #shm = new Map<string, number>();
  #instances = 0;

  constructor(npages: number, file: readonly number[]) {
    this.pages = new Array<NaivePage | null>(npages).fill(null);
    this.file = [...file];
  }

  map(at: number, npages: number, page: Pick<NaivePage, 'kind' | 'shared' | 'readOnly' | 'prot'>, pgoff: number, replace: boolean): Answer {
    if (page.kind === 'file' && page.readOnly && page.shared && (page.prot & W) !== 0) return 'EACCES';
    if (!replace && this.#slice(at, npages).some((there) => there !== null)) return 'EEXIST';
    const instance = page.kind === 'shm' ? ++this.#instances : 0;
    for (let i = 0; i < npages; i++) this.pages[at + i] = { ...page, huge: 'as it came', pgoff: page.kind === 'anon' ? at + i : pgoff + i, instance, own: null };
    return 'ok';
  }

  unmap(at: number, npages: number): Answer {
    this.pages.fill(null, at, at + npages);
    return 'ok';
  }

  protect(at: number, npages: number, prot: number): Answer {
    for (let i = at; i < at + npages; i++) {
      const page = this.pages[i] ?? null;
      if (page === null) return 'ENOMEM';
      if ((prot & W) !== 0 && page.kind === 'file' && page.shared && page.readOnly) return 'EACCES';
      this.pages[i] = { ...page, prot };
    }
    return 'ok';
  }

  advise(at: number, npages: number, advice: 'dontneed' | 'huge' | 'nohuge'): Answer {
    let gap = false;
    for (let i = at; i < at + npages; i++) {
      const page = this.pages[i] ?? null;
      if (page === null) gap = true;
      else this.pages[i] = advice === 'dontneed' ? { ...page, own: null } : { ...page, huge: advice === 'huge' ? 'yes' : 'no' };
    }
    return gap ? 'ENOMEM' : 'ok';
  }

  load(at: number): Answer {
    const page = this.pages[at] ?? null;
    if (page === null || page.prot === 0) return 'SIGSEGV';
    if (page.own !== null) return page.own;
    if (page.kind === 'anon') return 0;
    if (page.kind === 'shm') return this.#shm.get(`${page.instance}:${page.pgoff}`) ?? 0;
    return this.file[page.pgoff] ?? 'SIGBUS';
  }

  store(at: number, value: number): Answer {
    const page = this.pages[at] ?? null;
    if (page === null || (page.prot & W) === 0) return 'SIGSEGV';
    if (page.kind === 'file' && page.own === null && page.pgoff >= this.file.length) return 'SIGBUS';
    if (page.kind === 'shm') this.#shm.set(`${page.instance}:${page.pgoff}`, value);
    else if (page.kind === 'file' && page.shared) this.file[page.pgoff] = value;
    else this.pages[at] = { ...page, own: value };
    return 'ok';
  }

  write(index: number, value: number): Answer {
    this.file[index] = value;
    return 'ok';
  }

  /** Copies of pages beyond the end go too. */
  truncate(npages: number): Answer {
    while (this.file.length < npages) this.file.push(0);
    this.file.length = npages;
    for (let i = 0; i < this.pages.length; i++) {
      const page = this.pages[i] ?? null;
      if (page !== null && page.kind === 'file' && page.pgoff >= npages) this.pages[i] = { ...page, own: null };
    }
    return 'ok';
  }

  /** Copies stay. */
  punch(index: number, npages: number): Answer {
    for (let i = index; i < Math.min(index + npages, this.file.length); i++) this.file[i] = 0;
    return 'ok';
  }

  #slice(at: number, npages: number): (NaivePage | null)[] {
    return this.pages.slice(at, at + npages);
  }
}
