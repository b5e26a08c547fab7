import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { settingsOf } from '../../storage/db/address.js';

describe('the address of a database', () => {
  it.each([
    [
      'postgres://u:p%40%2F%20%25@h:5433/d',
      { user: 'u', password: 'p@/ %', host: 'h', port: 5433, database: 'd' },
    ],
    ['postgresql://u:a@b@h/d', { password: 'a@b', host: 'h' }],
    ['postgres://[::1]:5433/d', { host: '::1', port: 5433 }],
    ['postgres:///d?host=/run/postgresql', { host: '/run/postgresql', database: 'd' }],
    ['postgres://u@/d?host=/run/postgresql&port=5433', { user: 'u', host: '/run/postgresql', port: 5433 }],
    ['postgres://%2Frun%2Fpostgresql/d', { host: '/run/postgresql', database: 'd' }],
    ['postgres://h?dbname=d&user=u&password=p', { database: 'd', user: 'u', password: 'p' }],
    ['postgres://h/d%2Fe%20f', { database: 'd/e f' }],
    ['postgres://h/d?connect_timeout=3', { connectionTimeoutMillis: 3_000 }],
    ['postgres://h/d?application_name=shop', { application_name: 'shop' }],
    ['postgres://h/d?options=-c%20search_path%3Dapp', { options: '-c search_path=app' }],
    ['postgres://h/d?options=-c+search_path%3Dapp', { options: '-c search_path=app' }],
    ['postgres://h/d?statement_timeout=5000', { statement_timeout: '5000' }],
    ['postgres://h/d?keepalives=0', { keepAlive: false }],
    ['postgres://h/d?keepalives_idle=30', { keepAliveInitialDelayMillis: 30_000 }],
    ['postgres://h/d?channel_binding=prefer', { enableChannelBinding: true }],
    ['postgres://h/d?client_encoding=utf8&target_session_attrs=any&gssencmode=disable', { database: 'd' }],
    ['postgres://h/d?sslmode=disable', { ssl: false }],
    ['postgres://h/d?sslmode=no-verify', { ssl: { rejectUnauthorized: false } }],
    ['postgres://h/d?ssl=no-verify', { ssl: { rejectUnauthorized: false } }],
    ['postgres://h/d?ssl=0', { ssl: false }],
    ['postgres://h/d?ssl=true&sslmode=no-verify', { ssl: { rejectUnauthorized: false } }],
    ['postgres://h/d?uselibpqcompat=true&sslmode=no-verify', { ssl: { rejectUnauthorized: false } }],
    ['postgres://h/d?uselibpqcompat=true&sslmode=require', { ssl: { rejectUnauthorized: false } }],
  ])('%s', (url, settings) => {
    expect(settingsOf(url)).toMatchObject(settings);
  });

  it.each([
    'ssl=true',
    'ssl=1',
    'sslmode=require',
    'sslmode=verify-ca',
    'sslmode=verify-full',
    'sslrootcert=system',
  ])('with %s checks the certificate and the name of the server', (parameter) => {
    expect(settingsOf(`postgres://h/d?${parameter}`).ssl).toEqual({});
  });

  it.each([
    ['mysql://u:secret@h/d', 'postgres://'],
    ['host=h dbname=d password=secret', 'postgres://'],
    ['postgres://u:secret@h1,h2/d', 'several hosts'],
    ['postgres://u:secret@h1:1,h2:2/d', 'several hosts'],
    ['postgres://u:secret@/d?host=h1,h2', 'several hosts'],
    ['postgres://u:secret@h:port/d', 'Invalid URL'],
    ['postgres://u:se/secret@h/d', 'follows the host'],
    ['postgres://u:12/secret@h/d', 'follows the host'],
    ['postgres://u:12?secret@h/d', 'follows the host'],
    ['postgres://u:secret#@h/d', '#'],
    ['postgres://u:secret%@h/d', '%'],
    ['postgres://u:secret one@h/d', 'space'],
    ['postgres://u:secret@h/d?sslrootcert=/nowhere.pem', '/nowhere.pem'],
    ['postgres://u:secret@h/d?sslrootcert=system&sslmode=no-verify', 'sslrootcert=system'],
    ['postgres://u:secret@h/d?ssl=false&sslmode=require', 'ssl=false and sslmode=require'],
    ['postgres://u:secret@h/d?sslnegotiation=direct&ssl=0', 'sslnegotiation=direct'],
    ['postgres://u:secret@h/d?sslpassword=secret', 'sslpassword'],
    ['postgres://u:secret@h/d?port=5432,5433', 'several hosts'],
    ['postgres://u:secret@h/d?connect_timeout=3s', 'connect_timeout=3s'],
    ['postgres://u:secret@h/d?statement_timeout=5s', 'statement_timeout=5s'],
    ...[
      'sslmode=prefer',
      'sslmode=allow',
      'sslmode=verify_full',
      'ssl=require',
      'sslnegotiation=encrypted',
      'uselibpqcompat=1',
      'channel_binding=require',
      'target_session_attrs=read-write',
      'client_encoding=LATIN1',
      'load_balance_hosts=random',
      'gssencmode=require',
    ].map((parameter) => [`postgres://u:secret@h/d?${parameter}`, parameter]),
    ...[
      'service=shop',
      'passfile=/x',
      'hostaddr=127.0.0.1',
      'keepalives_count=3',
      'tcp_user_timeout=1',
      'schema=app',
      'search_path=app',
      'pgbouncer=true',
      'max=1',
      'toString=1',
    ].map((parameter) => [`postgres://u:secret@h/d?${parameter}`, parameter.split('=')[0] ?? '']),
  ])('%s is INVALID_INPUT, which names what and quotes no password', (url, named) => {
    let thrown: unknown;
    try {
      settingsOf(url);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining(named),
      remedy: expect.stringContaining('DATABASE_URL'),
    });
    expect(inspect(thrown)).not.toContain('secret');
  });
});
