/** The gup room: pages held for who accesses them beside the page table. */
export * from './gup.ts';
export { PIN_BIAS, countedPage, isCompound, maybePinned, putUserPage, saturate } from './pins.ts';
