import { connect } from 'node:net';
import { once } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import { Agent, Client, type Dispatcher, ProxyAgent } from 'undici';
import { SessionChainError } from '../../contracts/failures.js';

/**
 * How the worker itself reaches other hosts: directly, or through the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY of
 * its own environment names, except for what NO_PROXY lists. Connections are kept and shared by all runs.
 */
export interface Upstream {
  request(url: URL, options: UpstreamRequest): Promise<Dispatcher.ResponseData>;
  /** A connection for bytes of any kind. Rejects where there is none. */
  tunnel(host: string, port: number): Promise<Duplex>;
}

interface UpstreamRequest {
  method: Dispatcher.HttpMethod;
  headers: Record<string, string | string[]>;
  body: Readable | Buffer | null;
  signal: AbortSignal;
}

type Environment = Readonly<Record<string, string | undefined>>;

// Claude Code decides how long it waits for an answer, and for the next part of one.
const patience = { headersTimeout: 0, bodyTimeout: 0 };

/** Throws INVALID_INPUT where the environment names a proxy that cannot be used. */
export function createUpstream(environment: Environment): Upstream {
  const proxyOf = proxiesOf(environment);
  const direct = new Agent(patience);
  const throughProxies = new Map<string, Dispatcher>();

  function dispatcherFor(url: URL): Dispatcher {
    const proxy = proxyOf(url);
    if (proxy === null) return direct;
    let through = throughProxies.get(url.protocol);
    if (through === undefined) {
      const proxyTunnel = url.protocol === 'https:';
      through = new ProxyAgent({ uri: proxy.origin, ...tokenOf(proxy), proxyTunnel, ...patience });
      throughProxies.set(url.protocol, through);
    }
    return through;
  }

  return {
    request(url, options) {
      return dispatcherFor(url).request({ origin: url.origin, path: url.pathname + url.search, ...options });
    },
    async tunnel(host, port) {
      const proxy = proxyOf(new URL(`https://${host}:${port}`));
      if (proxy === null) {
        const socket = connect({ host: host.replace(/^\[|\]$/g, ''), port });
        await once(socket, 'connect');
        return socket;
      }
      const { token } = tokenOf(proxy);
      const { statusCode, socket } = await new Client(proxy.origin).connect({
        path: `${host}:${port}`,
        headers: { host: `${host}:${port}`, ...(token && { 'proxy-authorization': token }) },
      });
      if (statusCode === 200) return socket;
      socket.on('error', () => undefined).destroy();
      throw Object.assign(new Error(`The worker's proxy answered ${statusCode}.`), { code: 'EPROXY' });
    },
  };
}

function tokenOf({ username, password }: URL): { token?: string } {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { token: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** Which proxy the environment names for a URL; null for none. */
function proxiesOf(environment: Environment): (url: URL) => URL | null {
  const valueOf = (name: string) => environment[name.toLowerCase()] || environment[name] || undefined;
  const proxyNamed = (name: string) => {
    const value = valueOf(name);
    if (value === undefined) return null;
    const address = value.includes('://') ? value : `http://${value}`;
    const url = URL.canParse(address) ? new URL(address) : null;
    if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
    // Not the value: it may hold a password.
    throw new SessionChainError('INVALID_INPUT', `${name} is not the address of a proxy by HTTP.`);
  };
  const all = proxyNamed('ALL_PROXY');
  const [http, https] = [proxyNamed('HTTP_PROXY') ?? all, proxyNamed('HTTPS_PROXY') ?? all];
  const exceptions = (valueOf('NO_PROXY') ?? '')
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
  const isException = ({ hostname, port, protocol }: URL) =>
    exceptions.some((exception) => {
      if (exception === '*') return true;
      const [, name = '', onlyPort] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(exception) ?? [];
      if (onlyPort !== undefined && onlyPort !== (port || (protocol === 'https:' ? '443' : '80')))
        return false;
      return hostname === name || hostname.endsWith(`.${name}`);
    });
  return (url) => (isException(url) ? null : url.protocol === 'https:' ? https : http);
}
