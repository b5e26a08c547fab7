import type { SessionKey, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { createToolGate } from '../../agent/tool-gate.js';

const key: SessionKey = { projectKey: 'project', sessionId: 'session' };
const toolCall = (id: string): SessionStoreEntry => ({
  type: 'assistant',
  uuid: id,
  message: { id: 'msg', model: 'claude', content: [{ type: 'tool_use', id, name: 'Bash', input: {} }] },
});

/** A store whose appends are answered by the test, in the order in which they arrived. */
function heldStore() {
  const arrived: { entries: SessionStoreEntry[]; answer: (error?: Error) => void }[] = [];
  const refusals: Error[] = [];
  const gate = createToolGate({
    store: {
      load: async () => null,
      append: (_key, entries) =>
        new Promise((resolve, reject) => {
          arrived.push({ entries, answer: (error) => (error === undefined ? resolve() : reject(error)) });
        }),
    },
    sessionId: 'session',
    baseSessionId: null,
    onRefused: (error) => refusals.push(error),
  });
  return { arrived, refusals, gate };
}

/** Lets everything that can happen now happen. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const open = Symbol();
  await settle();
  return (await Promise.race([promise, Promise.resolve(open)])) !== open;
}

describe('the tool gate', () => {
  it('admits a call only when its own entry is acknowledged, though nothing is pending before', async () => {
    const { arrived, gate } = heldStore();
    const admitted = gate.admit('call');
    expect(await isSettled(admitted)).toBe(false);
    const appended = gate.store.append(key, [toolCall('call')]);
    expect(await isSettled(admitted)).toBe(false);
    arrived[0]?.answer();
    await appended;
    expect(await admitted).toBe(true);
    expect(gate.appended()).toHaveLength(1);
  });

  it('refuses an entry of another session, which nothing but a forged frame can hold', async () => {
    const { arrived, refusals, gate } = heldStore();
    const forged = gate.store.append({ ...key, sessionId: 'another' }, [toolCall('call')]);
    await expect(forged).rejects.toThrow('another');
    expect([arrived.length, refusals.length]).toEqual([0, 1]);
    expect(await gate.admit('call')).toBe(false);
    await expect(gate.store.append(key, [toolCall('call')])).rejects.toThrow('another');
  });

  it('hands appends on one after the other', async () => {
    const { arrived, gate } = heldStore();
    const both = [gate.store.append(key, [toolCall('one')]), gate.store.append(key, [toolCall('two')])];
    await settle();
    expect(arrived).toHaveLength(1);
    arrived[0]?.answer();
    await both[0];
    await settle();
    expect(arrived.map(({ entries }) => entries[0]?.uuid)).toEqual(['one', 'two']);
    arrived[1]?.answer();
    await both[1];
  });

  it('refuses everything after the first refusal and says so once', async () => {
    const { arrived, refusals, gate } = heldStore();
    const waiting = gate.admit('two');
    const first = gate.store.append(key, [toolCall('one')]);
    const second = gate.store.append(key, [toolCall('two')]);
    const outcomes = Promise.allSettled([first, second]);
    await settle();
    arrived[0]?.answer(new Error('sealed'));
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(gate.store.append(key, [toolCall('three')])).rejects.toThrow('sealed');
    expect(await waiting).toBe(false);
    expect(await gate.admit('three')).toBe(false);
    expect(arrived).toHaveLength(1);
    expect(refusals).toHaveLength(1);
    expect(gate.appended()).toEqual([]);
  });

  it('admits the call of a subagent when its entry is acknowledged, and keeps it apart from the session’s own', async () => {
    const { arrived, gate } = heldStore();
    const subagent = { ...key, subpath: 'subagents/agent-1' };
    const admitted = gate.admit('a');
    const appended = gate.store.append(subagent, [toolCall('a')]);
    expect(await isSettled(admitted)).toBe(false);
    arrived[0]?.answer();
    await appended;
    expect(await admitted).toBe(true);
    expect(gate.appended()).toEqual([]);
    expect(gate.appendedBySubagents()).toEqual([toolCall('a')]);
  });

  it('refuses all calls once an entry of one subagent was refused', async () => {
    const { arrived, refusals, gate } = heldStore();
    const waiting = [gate.admit('main'), gate.admit('other')];
    const append = gate.store.append({ ...key, subpath: 'subagents/agent-1' }, [toolCall('a')]);
    const outcome = expect(append).rejects.toThrow('full');
    await settle();
    arrived[0]?.answer(new Error('full'));
    await outcome;
    expect(await Promise.all(waiting)).toEqual([false, false]);
    expect(refusals).toHaveLength(1);
    expect(gate.appendedBySubagents()).toEqual([]);
  });

  it('counts each turn of the run once, in whichever transcripts it stands, and none of the base', async () => {
    const turn = (id: string) => ({
      ...toolCall(`${id}-call`),
      message: { id, model: 'claude', content: [] },
    });
    const base = [turn('of the base')];
    const gate = createToolGate({
      store: { load: async () => base, append: async () => undefined },
      sessionId: 'session',
      baseSessionId: 'base',
      onRefused: () => undefined,
    });
    await gate.store.load({ ...key, sessionId: 'base' });
    await gate.store.append(key, [...base, turn('one'), turn('one')]);
    await gate.store.append({ ...key, subpath: 'subagents/agent-1' }, [turn('one'), turn('two')]);
    expect(gate.turns()).toBe(2);
  });
});
