/** The models that are shipped. */
import type { Model } from '../model.ts';
import { exclusiveTouch } from './exclusiveTouch.ts';
import { exitAll } from './exitAll.ts';
import { faultInvalid } from './faultInvalid.ts';
import { forkWrite } from './forkWrite.ts';
import { fsyncWrite } from './fsyncWrite.ts';
import { guestMunmap } from './guestMunmap.ts';
import { guestReap } from './guestReap.ts';
import { hugeFaults } from './hugeFaults.ts';
import { intervalRemove } from './intervalRemove.ts';
import { leakUnbind } from './leakUnbind.ts';
import { migrateTouch } from './migrateTouch.ts';
import { munmapRead } from './munmapRead.ts';
import { oomRegister } from './oomRegister.ts';
import { pinTruncate } from './pinTruncate.ts';
import { privateTouch } from './privateTouch.ts';
import { punchWrite } from './punchWrite.ts';
import { reflinkWrite } from './reflinkWrite.ts';
import { releaseWindow } from './releaseWindow.ts';
import { truncateFault } from './truncateFault.ts';
import { twoDevices } from './twoDevices.ts';
import { unbindFault } from './unbindFault.ts';
import { validAba } from './validAba.ts';
import { workerUnmap } from './workerUnmap.ts';
import { writeFaults } from './writeFaults.ts';

export const MODELS: readonly Model[] = [
  truncateFault, punchWrite, munmapRead, reflinkWrite, fsyncWrite, pinTruncate, unbindFault, forkWrite, migrateTouch, twoDevices, exitAll, oomRegister, intervalRemove,
  validAba, releaseWindow, leakUnbind, guestMunmap, guestReap, hugeFaults, faultInvalid, writeFaults, privateTouch, exclusiveTouch, workerUnmap,
];
