import { createServer, type AddressInfo, type Server } from 'node:net';

/**
 * Free TCP ports on 127.0.0.1, all different: each the preferred one (that of last time, so that links stay valid) if
 * nothing listens there, else any. They are free only at this moment: a process that binds one must cope with losing
 * it.
 */
export async function freePorts<Name extends string>(
  preferred: Record<Name, number | undefined>,
): Promise<Record<Name, number>> {
  const names = Object.keys(preferred) as Name[];
  // All are held until the last one is found, so that none is used twice.
  const held = await Promise.all(
    names.map(async (name) => [name, (await listen(preferred[name] ?? 0)) ?? (await listen(0))] as const),
  );
  const ports: Partial<Record<Name, number>> = {};
  for (const [name, server] of held) {
    if (server === undefined) throw new Error('The system gives no free port on 127.0.0.1.');
    ports[name] = (server.address() as AddressInfo).port;
    await new Promise((resolve) => server.close(resolve));
  }
  return ports as Record<Name, number>;
}

/** A server on that port (0 = any), or undefined when the port is taken or may not be used. */
function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server));
  });
}
