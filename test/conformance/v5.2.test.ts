/** The seed's own release, and its API. */
import { holdAgainstRecords } from '../support/records.ts';

holdAgainstRecords('v5.2', 'v5.2', ['dying-pagemap-retries', 'fault-ignores-vm-write', 'fault-under-pud-lock', 'leak-pgmap-on-special', 'mprotectPud', 'removalLeavesMappings', 'zero-page-special']);
