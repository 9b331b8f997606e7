/** What the exerciser finds wrong. */
export type FailureKind =
  | 'data' // bytes are not what the file ought to hold
  | 'size' // nor is its size
  | 'refused' // an operation that ought to succeed did not
  | 'let through' // an access that ought to be refused was not
  | 'power cut' // what was promised is not there after one, or what never was is
  | 'rule' // a running check has a finding
  | 'crash'; // the kernel crashed, or spins for ever

export class FsxFailure extends Error {
  readonly kind: FailureKind;

  constructor(kind: FailureKind, what: string) {
    super(what);
    this.name = 'FsxFailure';
    this.kind = kind;
  }
}
