/** The models that are shipped. */
import type { Model } from '../model.ts';
import { leakUnbind } from './leakUnbind.ts';
import { punchWrite } from './punchWrite.ts';
import { truncateFault } from './truncateFault.ts';
import { validAba } from './validAba.ts';

export const MODELS: readonly Model[] = [truncateFault, punchWrite, validAba, leakUnbind];
