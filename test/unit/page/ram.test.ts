/** Pages and blocks of pages that are one: whose counts are whose, and what falling to pages leaves. */
import { describe, expect, test } from 'vitest';
import { InvariantError } from '../../../dist/errno.js';
import { makeMachine } from '../../support/rig.ts';

async function ground() {
  const { platform } = (await makeMachine({ ramPages: 2 ** 20, arenaBytes: 64 * 2 ** 20 }));
  return { ram: platform.ram, records: platform.records, content: platform.arena.content, free: platform.ram.freePages };
}

describe('a block of pages', () => {
  test.each([1, 9, 18])('of order %i is aligned, has one reference, and goes as a whole with the last', async (order) => {
    const { ram, records, free } = await ground();
    ram.alloc();
    const head = ram.alloc(order);
    expect(head % 2 ** order).toBe(0);
    expect(ram.freePages).toBe(free - 1 - 2 ** order);
    for (const page of [head, head + 1, head + 2 ** order - 1]) expect([ram.head(page), ram.order(page), ram.refs(page)]).toEqual([head, order, 1]);
    ram.get(head + 2 ** order - 1, 3);
    expect(records.refs(head)).toBe(4);
    ram.put(head + 1, 3);
    expect(ram.freePages).toBe(free - 1 - 2 ** order);
    ram.put(head);
    expect(ram.freePages).toBe(free - 1);
    expect([ram.head(head + 1), ram.order(head)]).toEqual([head + 1, 0]);
  });

  test('reads zero when it is handed out again', async () => {
    const { ram, content } = await ground();
    const head = ram.alloc(9);
    content.write((head + 511) * 4096, Uint8Array.of(7), 0, 1);
    ram.put(head);
    expect(ram.alloc(9)).toBe(head);
    const byte = Uint8Array.of(1);
    content.read((head + 511) * 4096, byte, 0, 1);
    expect(byte[0]).toBe(0);
  });

  test('a page is mapped as often as it is by itself and with its block', async () => {
    const { ram, records } = await ground();
    const head = ram.alloc(9);
    records.addWholeMappings(head, 2);
    records.addMappings(head + 3, 1);
    expect([ram.mappings(head), ram.mappings(head + 1), ram.mappings(head + 3)]).toEqual([2, 2, 3]);
    expect(records.mappings(head + 1), 'which is not the second page\'s own').toBe(0);
  });

  test('-1 where there is no such block left', async () => {
    const { ram } = await ground();
    for (let i = 0; i < 3; i++) expect(ram.alloc(18)).toBeGreaterThan(0);
    expect(ram.alloc(18), 'of 4 GiB that begin on no GiB boundary').toBe(-1);
    for (let left = 512; left > 0; left--) expect(ram.alloc(9)).toBeGreaterThan(0);
    expect(ram.alloc(9)).toBe(-1);
  });
});

describe('a block that falls to pages', () => {
  test('leaves each the references of its mappings, the caller\'s with the first, and frees what nothing maps', async () => {
    const { ram, records, free } = await ground();
    const head = ram.alloc(9);
    for (const page of [0, 3, 511]) records.addMappings(head + page, 1);
    records.addMappings(head + 3, 1);
    ram.get(head, 4); // the mappings'; the caller has one more
    ram.split(head);
    expect(ram.freePages).toBe(free - 3);
    expect([0, 3, 511].map((page) => ram.refs(head + page))).toEqual([2, 2, 1]);
    expect(ram.order(head)).toBe(0);
    records.addMappings(head + 511, -1);
    ram.put(head + 511);
    expect(ram.freePages, 'each is free by itself').toBe(free - 2);
  });

  test('frees its first page too when nobody has it', async () => {
    const { ram, records, free } = await ground();
    const head = ram.alloc(9);
    records.addMappings(head + 1, 1);
    ram.split(head);
    expect(ram.freePages).toBe(free - 1);
    expect(ram.refs(head + 1)).toBe(1);
  });

  test('not while it is mapped whole, nor what is no block', async () => {
    const { ram, records } = await ground();
    const head = ram.alloc(9);
    records.addWholeMappings(head, 1);
    expect(() => ram.split(head)).toThrow(InvariantError);
    const page = ram.alloc();
    expect(() => ram.split(page)).toThrow(InvariantError);
  });
});
