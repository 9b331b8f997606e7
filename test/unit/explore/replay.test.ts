import { describe, expect, test } from 'vitest';
import { BadReplay, MODELS, Session, decodeReplay, encodeReplay, replaySchedule } from '../../../dist/explore/index.js';

const FIELDS = ['model', 'bug'];
const text = encodeReplay('x1', ['truncate-fault', 'stale-pfn'], [2, 2, 2, 1, 2]);

const refused = (bad: string): { column: number; message: string } => {
  try {
    decodeReplay(bad, 'x1', FIELDS);
  } catch (error) {
    if (error instanceof BadReplay) return error;
    throw error;
  }
  throw new Error(`${bad} was taken`);
};

describe('replay strings', () => {
  test('say version, model, bug, schedule and checksum, and come back', () => {
    expect(text).toMatch(/^x1:truncate-fault:stale-pfn:2x3\.1\.2:[0-9a-f]{8}$/);
    const { fields, schedule } = decodeReplay(text, 'x1', FIELDS);
    expect(fields.map((field) => field.text)).toEqual(['truncate-fault', 'stale-pfn']);
    expect(schedule).toEqual([2, 2, 2, 1, 2]);
    expect(decodeReplay(encodeReplay('x1', ['a', '-'], []), 'x1', FIELDS).schedule).toEqual([]);
  });

  test('cut anywhere are refused, with the place', () => {
    for (let length = 0; length < text.length; length++) expect(refused(text.slice(0, length)).column, text.slice(0, length)).toBeGreaterThan(0);
    expect(refused(text.slice(0, -1))).toMatchObject({ column: text.length, message: expect.stringMatching(/cut/) });
  });

  test('with any character changed are refused, with the place', () => {
    for (let i = 0; i < text.length; i++) expect(refused(`${text.slice(0, i)}${text[i] === '1' ? '3' : '1'}${text.slice(i + 1)}`).column).toBeGreaterThan(0);
  });

  test('of another version, with a bad step, or with something behind are refused', () => {
    expect(refused(text.replace('x1', 'x2'))).toMatchObject({ column: 1, message: expect.stringMatching(/'x2' is no version/) });
    expect(refused(text.replace('.1.', '.x.'))).toMatchObject({ column: 33, message: expect.stringMatching(/'x' is no task/) });
    expect(refused(`${text}:more`)).toMatchObject({ column: text.length + 2 });
    expect(refused(text.replace('2x3', '2x9999999')).message).toMatch(/more than 1000000 steps/);
  });

  test('with a task that is not ready there are none of the model', async () => {
    const session = await Session.create(MODELS[0]!, null);
    expect(() => replaySchedule(session, [1, 1, 7])).toThrow(/choice 3 names task 7/);
  });
});
