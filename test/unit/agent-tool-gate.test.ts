import type { SDKMessage, SessionKey, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk';
import { describe, expect, it } from '@jest/globals';
import { type ToolCall, createToolGate } from '../../agent/tool-gate.js';
import { fc } from '../support/properties.js';

const key: SessionKey = { projectKey: 'project', sessionId: 'session' };
const toolCall = (id: string): SessionStoreEntry => ({
  type: 'assistant',
  uuid: id,
  message: { id: 'msg', model: 'claude', content: [{ type: 'tool_use', id, name: 'Bash', input: {} }] },
});

const callOf = (id: string): ToolCall => ({ id, name: 'Bash', input: {} });
/** What the agent says before the entry comes. */
const saying = (message: string, ...ids: string[]) =>
  ({
    type: 'assistant',
    parent_tool_use_id: null,
    message: { id: message, content: ids.map((id) => ({ type: 'tool_use', ...callOf(id) })) },
  }) as unknown as SDKMessage;

interface Held {
  answer: (error?: Error) => void;
}

/** A store whose appends and notes are answered by the test, in the order in which they arrived. */
function heldStore() {
  const arrived: (Held & { entries: SessionStoreEntry[] })[] = [];
  const notes: (Held & { ids: string[] })[] = [];
  const refusals: Error[] = [];
  const answered = <Kept>(list: (Held & Kept)[], kept: Kept) =>
    new Promise<void>((resolve, reject) => {
      list.push({ ...kept, answer: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  const gate = createToolGate({
    store: {
      load: async () => null,
      append: (_key, entries) => answered(arrived, { entries }),
    },
    noteCalls: (calls) => answered(notes, { ids: calls.map(({ id }) => id) }),
    sessionId: 'session',
    baseSessionId: null,
    onRefused: (error) => refusals.push(error),
  });
  return { arrived, notes, refusals, gate };
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
    const admitted = gate.admit(callOf('call'));
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
    expect(await gate.admit(callOf('call'))).toBe(false);
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
    const waiting = gate.admit(callOf('two'));
    const first = gate.store.append(key, [toolCall('one')]);
    const second = gate.store.append(key, [toolCall('two')]);
    const outcomes = Promise.allSettled([first, second]);
    await settle();
    arrived[0]?.answer(new Error('sealed'));
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(gate.store.append(key, [toolCall('three')])).rejects.toThrow('sealed');
    expect(await waiting).toBe(false);
    expect(await gate.admit(callOf('three'))).toBe(false);
    expect(arrived).toHaveLength(1);
    expect(refusals).toHaveLength(1);
    expect(gate.appended()).toEqual([]);
  });

  it('admits the call of a subagent when its entry is acknowledged, and keeps it apart from the session’s own', async () => {
    const { arrived, gate } = heldStore();
    const subagent = { ...key, subpath: 'subagents/agent-1' };
    const admitted = gate.admit(callOf('a'));
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
    const waiting = [gate.admit(callOf('main')), gate.admit(callOf('other'))];
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

describe('a note of calls whose entries have not come yet', () => {
  it('lets a call run; the entry follows, and closes it', async () => {
    const { arrived, notes, gate } = heldStore();
    gate.onMessage(saying('m1', 'a'));
    const admitted = gate.admit(callOf('a'));
    expect(await isSettled(admitted)).toBe(false);
    expect(notes.map(({ ids }) => ids)).toEqual([['a']]);
    notes[0]?.answer();
    expect(await admitted).toBe(true);
    expect(gate.openCalls()).toEqual(['a']);
    // A limit of turns counts it before its entry comes.
    expect(gate.turns()).toBe(1);
    const appended = gate.store.append(key, [toolCall('a')]);
    await settle();
    arrived[0]?.answer();
    await appended;
    expect(gate.openCalls()).toEqual([]);
  });

  it('is of one message: its calls run together, and one of the next message waits for all their entries', async () => {
    const { arrived, notes, gate } = heldStore();
    gate.onMessage(saying('m1', 'a', 'b'));
    const first = [gate.admit(callOf('a')), gate.admit(callOf('b'))];
    await settle();
    notes[0]?.answer();
    await settle();
    notes[1]?.answer();
    expect(await Promise.all(first)).toEqual([true, true]);
    expect(notes.map(({ ids }) => ids)).toEqual([['a'], ['a', 'b']]);
    gate.onMessage(saying('m2', 'c'));
    const next = gate.admit(callOf('c'));
    const appends = [gate.store.append(key, [toolCall('a')]), gate.store.append(key, [toolCall('b')])];
    await settle();
    arrived[0]?.answer();
    expect(await isSettled(next)).toBe(false);
    expect(notes).toHaveLength(2);
    arrived[1]?.answer();
    await Promise.all(appends);
    await settle();
    expect(notes[2]?.ids).toEqual(['c']);
    notes[2]?.answer();
    expect(await next).toBe(true);
  });

  it('that is refused is no reason to stop, and the last: calls wait for their entries from then on', async () => {
    const { arrived, notes, refusals, gate } = heldStore();
    gate.onMessage(saying('m1', 'a'));
    const admitted = gate.admit(callOf('a'));
    notes[0]?.answer(new Error('fenced'));
    expect(await isSettled(admitted)).toBe(false);
    expect([gate.openCalls(), refusals]).toEqual([[], []]);
    const appended = gate.store.append(key, [toolCall('a')]);
    await settle();
    arrived[0]?.answer();
    await appended;
    expect(await admitted).toBe(true);
    gate.onMessage(saying('m2', 'b'));
    expect(await isSettled(gate.admit(callOf('b')))).toBe(false);
    expect(notes).toHaveLength(1);
  });

  it('that gets no answer holds no call back whose entry is stored', async () => {
    const { arrived, gate } = heldStore();
    gate.onMessage(saying('m1', 'a'));
    const admitted = gate.admit(callOf('a'));
    const appended = gate.store.append(key, [toolCall('a')]);
    await settle();
    arrived[0]?.answer();
    await appended;
    expect(await admitted).toBe(true);
  });

  it('is not made of a subagent’s call, nor of one whose message was not seen', async () => {
    const { notes, gate } = heldStore();
    gate.onMessage({ ...saying('m1', 'a'), parent_tool_use_id: 'the call of the subagent' } as SDKMessage);
    expect(await isSettled(gate.admit(callOf('a')))).toBe(false);
    expect(await isSettled(gate.admit(callOf('b')))).toBe(false);
    expect(notes).toEqual([]);
  });

  it('holds the calls of the next message while the entry hangs in the store, and says which lack one', async () => {
    const { notes, refusals, gate } = heldStore();
    gate.onMessage(saying('m1', 'a'));
    const admitted = gate.admit(callOf('a'));
    await settle();
    notes[0]?.answer();
    await admitted;
    void gate.store.append(key, [toolCall('a')]);
    gate.onMessage(saying('m2', 'b'));
    expect(await isSettled(gate.admit(callOf('b')))).toBe(false);
    expect([gate.openCalls(), refusals]).toEqual([['a'], []]);
  });
});

describe('whatever comes in whatever order', () => {
  const weights = { say: 6, ask: 6, note: 6, append: 3, answer: 3, refuse: 1, refuseNote: 1 };
  const kinds = Object.entries(weights).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind) }));
  const actions = fc.array(fc.record({ kind: fc.oneof(...kinds), id: fc.integer({ min: 0, max: 5 }) }), {
    maxLength: 40,
    size: 'max',
  });

  it('a call runs only once the store knows of it, and what runs on notes is of one message', async () => {
    await fc.assert(
      fc.asyncProperty(actions, async (steps) => {
        const { arrived, notes, refusals, gate } = heldStore();
        const stored = new Set<string>();
        const noted = new Set<string>();
        const ran = new Set<string>();
        const wrong: string[] = [];
        const messageOf = (id: string) => `m${Math.floor(Number(id) / 2)}`;
        let [appendsAnswered, notesAnswered] = [0, 0];
        for (const { kind, id: number } of steps) {
          const id = String(number);
          if (kind === 'say') gate.onMessage(saying(messageOf(id), id));
          if (kind === 'ask') {
            void gate.admit(callOf(id)).then((admitted) => {
              if (!admitted) return;
              if (!stored.has(id) && !noted.has(id)) wrong.push(`${id} is not known`);
              const open = [...ran, id].filter((one) => !stored.has(one));
              if (open.some((one) => messageOf(one) !== messageOf(id)))
                wrong.push(`${id} runs beside ${open.join()}`);
              ran.add(id);
            });
          }
          if (kind === 'append') gate.store.append(key, [toolCall(id)]).catch(() => undefined);
          const append = arrived[appendsAnswered];
          if (append && (kind === 'answer' || kind === 'refuse')) {
            appendsAnswered += 1;
            if (kind === 'answer') stored.add(append.entries[0]?.uuid ?? '');
            append.answer(kind === 'answer' ? undefined : new Error('full'));
          }
          const note = notes[notesAnswered];
          if (note && (kind === 'note' || kind === 'refuseNote')) {
            notesAnswered += 1;
            if (kind === 'note') for (const one of note.ids) noted.add(one);
            note.answer(kind === 'note' ? undefined : new Error('fenced'));
          }
          await settle();
          expect(wrong).toEqual([]);
          if (refusals.length > 0) expect(await gate.admit(callOf(id))).toBe(false);
          // Within the notes of one moment, too.
          for (const { ids } of notes) expect(new Set(ids.map(messageOf)).size).toBe(1);
        }
      }),
      { numRuns: 200 },
    );
  });
});
