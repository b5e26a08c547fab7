import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { openArchive } from '../../archive/open.js';
import { deleteProject, listParts, readPart, writePart } from '../../archive/part.js';
import type { ArchiveStore } from '../../archive/store.js';
import { type PartHeader, type PartLine, partObject, projectFolder } from '../../contracts/archive.js';
import { SessionChainError } from '../../contracts/failures.js';
import { parseProjectId, parseSessionId } from '../../contracts/ids.js';
import { type HostileProxy, type S3Server, startHostileProxy, startS3 } from '../support/s3.js';

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'session-chain-archive-test-')));
const part = '0b0e7d6a-4a3c-4ddc-8f0e-5f6f2f1f9a01';
const other = '0b0e7d6a-4a3c-4ddc-8f0e-5f6f2f1f9a02';
const header = (of: Partial<PartHeader> = {}) => ({
  ...{ projectId: parseProjectId('shop'), month: '2026-07', part, writtenBy: '0.1.0' },
  ...of,
});

let s3: S3Server;
let proxy: HostileProxy;
let stores: Record<string, ArchiveStore>;

beforeAll(async () => {
  s3 = await startS3();
  proxy = await startHostileProxy(s3.url);
  mkdirSync(join(folder, 'archive'));
  stores = {
    folder: openArchive(join(folder, 'archive'), {}),
    bucket: openArchive(`s3://${s3.bucket}/of/tests`, s3.environment),
  };
});

afterAll(async () => {
  await proxy.stop();
  await s3.stop();
  rmSync(folder, { recursive: true, force: true });
});

const odd = 'U+0001 \u0001, U+0002 \u0002, \u2028 \u2029 \ufeff \ud83d\ude00 \u00e9 \\ " \r\n \u007f \uffff';

describe.each(['folder', 'bucket'])('a %s', (kind) => {
  const store = () => stores[kind] as ArchiveStore;

  it('gives back what was written, character by character, and lists and deletes it', async () => {
    const lines = linesOf([odd, 'x'.repeat(10_000_000), '{"type":"user"}']);
    const written = await writePart(store(), header(), iterate(lines));
    expect(written.counts).toEqual({
      ...{ session: 1, text: 3, append: 2, transition: 1, attempt: 1, metrics: 1, brief: 1 },
    });
    const object = partObject(header());
    await readPart(
      store(),
      object,
      async ({ manifest, lines: read }) => {
        expect(manifest).toMatchObject({ format: 1, project: 'shop', month: '2026-07', part, object });
        expect(await all(read)).toEqual(lines);
        // From the first line again.
        expect((await all(read)).length).toBe(lines.length);
      },
      written,
    );
    // Another worker writes the same.
    expect(await writePart(store(), header(), iterate(lines))).toEqual(written);
    await writePart(store(), header({ projectId: parseProjectId('shop-2') }), iterate(linesOf(['other'])));
    expect(await all(listParts(store(), header().projectId))).toEqual([{ object, month: '2026-07' }]);
    expect(await deleteProject(store(), header().projectId)).toBe(2);
    expect(await deleteProject(store(), header().projectId)).toBe(0);
    expect(await all(listParts(store(), parseProjectId('shop-2')))).toHaveLength(1);
  });

  it('gives no line of what is cut, changed, swapped or missing, and names it', async () => {
    const object = partObject(header());
    const name = `${store().location}/${object}`;
    const lines = linesOf(['one', 'two']);
    const written = await writePart(store(), header(), iterate(lines));
    const replaced = await writePart(store(), header({ part: other }), iterate(linesOf(['newer'])));
    const file = await bytesOf(store(), `${object}.jsonl.gz`);
    const manifest = await bytesOf(store(), `${object}.manifest.json`);
    const change = (members: Record<string, unknown>) =>
      Buffer.from(JSON.stringify({ ...(JSON.parse(manifest.toString()) as object), ...members }));
    const swapped = await bytesOf(store(), `${partObject(header({ part: other }))}.jsonl.gz`);
    const swappedManifest = await bytesOf(store(), `${partObject(header({ part: other }))}.manifest.json`);

    const flipped = Buffer.from(file);
    flipped.writeUInt8(flipped.readUInt8(40) ^ 1, 40);
    // Whoever changes a file with its manifest gets no further than its content.
    const forged = (content: string | Buffer, members: Record<string, unknown> = {}) => {
      const bytes = gzipSync(content);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return [
        bytes,
        change({ bytes: bytes.length, sha256, contentBytes: Buffer.byteLength(content), ...members }),
      ] as const;
    };
    const text = gunzipSync(file).toString();
    const cases: [Buffer | null, Buffer | null, RegExp][] = [
      [file.subarray(0, 100), manifest, /jsonl\.gz of the archive has 100 in place of \d+ bytes/],
      [Buffer.concat([file, Buffer.from('x')]), manifest, /has more than \d+ bytes/],
      [flipped, manifest, /jsonl\.gz of the archive has the SHA-256 [0-9a-f]{64} in place of/],
      [swapped, manifest, /jsonl\.gz of the archive has/],
      [swapped, swappedManifest, /manifest\.json of the archive is that of another part/],
      [file, null, /manifest\.json of the archive is not there/],
      [null, manifest, /jsonl\.gz of the archive is not there/],
      [file, Buffer.from('{"format":1'), /manifest\.json of the archive is not JSON/],
      [file, Buffer.from('null'), /manifest\.json of the archive is wrong/],
      [file, Buffer.alloc(100_000, ' '), /manifest\.json of the archive is too long/],
      [file, change({ format: 2 }), /says that it has format 2; this version knows 1 only/],
      [file, change({ bytes: -1 }), /is wrong: bytes/],
      [file, change({ counts: {} }), /is wrong: counts/],
      [file, change({ project: '../shop' }), /is wrong: project is not the id of a project/],
      [file, change({ contentBytes: 10 }), /unpacks to more than 10 bytes/],
      [
        ...forged('x'.repeat(30_000_000), { contentBytes: Buffer.byteLength(text) }),
        /unpacks to more than|is not JSON/,
      ],
      [...forged(text.replaceAll(part, other)), /is that of the part 0b0e7d6a-4a3c-4ddc-8f0e-5f6f2f1f9a02/],
      [...forged(text.replace('"kind":"brief"', '"kind":"beef!"')), /line 10, of the archive is wrong: kind/],
      [...forged(text.replace('"round":1', '"round":"1"')), /line 8, of the archive is wrong: round/],
      [...forged(text.replace('one', '\\u0000')), /line 3, .* content holds what Postgres does not accept/],
      [...forged(`${text}${text.split('\n')[2]}\n`), /line 11, .* the text [0-9a-f]{64} is there twice/],
      [...forged(text.replace(/\n\{"kind":"text".*/, '')), /the text [0-9a-f]{64} does not stand before/],
      [...forged(text.replace(/\n\{"kind":"session"[^\n]*/, '')), /its session .* does not stand before/],
      [
        ...forged(text.replace(/\n\{"kind":"brief"[^\n]*/, '')),
        /has 0 lines of the kind brief in place of 1/,
      ],
      [...forged(text.slice(0, -1)), /ends in the middle of a line/],
      [...forged(Buffer.from(text.replace('one', 'o\u00ffe'), 'latin1')), /is not UTF-8/],
    ];
    for (const [content, said, message] of cases) {
      await place(`${object}.jsonl.gz`, content);
      await place(`${object}.manifest.json`, said);
      const failure = await failureOf(readPart(store(), object, async () => expect(true).toBe(false)));
      expect(failure).toMatchObject({ code: 'ARCHIVE_DAMAGED', message: expect.stringMatching(message) });
      expect(failure.message).toContain(name);
    }
    // All of it is right, but it is not what the database knows of.
    await place(`${object}.jsonl.gz`, file);
    await place(`${object}.manifest.json`, manifest);
    await readPart(store(), object, async () => undefined, written);
    expect(await failureOf(readPart(store(), object, async () => undefined, replaced))).toMatchObject({
      code: 'ARCHIVE_DAMAGED',
      message: expect.stringMatching(/and not of the one with \d+ bytes and [0-9a-f]{64} that was written/),
    });

    async function place(at: string, content: Buffer | null): Promise<void> {
      if (content === null) return store().delete([at]);
      return put(store(), at, content);
    }
  });

  it('is given no part whose lines contradict each other', async () => {
    const [session, text, append] = linesOf(['one']);
    for (const lines of [
      [session, append, text],
      [text, append],
      [session, session],
      [text, text],
    ]) {
      const failure = failureOf(writePart(store(), header(), iterate(lines as PartLine[])));
      expect(await failure).toMatchObject({ code: 'INTERNAL' });
    }
    // A value that could not be restored is found before anything is deleted.
    const wrong = { ...session, created_at: '2026-07-01 10:00:00+00' } as PartLine;
    expect(await failureOf(writePart(store(), header(), iterate([wrong])))).toMatchObject({
      code: 'ARCHIVE_DAMAGED',
      message: expect.stringContaining('line 2, of the archive is wrong: created_at is not a time in UTC'),
    });
  });
});

describe('names', () => {
  it('of projects are different where the case of letters does not count, and none lies in another', () => {
    const ids = [
      ...['shop', 'Shop', 'sHop', 's_hop', 's__hop', 's:hop', 's_-hop', 's-hop', 'a..', 'a.', 'a', 'a_', 'A'],
      ...['x'.repeat(255), 'X'.repeat(255), 'x'.repeat(254), 'x'.repeat(200), `${'x'.repeat(200)}2026-07`],
      ...[`${'x'.repeat(199)}Y`, `${'x'.repeat(199)}_y`, `${'x'.repeat(199)}y`, `9${':'.repeat(254)}`],
    ].map(parseProjectId);
    const folders = ids.map((id) => `${projectFolder(id)}/`);
    expect(new Set(folders.map((name) => name.toLowerCase())).size).toBe(ids.length);
    for (const one of folders) {
      expect(folders.filter((name) => name !== one && name.startsWith(one))).toEqual([]);
      const names = one.slice(0, -1).split('/');
      expect(names.filter((name) => name.length > 255 || /^\.*$/.test(name))).toEqual([]);
    }
  });
});

describe('a folder', () => {
  it('is not taken where it is missing, a file, outside, read-only or full', async () => {
    const at = (name: string) => join(folder, name);
    const write = (path: string, texts = ['one']) =>
      failureOf(writePart(openArchive(path, {}), header(), iterate(linesOf(texts))));
    expect(await write(at('missing'))).toMatchObject({
      code: 'ARCHIVE_UNAVAILABLE',
      message: expect.stringContaining(
        `could not write ${at('missing')}/projects/shop/2026-07/${part}.jsonl.gz: no such file or directory (ENOENT)`,
      ),
    });
    expect(existsSync(at('missing'))).toBe(false);
    writeFileSync(at('file'), '');
    expect((await write(at('file'))).message).toMatch(/not a directory \(ENOTDIR\)/);
    for (const object of ['../file', 'projects/../../file', '']) {
      await expect(stores['folder']?.delete([object])).rejects.toThrow(/is outside the archive/);
    }
    expect(existsSync(at('file'))).toBe(true);
    for (const setting of [
      'archive',
      '',
      '/a\0b',
      's3://x',
      's3://bucket/../other',
      's3://bucket/a//b',
      's3://u:p@bucket',
    ])
      expect(() => openArchive(setting, {})).toThrow(/neither an absolute path nor s3:/);

    // What a writer left behind that was killed goes with the next one.
    mkdirSync(at(`archive/projects/shop/2026-07`), { recursive: true });
    writeFileSync(at(`archive/projects/shop/2026-07/.${part}.jsonl.gz.1.partial`), 'half');
    await writePart(stores['folder'] as ArchiveStore, header(), iterate(linesOf(['one'])));
    expect(readdirSync(at('archive/projects/shop/2026-07')).filter((name) => name.startsWith('.'))).toEqual(
      [],
    );

    mkdirSync(at('small'));
    if (!mount('-t', 'tmpfs', '-o', 'size=64k', 'none', at('small'))) return;
    try {
      const noise = Array.from({ length: 4000 }, (_, at) =>
        createHash('sha256').update(`${at}`).digest('hex'),
      );
      expect((await write(at('small'), [noise.join('')])).message).toMatch(
        /no space left on device \(ENOSPC\)/,
      );
      expect(readdirSync(at(`small/projects/shop/2026-07`))).toEqual([]);
      expect(mount('-o', 'remount,ro', at('small'))).toBe(true);
      expect((await write(at('small'))).message).toMatch(/read-only file system \(EROFS\)/);
    } finally {
      execFileSync('umount', [at('small')]);
    }
  });
});

describe('a bucket', () => {
  const through = (environment: Record<string, string> = {}, timeoutMs = 60_000, bucket = s3.bucket) =>
    openArchive(
      `s3://${bucket}/of/tests`,
      { ...s3.environment, AWS_ENDPOINT_URL: proxy.url, ...environment },
      { timeoutMs },
    );
  const write = (store: ArchiveStore) => failureOf(writePart(store, header(), iterate(linesOf(['one']))));
  const isPut = ({ method }: { method?: string | undefined }) => method === 'PUT';
  const tookTooLongToWrite = (name: string, { message }: SessionChainError) =>
    name === 'drips' && /could not write .* took too long/.test(message);

  it('is not taken that does not exist, or with wrong credentials, of which no message has any', async () => {
    const object = `projects/shop/2026-07/${part}.jsonl.gz`;
    expect(await write(through({}, undefined, 'no-such-bucket'))).toMatchObject({
      code: 'ARCHIVE_UNAVAILABLE',
      message: `The archive could not write s3://no-such-bucket/of/tests/${object}: the server answered 404 NoSuchBucket.`,
    });
    const wrong = [
      { AWS_SECRET_ACCESS_KEY: 'canary-of-a-secret-key' },
      { AWS_ACCESS_KEY_ID: 'AKIACANARYOFANID' },
      { AWS_SESSION_TOKEN: 'canary-of-a-token' },
      { AWS_ENDPOINT_URL: 'http://127.0.0.1:1' },
    ];
    for (const environment of wrong) {
      const store = through(environment);
      const failure = await write(store);
      expect(failure.code).toBe('ARCHIVE_UNAVAILABLE');
      expect(failure.message).toMatch(/the server answered 40[03] \w+\.$|ECONNREFUSED/);
      const shown = `${failure.stack} ${failure.remedy} ${JSON.stringify(failure)} ${store.location}`;
      for (const secret of [...Object.values(environment), s3.environment['AWS_SECRET_ACCESS_KEY']])
        if (!secret?.startsWith('http')) expect(shown).not.toContain(secret);
      expect(failure.cause).toBeUndefined();
    }
    expect(() => through({ AWS_ENDPOINT_URL: 'http://user:canary@host' })).toThrow(
      /^AWS_ENDPOINT_URL is not an address by http or https without user and password\.$/,
    );
  });

  it('that is slow, full, broken or lies is found out', async () => {
    const answers = (status: number, code: string) => (response: ServerResponse) => {
      response.writeHead(status, { 'content-type': 'application/xml' });
      response.end(`<Error><Code>${code}</Code><Message>of ${status}</Message></Error>`);
    };
    const take = (response: ServerResponse) => response.writeHead(200, { etag: '"0"' }).end();
    const faults: [string, HostileProxy['answer'], string, RegExp][] = [
      ['silent', () => undefined, 'ARCHIVE_UNAVAILABLE', /: it took too long\.$/],
      ['cuts', (request) => request.destroy(), 'ARCHIVE_UNAVAILABLE', /ECONNRESET|socket hang up/],
      [
        'cuts the answer',
        (request, response, pass) => {
          if (isPut(request)) return pass();
          response.writeHead(200, { 'content-length': '100' });
          response.write('{');
          setImmediate(() => response.destroy());
        },
        'ARCHIVE_UNAVAILABLE',
        /could not read .*manifest\.json: (aborted|.*ECONNRESET)/,
      ],
      [
        'drips',
        (request, response, pass) => {
          if (isPut(request)) return pass();
          response.writeHead(200, { 'content-length': '100000' });
          const drops = setInterval(() => response.write(' '), 20);
          response.on('close', () => clearInterval(drops));
        },
        'ARCHIVE_UNAVAILABLE',
        /could not read .*manifest\.json: it took too long/,
      ],
      ['is busy', (_, response) => answers(503, 'SlowDown')(response), 'ARCHIVE_UNAVAILABLE', /503 SlowDown/],
      [
        'is full',
        (_, response) => answers(507, 'XMinioStorageFull')(response),
        'ARCHIVE_UNAVAILABLE',
        /could not write s3:\/\/archive\/of\/tests\/projects\/shop.*: the server answered 507 XMinioStorageFull/,
      ],
      [
        'stores nothing',
        (request, response, pass) => (isPut(request) ? request.resume() && take(response) : pass()),
        'ARCHIVE_DAMAGED',
        /manifest\.json of the archive is not there/,
      ],
      [
        'stores nothing but the manifest',
        (request, response, pass) =>
          isPut(request) && request.url?.includes('.gz') ? request.resume() && take(response) : pass(),
        'ARCHIVE_DAMAGED',
        /jsonl\.gz of the archive is not there/,
      ],
    ];
    const shop = parseProjectId('shop');
    for (const [name, answer, code, message] of faults) {
      await deleteProject(stores['bucket'] as ArchiveStore, shop);
      proxy.answer = answer;
      const waits = ['silent', 'drips'].includes(name);
      let failure: SessionChainError | undefined;
      // One that drips takes what is written first, for which a time that is short may not be enough.
      for (let timeoutMs = 1_000; !failure || tookTooLongToWrite(name, failure); timeoutMs *= 2)
        failure = await write(through({}, waits ? timeoutMs : undefined));
      expect([name, failure.code, failure.message]).toEqual([name, code, expect.stringMatching(message)]);
    }

    // An answer that passes is not the end.
    proxy.requests = 0;
    proxy.answer = (_request, response, pass) =>
      proxy.requests === 1 ? answers(503, 'SlowDown')(response) : pass();
    const before = await writePart(through(), header(), iterate(linesOf(['one'])));

    // What was there before in place of what was just stored, by itself or as a whole.
    proxy.answer = (request, response, pass) =>
      isPut(request) ? request.resume() && take(response) : pass();
    const old = await failureOf(writePart(through(), header(), iterate(linesOf(['two']))));
    expect(old).toMatchObject({
      code: 'ARCHIVE_DAMAGED',
      message: expect.stringContaining(
        `is of a file with ${before.bytes} bytes and SHA-256 ${before.sha256}`,
      ),
    });
    proxy.answer = (request, response, pass) =>
      isPut(request) && request.url?.includes('.gz') ? request.resume() && take(response) : pass();
    expect((await failureOf(writePart(through(), header(), iterate(linesOf(['three']))))).message).toMatch(
      /jsonl\.gz of the archive has/,
    );
    // Half of it, in a file of the length that was said.
    proxy.answer = (request, response, pass) => {
      if (isPut(request) || !request.url?.includes('.gz')) return pass();
      response.writeHead(200, { 'content-length': before.bytes });
      response.end(Buffer.alloc(before.bytes));
    };
    expect((await failureOf(writePart(through(), header(), iterate(linesOf(['one']))))).message).toMatch(
      /jsonl\.gz of the archive has the SHA-256/,
    );
    // It says that it deletes.
    proxy.answer = (request, response, pass) =>
      request.method === 'DELETE' ? response.writeHead(204).end() : pass();
    expect(await failureOf(deleteProject(through(), shop))).toMatchObject({
      code: 'ARCHIVE_UNAVAILABLE',
      message: expect.stringMatching(/could not delete s3:.*: it is still there after it was deleted/),
    });
  });
});

function linesOf(texts: string[]): PartLine[] {
  const sessionId = parseSessionId('8d0e5c5a-6b0c-4bb1-b1b2-0f6a2f1c9b01');
  const at = '2026-07-01T10:00:00.123456Z';
  const digests = texts.map((text) => createHash('sha256').update(text).digest('hex'));
  const append = (ordinal: number, entries: string[]) => ({
    ...{ kind: 'append', session_id: sessionId, ordinal, append_id: part, subpath: '' },
    ...{ patch: digests[0] ?? null, entries },
  });
  return [
    {
      ...{ kind: 'session', session_id: sessionId, parent_session_id: null, created_at: at, appended_at: at },
      ...{ appended_bytes: '9007199254740993', batches: 2, entries: '3', messages: '2', context_tokens: '0' },
      ...{ sealed_at: at, quarantined_at: null, quarantine_reason: odd, given_up_at: null },
    },
    ...texts.map((content, index) => ({ kind: 'text', digest: digests[index], content })),
    append(1, digests),
    ...(texts.length > 1 ? [append(2, [...digests].reverse())] : []),
    {
      ...{ kind: 'transition', id: '1', seq: '1', version_id: null, old_session_id: null },
      ...{
        new_session_id: sessionId,
        source: 'build',
        created_at: at,
        parent_session_id: null,
        step: 'build',
      },
      ...{ attempt_id: '7', rewound_to: null, host: '{"amount": 0.10000000000000000000001}' },
    },
    {
      ...{ kind: 'attempt', id: '7', session_id: sessionId, base_session_id: null, version_id: 'v1' },
      ...{ build_id: 'v1', chain: '3', ticket: '1', step: 'build', round: 1, role: 'build', attempt: 1 },
      ...{ adopts: null, input_digest: 'd', epoch: null, worker: 'w', state: 'committed', scheduled_at: at },
      ...{ started_at: at, seen_at: at, lease_ms: 1000, ended_at: at, result: '{}', value: null },
      ...{ failure: null, evidence: null },
    },
    {
      ...{
        kind: 'metrics',
        id: '1',
        attempt_id: '7',
        session_id: sessionId,
        version_id: 'v1',
        build_id: 'v1',
      },
      ...{ step: 'build', model: 'm', agent_version: '1', outcome: 'committed', turns: 1, input_tokens: '1' },
      ...{ output_tokens: '1', cache_read_tokens: '0', cache_write_tokens: '0', cost_usd: '0.092200000' },
      ...{ cost_derived: false, duration_ms: '1', api_duration_ms: '1', turn_in_flight_unknown: false },
      ...{ usage_by_model: '{}', created_at: at, host: '{}' },
    },
    {
      ...{ kind: 'brief', chain: '3', head_session_id: sessionId, content: odd, parts: '[]', created_at: at },
    },
  ] as PartLine[];
}

async function* iterate<T>(values: readonly T[]): AsyncIterable<T> {
  yield* values;
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}

async function failureOf(promise: Promise<unknown>): Promise<SessionChainError> {
  return promise.then(
    () => {
      throw new Error('It succeeded.');
    },
    (error: SessionChainError) => {
      if (error instanceof SessionChainError) return error;
      throw error;
    },
  );
}

async function bytesOf(store: ArchiveStore, object: string): Promise<Buffer> {
  const content = await store.get(object);
  if (content === null) throw new Error(`${object} is not there.`);
  return Buffer.concat(await all(content));
}

async function put(store: ArchiveStore, object: string, content: Buffer): Promise<void> {
  const sha256 = createHash('sha256').update(content).digest('hex');
  await store.put(object, { bytes: content.length, sha256, read: () => Readable.from([content]) });
}

function mount(...args: string[]): boolean {
  return spawnSync('mount', args).status === 0;
}
