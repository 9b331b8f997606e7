/** One line on a terminal that says what is being done; nothing where there is no terminal. */
export interface Progress {
  show(text: string): void;
  clear(): void;
}

const ERASE_LINE = '\r\u001b[K';

export function progressOn(stream: NodeJS.WriteStream, wanted: boolean): Progress {
  if (!wanted || stream.isTTY !== true) return { show() {}, clear() {} };
  let isShown = false;
  return {
    show(text) {
      isShown = true;
      stream.write(`${ERASE_LINE}${text}`);
    },
    clear() {
      if (isShown) stream.write(ERASE_LINE);
      isShown = false;
    },
  };
}
