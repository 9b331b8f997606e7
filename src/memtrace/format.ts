/** Which format a trace is in, by its first bytes. */
export const TRACE_FORMATS = ['lackey', 'plain', 'champsim'] as const;
export type TraceFormat = (typeof TRACE_FORMATS)[number];

/** Bytes that are enough to tell. */
export const SNIFF_BYTES = 4096;

const LACKEY = /^(?:I  [0-9a-f]+,| [LSM] [0-9a-f]+,|==\d|--\d|SB [0-9a-f])/i;

/** `head`: the first bytes, at most SNIFF_BYTES. No text has a byte that is 0, and every record of ChampSim's has; its reader says so if it is none. */
export function formatOf(head: Uint8Array): TraceFormat {
  if (head.includes(0)) return 'champsim';
  const lines = new TextDecoder('latin1').decode(head).split('\n');
  return lines.some((line) => LACKEY.test(line)) ? 'lackey' : 'plain';
}
