/** One that keeps track of which pages of a file a power cut would lose the way to (`Platform.uncommitted`). */
export interface UncommittedBlocks {
  /** what leads to pages `[start, end)` of `file` has changed */
  changed(file: object, start: number, end: number): void;
  /** a journal commit: all that leads to its pages is durable */
  committed(file: object): void;
}
