/** Debian 6.1: address spaces, DAX files, device DAX, hugetlb, page cache; the modern API. */
import { holdAgainstRecords } from '../support/records.ts';

holdAgainstRecords('v6.1', 'v6.1', ['coldClearsPmd', 'drainWaitsForPages', 'mprotectPud', 'removalLeavesMappings', 'sharedReadUnmaps', 'unmappedLayoutsPass']);
