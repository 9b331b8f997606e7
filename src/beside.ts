/**
 * What a room keeps beside an object of another room that knows nothing of it: one value an object, gone when the object is.
 *
 * It lies at the object, under a key that nobody else has. A WeakMap would do the same; but as long as it is older than what is put in,
 * the values, and through them the objects, outlive every quick collection: machines that come and go by the thousand fill the heap.
 */
export class Beside<K extends object, V> {
  readonly #key = Symbol('beside');

  get(object: K): V | undefined {
    return (object as { readonly [key: symbol]: V | undefined })[this.#key];
  }

  set(object: K, value: V): void {
    (object as { [key: symbol]: V | undefined })[this.#key] = value;
  }

  delete(object: K): void {
    (object as { [key: symbol]: V | undefined })[this.#key] = undefined;
  }
}
