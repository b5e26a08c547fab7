import type { Readable } from 'node:stream';
import type * as Sdk from '@aws-sdk/client-s3';
import { SessionChainError } from '../contracts/failures.js';
import { credentialsIn, withoutValues } from '../contracts/secrets.js';
import { type ArchiveContent, type ArchiveStore, unavailable } from './store.js';

export interface S3Place {
  bucket: string;
  /** Empty, or without a slash at its beginning and its end. */
  prefix: string;
  environment: Readonly<Record<string, string | undefined>>;
  /** How long the archive may keep silent. A transfer may take longer, by its size. */
  timeoutMs: number;
}

/** Slower than that, in bytes per millisecond, counts as not going on. */
const slowest = 200;
const tries = 3;
const tooLong = 'it took too long';

/**
 * An archive in a bucket of S3, or of a server that AWS_ENDPOINT_URL names. Of S3, only what other servers have, too: put,
 * get, list and delete of one object.
 */
export function openS3({ bucket, prefix, environment, timeoutMs }: S3Place): ArchiveStore {
  const location = `s3://${[bucket, prefix].filter(Boolean).join('/')}`;
  const configuration = configurationIn(environment, timeoutMs);
  const keyOf = (object: string) => (prefix === '' ? object : `${prefix}/${object}`);
  const secrets = credentialsIn(environment);
  let connection: ReturnType<typeof connect> | undefined;

  // Loaded when it is needed: it takes longer than the rest of a command line together.
  async function connect() {
    const sdk = await import('@aws-sdk/client-s3');
    return { s3: new sdk.S3Client(configuration), sdk };
  }

  async function carryOut<T>(
    operation: Parameters<typeof unavailable>[0],
    object: string,
    deadline: Deadline,
    work: (s3: Sdk.S3Client, sdk: typeof Sdk, abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    try {
      const { s3, sdk } = await (connection ??= connect());
      return await work(s3, sdk, deadline.signal);
    } catch (error) {
      throw asUnavailable(error, operation, object, deadline);
    }
  }

  function asUnavailable(
    error: unknown,
    operation: Parameters<typeof unavailable>[0],
    object: string,
    deadline: Deadline,
  ): SessionChainError {
    const why = deadline.signal.aborted ? tooLong : withoutValues(reasonOf(error), secrets);
    return unavailable(operation, `${location}/${object}`, why);
  }

  async function put(object: string, content: ArchiveContent): Promise<void> {
    const { bytes, sha256 } = content;
    await carryOut('write', object, within(timeoutMs, bytes), async (s3, sdk, abortSignal) => {
      for (let attempt = 1; ; attempt++) {
        const body = content.read();
        try {
          await s3.send(
            new sdk.PutObjectCommand({
              Bucket: bucket,
              Key: keyOf(object),
              Body: body,
              ContentLength: bytes,
              ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64'),
            }),
            { abortSignal },
          );
          return;
        } catch (error) {
          // The library does not send a stream again.
          if (attempt === tries || abortSignal.aborted || !mayPass(error)) throw error;
        } finally {
          body.destroy();
        }
      }
    });
  }

  async function get(object: string): Promise<AsyncIterable<Buffer> | null> {
    const deadline = within(timeoutMs);
    const found = await carryOut('read', object, deadline, async (s3, sdk, abortSignal) => {
      const command = new sdk.GetObjectCommand({ Bucket: bucket, Key: keyOf(object) });
      return s3.send(command, { abortSignal }).catch((error: unknown) => {
        if ((error as Error).name === 'NoSuchKey') return null;
        throw error;
      });
    });
    return found && reading(object, found, deadline);
  }

  async function* reading(object: string, found: Sdk.GetObjectCommandOutput, deadline: Deadline) {
    // The signal of the request ends its body, too.
    deadline.renew(found.ContentLength ?? 0);
    const body = found.Body as Readable;
    try {
      for await (const chunk of body) yield chunk as Buffer;
    } catch (error) {
      throw asUnavailable(error, 'read', object, deadline);
    } finally {
      body.destroy();
    }
  }

  async function* list(folder: string) {
    let token: string | undefined;
    do {
      const page = await carryOut('list', folder, within(timeoutMs), async (s3, sdk, abortSignal) =>
        s3.send(
          new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: keyOf(folder), ContinuationToken: token }),
          { abortSignal },
        ),
      );
      for (const { Key = '', Size = 0 } of page.Contents ?? [])
        yield { object: prefix === '' ? Key : Key.slice(prefix.length + 1), bytes: Size };
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }

  async function remove(objects: readonly string[]): Promise<void> {
    for (const object of objects) {
      await carryOut('delete', object, within(timeoutMs), async (s3, sdk, abortSignal) =>
        s3.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: keyOf(object) }), { abortSignal }),
      );
    }
  }

  return { location, put, get, list, delete: remove };
}

interface Deadline {
  signal: AbortSignal;
  /** Begins anew, for that many bytes. */
  renew(bytes: number): void;
}

function within(timeoutMs: number, bytes = 0): Deadline {
  const controller = new AbortController();
  const timer = (size: number) =>
    setTimeout(() => controller.abort(), timeoutMs + Math.ceil(size / slowest)).unref();
  let running = timer(bytes);
  return {
    signal: controller.signal,
    renew(size) {
      clearTimeout(running);
      running = timer(size);
    },
  };
}

/** Of the environment, what the library would not take by itself: it is the environment of this process or another. */
function configurationIn(environment: S3Place['environment'], timeoutMs: number): Sdk.S3ClientConfig {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = environment;
  const { AWS_SESSION_TOKEN: sessionToken, AWS_PROFILE: profile } = environment;
  const endpoint = endpointIn(environment);
  const region = environment.AWS_REGION ?? environment.AWS_DEFAULT_REGION;
  return {
    ...(accessKeyId && secretAccessKey
      ? { credentials: { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) } }
      : profile && { profile }),
    // Other servers seldom have names for buckets, and all know this region.
    ...(endpoint && { endpoint, forcePathStyle: true, region: region ?? 'us-east-1' }),
    ...(region && { region }),
    followRegionRedirects: true,
    maxAttempts: tries,
    // The checksum that other servers know is sent with each object; what comes back is compared in full.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // What it would write to the console is in the errors.
    logger: { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore },
    requestHandler: { connectionTimeout: timeoutMs, socketTimeout: timeoutMs },
  };
}

function ignore(): void {}

function endpointIn(environment: S3Place['environment']): string | undefined {
  for (const name of ['AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL']) {
    const value = environment[name];
    if (!value) continue;
    const url = URL.canParse(value) ? new URL(value) : null;
    if (/^https?:$/.test(url?.protocol ?? '') && url?.username === '' && url.password === '') return value;
    // Not the value: it may hold a password.
    throw new SessionChainError(
      'INVALID_INPUT',
      `${name} is not an address by http or https without user and password.`,
      'Name the address alone, and the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
    );
  }
  return undefined;
}

interface S3Failure {
  name?: string;
  code?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number };
}

/** Of what the server answered, the code and the status alone: its texts may quote the request. */
function reasonOf(error: unknown): string {
  const { name = 'Error', code, message, $metadata } = error as S3Failure;
  const status = $metadata?.httpStatusCode;
  if (status !== undefined && status >= 300) return `the server answered ${status} ${name}`;
  if (name === 'TimeoutError') return tooLong;
  return [message || name, message && code !== undefined && !message.includes(code) ? ` (${code})` : '']
    .join('')
    .replace(/\.$/, '');
}

/** Whether the same request may succeed when it is made again at once. */
function mayPass(error: unknown): boolean {
  const status = (error as S3Failure).$metadata?.httpStatusCode ?? 0;
  return (
    status === 500 || status === 503 || ['ECONNRESET', 'EPIPE'].includes((error as S3Failure).code ?? '')
  );
}
