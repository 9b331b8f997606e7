/** Which thread this is: of use to who looks after Workers that may die. */

interface NodeProcess {
  getBuiltinModule?(id: string): { readonly threadId?: number } | undefined;
}

/** Node's id of this thread, 0 on the main one; -1 where there is no telling. */
export function threadId(): number {
  if (typeof process === 'undefined') return -1;
  return (process as unknown as NodeProcess).getBuiltinModule?.('node:worker_threads')?.threadId ?? -1;
}
