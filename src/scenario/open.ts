/** open(2) of the guest's places: `ext4:f` on a file system, `dev:dax2m` a device. */
import { openDaxDevice, openDaxFile } from '../dax/index.ts';
import type { OpenFile, Process } from './process.ts';

export function openPath(process: Process, path: string, writable: boolean): OpenFile {
  const [place = '', name = ''] = path.split(':');
  if (place === 'dev') return { place: name, file: openDaxDevice(process.guest.daxDevice(name)) };
  const fs = process.guest.fileSystem(place);
  return { place, file: openDaxFile(fs.inodes.get(name) ?? fs.create(name), writable) };
}
