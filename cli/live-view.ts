import { wantedColumns, withoutOwnCredentials } from '../config/environment.js';
import { defaultWidth } from './format.js';
import { printable } from './output.js';

/** Lines on a stream, and on a terminal below them one that changes. */
export interface LiveView {
  isTerminal: boolean;
  /** Columns that a line should fit. */
  width: number;
  /** Adds a line. */
  say(line: string): void;
  /** What goes on just now, in place of what went on before; on a terminal only. */
  show(line: string): void;
  /** Takes the line that changes away. */
  clear(): void;
}

export function createLiveView(stream: NodeJS.WriteStream): LiveView {
  const isTerminal = stream.isTTY === true;
  const clear = () => {
    if (isTerminal) stream.write('\r\x1b[K');
  };
  const safe = (text: string) => withoutOwnCredentials(printable(text));
  return {
    isTerminal,
    get width() {
      return (isTerminal ? stream.columns - 1 : undefined) || (wantedColumns() ?? defaultWidth);
    },
    say(line) {
      clear();
      stream.write(`${safe(line)}\n`);
    },
    show(line) {
      // Never a second line, which could not be taken away: not even of wide characters.
      if (isTerminal) stream.write(`\r\x1b[K\x1b[?7l${safe(line.replace(/\s*\n\s*/g, ' '))}\x1b[?7h`);
    },
    clear,
  };
}
