import type { Client } from '@temporalio/client';
import { defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import { type Interceptor, endsWithSignal } from './signal.js';

type Call = ReturnType<Interceptor>;

/**
 * The retries of Temporal's client, where one that is due after the connection was closed ends its call: grpc-js would throw out of a
 * timer, which ends the process. A signal ends its calls as well.
 */
export const retriesUntilClosed: Interceptor[] = [
  makeGrpcRetryInterceptor(defaultGrpcRetryOptions()),
  endsWithSignal,
  endsWithConnection,
];

/** The same for a connection that the host made, whose retries we know nothing of: after them, what they call. */
export function endCallsWithConnection({ connection }: Client): void {
  const { options } = connection as { options?: { interceptors?: unknown } };
  // The connection has this array; a frozen one stays as it is.
  if (!Array.isArray(options?.interceptors) || !Object.isExtensible(options.interceptors)) return;
  const interceptors = options.interceptors as Interceptor[];
  if (!interceptors.includes(endsWithConnection)) interceptors.push(endsWithSignal, endsWithConnection);
}

function endsWithConnection(...[options, nextCall]: Parameters<Interceptor>): Call {
  try {
    return nextCall(options) as Call;
  } catch (error) {
    return endedCall(error instanceof Error ? error.message : String(error));
  }
}

const cancelled = 1;

function endedCall(details: string): Call {
  const ended: Pick<
    Call,
    'start' | 'sendMessage' | 'halfClose' | 'cancelWithStatus' | 'getPeer' | 'startRead'
  > = {
    start(metadata, listener) {
      setImmediate(() => {
        listener?.onReceiveMessage?.(null);
        listener?.onReceiveStatus?.({ code: cancelled, details, metadata });
      });
    },
    sendMessage: () => undefined,
    halfClose: () => undefined,
    cancelWithStatus: () => undefined,
    getPeer: () => '',
    startRead: () => undefined,
  };
  return ended as Call;
}
