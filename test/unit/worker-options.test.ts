import { describe, expect, it } from '@jest/globals';
import { Connection } from '@temporalio/client';
import pg from 'pg';
import { idsIn } from '../../temporal/names.js';
import {
  type CreateWorkerOptions,
  checkWorkerOptions,
  optionsFromEnvironment,
} from '../../workers/options.js';
import { releaseOfHost } from '../../workers/release.js';

const least = {
  databaseUrl: 'postgres://localhost/app',
  temporal: { address: 'localhost:7233' },
  workspaceRoots: ['/srv'],
  agentEnvironment: {},
};
const pool = new pg.Pool();
const checked = (options: object) => checkWorkerOptions(options as CreateWorkerOptions);

describe('the options of a worker', () => {
  it.each<[string, object, string]>([
    ['no database', { databaseUrl: undefined }, 'databaseUrl, pool: give one of the two'],
    ['two databases', { pool }, 'databaseUrl, pool: give one of the two'],
    ['another database', { databaseUrl: 'mysql://localhost/app' }, 'databaseUrl: '],
    ['what is no pool', { databaseUrl: undefined, pool: {} }, 'pool: must be a Pool of pg'],
    [
      'a connection of pg in place of a pool',
      { databaseUrl: undefined, pool: new pg.Client() },
      'pool: must be a Pool of pg',
    ],
    ['no Temporal', { temporal: undefined }, 'temporal: must be { address, namespace } or { connection'],
    ['what is no connection', { temporal: { connection: {} } }, 'temporal: '],
    [
      "the client's connection in place of a worker's",
      { temporal: { connection: Connection.lazy() } },
      'with a NativeConnection',
    ],
    ['no roots', { workspaceRoots: [] }, 'workspaceRoots: must name a folder'],
    [
      'a relative root',
      { workspaceRoots: ['/srv', 'projects'] },
      'workspaceRoots.1: must be an absolute path',
    ],
    ['no environment of the agents', { agentEnvironment: undefined }, 'agentEnvironment: '],
    ['no agents', { limits: { maxAgents: 0 } }, 'limits.maxAgents: '],
    ['half an agent', { limits: { maxAgents: 1.5 } }, 'limits.maxAgents: '],
    ['agents as text', { limits: { maxAgents: '4' } }, 'limits.maxAgents: '],
    ['events that are kept for no day', { limits: { eventsDays: 0 } }, 'limits.eventsDays: '],
    ['events that are kept for ever', { limits: { eventsDays: Infinity } }, 'limits.eventsDays: '],
    ['warm as a number', { limits: { warm: 0 } }, 'limits.warm: '],
    ['warm as text', { limits: { warm: '0' } }, 'limits.warm: '],
    ['a period of no day', { retention: { dropDays: 0 } }, 'retention.dropDays: '],
    ['half a day', { retention: { transitionsDays: 0.5 } }, 'retention.transitionsDays: '],
    ['a misspelled period', { retention: { dropDay: 3 } }, 'retention: Unrecognized key: "dropDay"'],
    [
      'transcripts that go before transitions',
      { retention: { transcriptsDays: 10 } },
      'retention.transcriptsDays: 10 days are less than the 30 days',
    ],
    [
      'details that go before transcripts',
      { retention: { detailsDays: 60 } },
      'retention.detailsDays: 60 days are less than the 90 days',
    ],
    ['a relative archive', { retention: { archive: 'archive' } }, 'retention.archive: must be an absolute'],
    [
      'an archive where agents write',
      { retention: { archive: '/srv/../srv/archive' } },
      'retention.archive: /srv/../srv/archive and /srv, where agents write',
    ],
    ['an archive around a root', { retention: { archive: '/' } }, 'retention.archive: / and /srv'],
    ['an unknown limit', { limits: { maxAgent: 4 } }, 'limits: Unrecognized key: "maxAgent"'],
    ['an unknown option', { workspaceRoot: '/srv' }, 'options: Unrecognized key: "workspaceRoot"'],
    ['half a log', { log: { info: () => undefined } }, 'log: must have the methods info and warn'],
    ['no definition', { definition: null }, 'definition: must be what defineChain returned'],
    ['an end without a queue', { onEnd: { activity: 'ended' } }, 'onEnd.taskQueue: '],
    ['an end without an activity', { onEnd: { taskQueue: 'host' } }, 'onEnd.activity: '],
    ['an end by name', { onEnd: 'ended' }, 'onEnd: '],
    ['an end that is nothing', { onEnd: null }, 'onEnd: '],
    [
      'an end on a queue with a zero',
      { onEnd: { activity: 'ended', taskQueue: 'a\0b' } },
      'onEnd.taskQueue: must not hold U+0000 in line 1, column 2',
    ],
    ['a queue with a space', { taskQueue: 'a queue' }, 'taskQueue: '],
  ])('with %s are refused by name', (_what, change, said) => {
    expect(() => checked({ ...least, ...change })).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringContaining(said) }),
    );
  });

  it('name all that is wrong at once', () => {
    expect(() => checked({ ...least, workspaceRoots: [], limits: { maxChats: 0 } })).toThrow(
      /workspaceRoots: .*; limits\.maxChats: /,
    );
  });

  it('have the defaults of the environment', () => {
    const environment = { DATABASE_URL: least.databaseUrl, SESSION_CHAIN_WORKSPACE_ROOTS: '/srv' };
    const {
      log: _,
      agentEnvironment,
      ...fromEnvironment
    } = optionsFromEnvironment({
      ...environment,
      TEMPORAL_ADDRESS: 'localhost:7233',
    });
    const { agentEnvironment: __, ...byDefault } = checked(least);
    expect(fromEnvironment).toEqual({
      ...byDefault,
      temporal: { ...fromEnvironment.temporal, address: 'localhost:7233' },
    });
    expect(agentEnvironment).toMatchObject(environment);
    expect(checked({ ...fromEnvironment, agentEnvironment })).toMatchObject(byDefault);
  });

  it('of an environment name the variable of a policy that makes no sense', () => {
    const environment = { DATABASE_URL: least.databaseUrl, SESSION_CHAIN_WORKSPACE_ROOTS: '/srv' };
    expect(() =>
      optionsFromEnvironment({ ...environment, SESSION_CHAIN_ARCHIVE_TRANSCRIPTS_DAYS: '7' }),
    ).toThrow(/SESSION_CHAIN_ARCHIVE_TRANSCRIPTS_DAYS: 7 days are less than the 30 days/);
  });

  it('of an environment keep what is set there, and a heartbeat under a third of its timeout', () => {
    const options = optionsFromEnvironment({
      DATABASE_URL: least.databaseUrl,
      SESSION_CHAIN_WORKSPACE_ROOTS: '/srv:/mnt',
      SESSION_CHAIN_HEARTBEAT_TIMEOUT_MS: '100',
      SESSION_CHAIN_STATUS_FAILED: '',
      SESSION_CHAIN_MAX_AGENTS: '3',
      TEMPORAL_NAMESPACE: 'builder',
      TEMPORAL_API_KEY: 'key',
    });
    expect(checked(options)).toMatchObject({
      workspaceRoots: ['/srv', '/mnt'],
      limits: { maxAgents: 3, heartbeatThrottleMs: 33 },
      versionStatus: { succeeded: 'deployed', failed: null },
      temporal: { namespace: 'builder', apiKey: 'key' },
    });
  });
});

describe('the release of a worker of the host', () => {
  const version = { deploymentName: 'shop', buildId: 'r7' };
  it.each<[what: string, host: Parameters<typeof releaseOfHost>[0], told: unknown]>([
    ['nothing of its own', {}, null],
    ['a build id of the former kind', { buildId: 'b1' }, { release: 'b1', deployment: undefined }],
    [
      'a version without a deployment in force',
      { workerDeploymentOptions: { version, useWorkerVersioning: false } },
      { release: 'r7', deployment: undefined },
    ],
    [
      'a version that pins',
      {
        workerDeploymentOptions: { version, useWorkerVersioning: true, defaultVersioningBehavior: 'PINNED' },
      },
      { release: 'r7', deployment: { name: 'shop', versioning: 'pinned' } },
    ],
    [
      'a version that upgrades',
      {
        workerDeploymentOptions: {
          ...{
            version,
            useWorkerVersioning: true as const,
            defaultVersioningBehavior: 'AUTO_UPGRADE' as const,
          },
        },
      },
      { release: 'r7', deployment: { name: 'shop', versioning: 'auto-upgrade' } },
    ],
  ])('with %s', (_what, host, told) => {
    expect(releaseOfHost(host)).toEqual(told);
  });
});

it.each([
  ['chain/p/v/b', { projectId: 'p', versionId: 'v', buildId: 'b' }],
  ['end/p/v/b/0b7c', { projectId: 'p', versionId: 'v', buildId: 'b' }],
  ['chat/p/c', { projectId: 'p', chatId: 'c' }],
  ['restore/p', { projectId: 'p' }],
  ['erase/0b7c', {}],
  ['retention/queue', {}],
])('the id of the workflow %s names what it is about', (workflowId, ids) => {
  expect(idsIn(workflowId)).toEqual(ids);
});
