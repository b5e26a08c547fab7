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

  it('leaves entries of other sessions and of subagents out of the session’s own', async () => {
    const { arrived, gate } = heldStore();
    const appends = [
      gate.store.append({ ...key, subpath: 'subagents/agent-1' }, [toolCall('a')]),
      gate.store.append({ ...key, sessionId: 'another' }, [toolCall('b')]),
    ];
    for (const index of [0, 1]) {
      await settle();
      arrived[index]?.answer();
      await appends[index];
    }
    expect(gate.appended()).toEqual([]);
  });
});
