import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { createProgram } from '../../cli/program.js';
import { readConfig } from '../../config/environment.js';
import { searchAttributes } from '../../temporal/attributes.js';

interface Service {
  image?: string;
  build?: string;
  restart?: string;
  entrypoint?: string[];
  command?: string[];
  depends_on?: Record<string, { condition: string }>;
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  healthcheck?: { test: string[] };
  stop_grace_period?: string;
  init?: boolean;
  networks?: string[];
  configs?: { source: string; target: string }[];
  security_opt?: string[];
  cap_drop?: string[];
  cap_add?: string[];
  read_only?: boolean;
  tmpfs?: string[];
  pids_limit?: number;
  mem_limit?: string;
  cpus?: string;
}

const root = join(import.meta.dirname, '../..');
const text = (file: string) => readFileSync(join(root, file), 'utf8');
const compose = parse(text('docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
  networks: Record<string, { internal?: boolean }>;
  configs: Record<string, { content: string }>;
};
const services = Object.entries(compose.services);
const service = (name: string) => compose.services[name] ?? {};

describe('docker-compose.yml', () => {
  it('is a valid compose file', () => {
    const linter = join(root, 'node_modules/dclint/bin/dclint.cjs');
    const { stdout, status } = spawnSync(process.execPath, [linter, '--quiet', 'docker-compose.yml'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(stdout.trim()).toBe('');
    expect(status).toBe(0);
  });

  it('has the servers, the migration job and the worker', () => {
    expect(Object.keys(compose.services)).toEqual(
      expect.arrayContaining([
        'temporal',
        'temporal-ui',
        'temporal-db',
        'app-db',
        'cache',
        'migrate',
        'worker',
        'server',
      ]),
    );
  });

  it.each(services)('%s pins its image to a version', (_, { image }) => {
    expect(image).toMatch(/^[a-z0-9/-]+:v?\d+\.\d+[A-Za-z0-9.-]*$/);
  });

  it.each(services)(
    '%s waits only for services that exist, and for what they can tell',
    (_, { depends_on = {} }) => {
      for (const [name, { condition }] of Object.entries(depends_on)) {
        const other = service(name);
        expect(Object.keys(compose.services)).toContain(name);
        expect(condition).toBe(other.healthcheck ? 'service_healthy' : 'service_completed_successfully');
      }
    },
  );

  it.each(services)(
    '%s either runs on and has a health check, or ends and stays ended',
    (_, { restart, healthcheck }) => {
      expect(restart).toBe(healthcheck ? 'unless-stopped' : 'no');
    },
  );

  it.each(services)('%s publishes nothing beyond this machine', (_, { ports = [] }) => {
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  it.each(services)('%s uses declared volumes', (_, { volumes = [] }) => {
    for (const volume of volumes) {
      const [source = ''] = withDefaults(volume).split(':');
      expect(Object.keys(compose.volumes)).toContain(source);
    }
  });

  it('keeps secrets out of the file and names every required variable in .env.example', () => {
    const required = [...text('docker-compose.yml').matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name);
    expect(new Set(required)).toEqual(
      new Set([
        ...['TEMPORAL_DB_PASSWORD', 'APP_DB_ADMIN_PASSWORD', 'APP_DB_PASSWORD', 'SERVER_DB_PASSWORD'],
        'CACHE_PASSWORD',
      ]),
    );
    for (const name of required) expect(text('.env.example')).toContain(`\n${name}=\n`);
    for (const [, { environment = {} }] of services) {
      for (const [name, value] of Object.entries(environment)) {
        if (/PASSWORD|PWD|KEY|TOKEN|SECRET/.test(name)) expect(value).toMatch(/^\$\{\w+:[-?]/);
      }
    }
  });

  it.each(services.filter(([, { build }]) => build))(
    '%s calls a command that there is',
    (name, { command = [], healthcheck }) => {
      const names = createProgram(() => undefined).commands.map((command) => command.name());
      expect([...names, '--help']).toContain(command[0]);
      if (healthcheck && name !== 'server')
        expect(healthcheck.test.slice(0, 3)).toEqual(['CMD', 'session-chain', 'doctor']);
    },
  );

  it.each(['worker', 'server'])('gives the %s more time to stop than that gives its work', (name) => {
    const { SESSION_CHAIN_SHUTDOWN_GRACE_MS: graceMs } = readConfig({});
    const [, minutes = '0'] = /^(\d+)m$/.exec(service(name).stop_grace_period ?? '') ?? [];
    expect(Number(minutes) * 60_000).toBeGreaterThan(graceMs + 10_000);
    expect(service(name).init).toBe(true);
  });

  it('configures the server by variables that are read, and looks where it listens', () => {
    const environment = Object.fromEntries(
      Object.entries(service('server').environment ?? {}).map(([name, value]) => [name, withDefaults(value)]),
    );
    const { SESSION_CHAIN_HTTP_PORT: port, ...config } = readConfig(environment);
    expect(config).toMatchObject({ SESSION_CHAIN_HTTP_HOST: '0.0.0.0', SESSION_CHAIN_HTTP_ORIGINS: [] });
    expect(service('server').ports?.map(withDefaults)).toEqual([`127.0.0.1:${port}:${port}`]);
    const [, , , script = ''] = service('server').healthcheck?.test ?? [];
    expect(script).toContain(`http://127.0.0.1:${port}/readyz`);
    expect(spawnSync(process.execPath, ['--check', '-'], { input: script }).status).toBe(0);
  });

  it('configures the worker by variables that are read, with values that are accepted', () => {
    const environment = Object.fromEntries(
      Object.entries(service('worker').environment ?? {}).map(([name, value]) => [name, withDefaults(value)]),
    );
    const config = readConfig(environment);
    expect(config).toMatchObject({
      SESSION_CHAIN_WORKSPACE_ROOTS: ['/workspaces'],
      hasModelCredentials: false,
    });
    expect(service('worker').volumes?.map((volume) => withDefaults(volume))).toEqual([
      'workspaces:/workspaces',
    ]);
  });

  it('registers the search attributes of chains', () => {
    const script = service('temporal-namespace').command?.[0];
    for (const { name } of Object.values(searchAttributes)) expect(script).toContain(name);
  });

  it.each(['temporal-schema', 'temporal-namespace', 'cache'])(
    '%s runs a script that the shell can read',
    (name) => {
      const { entrypoint, command } = service(name);
      expect(entrypoint).toEqual(['/bin/sh', '-euc']);
      const script = (command?.[0] ?? '').replaceAll('$$', '$');
      expect(spawnSync('/bin/sh', ['-nc', script], { encoding: 'utf8' })).toMatchObject({
        status: 0,
        stderr: '',
      });
    },
  );
});

describe('the walls of docker-compose.yml', () => {
  it.each(services)('%s gains no rights and has bounds', (name, service) => {
    expect(service.security_opt).toContain('no-new-privileges:true');
    expect(service.cap_drop).toEqual(['ALL']);
    if (service.image?.startsWith('postgres:'))
      expect(service.cap_add).toEqual(['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID']);
    else expect(service.cap_add).toBeUndefined();
    if (['migrate', 'cli'].includes(name)) return; // They run one command of ours, and no agent.
    expect(service.pids_limit).toBeGreaterThan(0);
    expect(service.mem_limit).toMatch(/\dg|\dm|:-8g/);
  });

  it('lets a service reach only what it works with', () => {
    const reach = (name: string) =>
      services
        .filter(
          ([other, { networks = [] }]) =>
            other !== name && networks.some((net) => service(name).networks?.includes(net)),
        )
        .map(([other]) => other)
        .sort();
    expect(reach('temporal-db')).toEqual(['temporal', 'temporal-schema']);
    expect(reach('cache')).toEqual(['cli', 'worker']);
    expect(reach('app-db')).toEqual(['cli', 'migrate', 'server', 'worker']);
    expect(reach('migrate')).toEqual(['app-db', 'cli', 'server', 'worker']);
    expect(reach('worker')).not.toContain('temporal-db');
    for (const [, { networks = [] }] of services) {
      expect(networks).not.toEqual([]);
      for (const name of networks) expect(Object.keys(compose.networks)).toContain(name);
    }
  });

  it('leads outside only for the worker, and for ports of this machine', () => {
    const open = Object.entries(compose.networks).flatMap(([name, { internal }]) => (internal ? [] : [name]));
    for (const [name, { networks = [], ports = [] }] of services) {
      const isOpen = networks.some((network) => open.includes(network));
      expect([name, isOpen]).toEqual([name, name === 'worker' || ports.length > 0]);
    }
  });

  it('lets the sandbox be made in the worker, on a root that is read-only', () => {
    for (const name of ['worker', 'cli', 'migrate']) {
      const { security_opt: options = [], read_only: isReadOnly, tmpfs = [] } = service(name);
      const seccomp = options.find((option) => option.startsWith('seccomp='))?.slice('seccomp='.length) ?? '';
      expect(JSON.parse(text(seccomp))).toMatchObject({ defaultAction: 'SCMP_ACT_ALLOW' });
      expect(options).toContain('systempaths=unconfined');
      expect(isReadOnly).toBe(true);
      for (const folder of tmpfs) expect(folder).toMatch(/^\/(tmp|home\/node):mode=\d+,.*size=\d+[mg]/);
    }
    const dockerfile = text('Dockerfile');
    for (const name of ['bubblewrap', 'socat', 'util-linux']) expect(dockerfile).toContain(` ${name}`);
  });

  it('gives the worker a role that owns nothing, and the migration the owner', () => {
    const roleOf = (name: string) =>
      new URL(withDefaults(service(name).environment?.['DATABASE_URL'] ?? '')).username;
    expect(['worker', 'cli', 'server', 'migrate'].map(roleOf)).toEqual([
      'session_chain',
      'session_chain',
      'session_chain_server',
      'session_chain_owner',
    ]);
    expect(service('migrate').command).toEqual([
      'migrate',
      '--grants',
      'worker=session_chain,client=session_chain,client=session_chain_server,server=session_chain_server',
    ]);
    const [config] = service('app-db').configs ?? [];
    const sql = compose.configs[config?.source ?? '']?.content ?? '';
    for (const role of ['session_chain', 'session_chain_server', 'session_chain_owner'])
      expect(sql).toContain(`CREATE ROLE ${role} LOGIN`);
    expect(sql).toContain('CREATE DATABASE session_chain OWNER session_chain_owner');
    expect(sql).not.toMatch(/SUPERUSER|CREATEROLE/);
    for (const [, variable = ''] of sql.matchAll(/\\getenv \w+ (\w+)/g))
      expect(Object.keys(service('app-db').environment ?? {})).toContain(variable);
  });

  it('keeps the password of the cache off its command line', () => {
    const script = (service('cache').command?.[0] ?? '')
      .replaceAll('$$', '$')
      .replace('valkey-server', 'cat');
    const [line = '', ...rest] = script.replace(/ --.*(?=<<)/, ' ').split('\n');
    const { stdout } = spawnSync('/bin/sh', ['-euc', [line, ...rest].join('\n')], {
      env: { PATH: process.env['PATH'], CACHE_PASSWORD: 'hidden' },
      encoding: 'utf8',
    });
    expect(stdout).toBe('requirepass hidden\n');
    expect(script.split('<<')[0]).not.toContain('PASSWORD');
  });
});

describe('the image', () => {
  const dockerfile = text('Dockerfile');

  it('is the version that the package has', () => {
    const { version } = JSON.parse(text('package.json')) as { version: string };
    expect(service('worker').image).toBe(`session-chain:${version}`);
  });

  it('starts from pinned images and does not run as root', () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    for (const base of bases) expect(base).toMatch(/^node:22\.\d+\.\d+-bookworm-slim$/);
    expect(dockerfile.match(/^USER .*$/gm)).toEqual(['USER node']);
  });

  it('is built from every room', () => {
    const allowed = text('.dockerignore');
    const rooms = readdirSync(root)
      .filter((name) => !/^(\.|node_modules$|dist$|test$|bench$)/.test(name))
      .filter((name) => statSync(join(root, name)).isDirectory())
      .filter((name) =>
        readdirSync(join(root, name)).some((file) => file.endsWith('.ts') || file.endsWith('.sql')),
      );
    for (const room of rooms) expect(allowed).toContain(`\n!${room}/\n`);
  });
});

/** What compose makes of a value when nothing is set; required variables get a stand-in. */
function withDefaults(value: string): string {
  return value.replace(/\$\{\w+:-([^}]*)\}/g, '$1').replace(/\$\{\w+:\?[^}]*\}/g, 'secret');
}
