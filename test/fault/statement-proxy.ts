import { once } from 'node:events';
import { type AddressInfo, type Socket, createConnection, createServer } from 'node:net';

/** A relay in front of Postgres that can hold one statement, or the answer to one. */
export interface StatementProxy {
  /** The target's url with the proxy's host and port. */
  url: string;
  /**
   * Holds the first statement whose bytes fit: `request` keeps it from Postgres, `answer` lets Postgres carry it out and
   * keeps the answer from the client. Everything that follows on that connection waits behind it.
   */
  hold(side: 'request' | 'answer', fits: (bytes: string) => boolean): HeldStatement;
  stop(): Promise<void>;
}

export interface HeldStatement {
  /** Whether the statement has come. */
  isReached(): boolean;
  /** Lets go of what is held, and of what would be. */
  release(): void;
}

interface ActiveHold {
  side: 'request' | 'answer';
  fits: (bytes: string) => boolean;
  held: HeldStream | undefined;
  isOver: boolean;
}

export async function startStatementProxy(targetUrl: string): Promise<StatementProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  const holds = new Set<ActiveHold>();

  const server = createServer((client) => {
    const upstream = createConnection({ host: target.hostname, port: Number(target.port) });
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', end).on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    const [request, answer] = [new HeldStream(upstream), new HeldStream(client)];
    client.on('data', (data) => {
      const bytes = data.toString('latin1');
      // A worker that starts names every function whose right it asks for.
      const hold = bytes.includes('"privilege":"EXECUTE"')
        ? undefined
        : [...holds].find(({ held, isOver, fits }) => !held && !isOver && fits(bytes));
      if (hold) {
        hold.held = hold.side === 'request' ? request : answer;
        hold.held.hold();
      }
      request.write(data);
    });
    upstream.on('data', (data) => answer.write(data));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    hold(side, fits) {
      const active: ActiveHold = { side, fits, held: undefined, isOver: false };
      holds.add(active);
      return {
        isReached: () => active.held !== undefined,
        release() {
          active.isOver = true;
          active.held?.release();
        },
      };
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** One direction of a connection. */
class HeldStream {
  private waiting: Buffer[] | null = null;

  constructor(private readonly socket: Socket) {}

  write(data: Buffer): void {
    if (this.waiting) this.waiting.push(data);
    else if (!this.socket.destroyed) this.socket.write(data);
  }

  hold(): void {
    this.waiting ??= [];
  }

  release(): void {
    const waiting = this.waiting ?? [];
    this.waiting = null;
    for (const data of waiting) this.write(data);
  }
}
