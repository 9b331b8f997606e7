/** The seed's own release, and its API. */
import { holdAgainstRecords } from '../support/records.ts';

holdAgainstRecords('v5.2', 'v5.2', ['leak-pgmap-on-special', 'mprotectPud', 'removalLeavesMappings']);
