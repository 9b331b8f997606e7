/** The ABI's constants, as one record. */
import * as abi from '../../src/abi.ts';

export const ABI = abi;
