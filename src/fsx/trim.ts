/**
 * A log of the classic exerciser is what it drew, and not always what it did: on replay it fits each operation to the file as it is
 * by then, as it had done before. So does this, that the same happens here, also with a log whose beginning was overwritten.
 */
import { BLOCK_BYTES, type Operation } from './operation.ts';

/** `operation` fitted to a file of `size` bytes that may have `fileBytes`. What cannot be fitted is left as it is, and passed over. */
export function trimmed(operation: Operation, size: number, fileBytes: number): Operation {
  switch (operation.name) {
    case 'read':
    case 'mapread':
    case 'punch_hole':
      return fitted(operation, size);
    case 'write':
    case 'mapwrite':
    case 'fallocate':
    case 'zero_range':
      return fitted(operation, fileBytes);
    case 'collapse_range':
      return inBlocks(fitted(operation, Math.max(0, size - 1)));
    case 'insert_range':
      return inBlocks({ ...operation, offset: size === 0 ? 0 : operation.offset % size, length: Math.max(0, Math.min(operation.length, fileBytes - size)) });
    default:
      return operation;
  }
}

function fitted(operation: Operation, end: number): Operation {
  const { offset, length } = operation;
  if (offset + length <= end && offset < end) return operation;
  const at = end === 0 ? 0 : offset % end;
  return { ...operation, offset: at, length: Math.min(length, end - at) };
}

function inBlocks(operation: Operation): Operation {
  const { offset, length } = operation;
  return { ...operation, offset: offset - (offset % BLOCK_BYTES), length: length - (length % BLOCK_BYTES) };
}
