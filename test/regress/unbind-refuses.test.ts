/** A fault that the driver of an unbound device answers with SIGBUS is no refusal of HMM's, though another task mapped the page meanwhile. */
import { expect, test } from 'vitest';
import { MODELS, Session, decodeReplay, replaySchedule } from '../../dist/explore/index.js';

test('unbind between a device\'s fault and the page that the process has mapped is nothing to find', async () => {
  const session = await Session.create(MODELS.find((model) => model.name === 'unbind-fault')!, null);
  const { schedule } = decodeReplay('x1:unbind-fault:-:2x7.3x7.1x6.2:07aabbb0', 'x1', ['model', 'bug']);
  expect(replaySchedule(session, schedule)).toEqual({ end: expect.stringContaining('device EFAULT') });
});
