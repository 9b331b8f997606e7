/** Device memory: 6.1 and 6.12, built with it. */
import { describe } from 'vitest';
import { holdAgainstRecords } from '../support/records.ts';

describe('migrate-v6.1', () => holdAgainstRecords('migrate-v6.1', 'v6.1', ['mprotectPud', 'ownPrivateAsIs']));
describe('migrate-v6.12', () => holdAgainstRecords('migrate-v6.12', 'v6.12', ['ownPrivateAsIs']));
