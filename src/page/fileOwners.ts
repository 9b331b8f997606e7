/**
 * From pages of files to the file: a page record names its page cache (or hugetlb file) by number, and its place in it.
 */
export class FileOwners {
  #all = new Map<number, object>();
  #next = 1;

  /** The number by which page records call `owner`. */
  add(owner: object): number {
    const id = this.#next++;
    this.#all.set(id, owner);
    return id;
  }

  get(id: number): object | undefined {
    return this.#all.get(id);
  }

  drop(id: number): void {
    this.#all.delete(id);
  }

  reset(): void {
    this.#all = new Map(); // see AnonVmas.reset
    this.#next = 1;
  }
}
