/* oxlint-disable unicorn/require-post-message-target-origin -- a MessagePort has none */
// A Worker that does what it is told, one message a step, and answers each: for tests of machine.share() and attach().
import { parentPort, workerData } from 'node:worker_threads';
import { attach } from '../../dist/index.js';

let attached = null;
const steps = {
  attach: (options) => void (attached = attach(workerData.handle, options)),
  translate: (addr, access) => attached.table('app').translate(addr, access),
  read: (addr, length) => new TextDecoder().decode(attached.table('app').read(addr, length)),
  fault: (addr, length, write) => attached.table('app').fault(addr, length, { write }),
  die: () => process.exit(3),
  spin: () => {
    for (;;) attached.table('app').translate(0x7ffff0000000n);
  },
};

parentPort.on('message', ([step, ...args]) => {
  try {
    parentPort.postMessage({ value: steps[step](...args) });
  } catch (error) {
    parentPort.postMessage({ name: error.name, code: error.code, op: error.op, addr: error.addr, message: error.message });
  }
});
