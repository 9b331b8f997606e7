/** Debian 6.12, the same scenarios. */
import { holdAgainstRecords } from '../support/records.ts';

holdAgainstRecords('v6.12', 'v6.12', ['drainWaitsForPages', 'removalLeavesMappings', 'unmappedLayoutsPass']);
