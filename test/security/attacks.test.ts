import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { TurnBlock } from '../../dev/offline-model/messages.js';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import type { ChainStack } from '../support/chain-stack.js';
import { attacks, outputsOf, scriptOf, won } from './attacks.js';
import { type Battlefield, isFullRoot, startBattlefield, users } from './battlefield.js';
import { type Finding, isOfVictim, searchEverywhere } from './search.js';

/** A hostile model and a hostile workspace against the real agent on a real worker: each attack, and that it fails. */

const call = (name: string, input: Record<string, unknown>): TurnBlock => ({ type: 'tool_use', name, input });
const bash = (command: string) => call('Bash', { command, description: 'x', timeout: 600_000 });

/** What the tools answered in the newest message of a request. */
function toolResults({ bodyText }: OfflineRequest): string[] {
  const { messages } = JSON.parse(bodyText) as {
    messages: { content: string | { type: string; content?: unknown }[] }[];
  };
  const content =
    messages.findLast((message) => JSON.stringify(message).includes('tool_result'))?.content ?? [];
  return (Array.isArray(content) ? content : [])
    .filter(({ type }) => type === 'tool_result')
    .map((block) =>
      typeof block.content === 'string'
        ? block.content
        : ((block.content ?? []) as { text?: string }[]).map(({ text = '' }) => text).join(''),
    );
}

/** Lets the next request that matches have these calls, and returns the request that brings their results, held. */
function attack(stack: ChainStack, when: (request: OfflineRequest) => boolean, ...calls: TurnBlock[]) {
  const asked = stack.model.inject({ when, answer: () => ({ content: calls, stopReason: 'tool_use' }) });
  const answered = stack.model.inject({ when, hold: 'before' });
  return { asked, answered };
}

/** The victim's agent in the middle of a turn: its canary is in its transcript and in its run's folder. */
async function startVictim(field: Battlefield) {
  const { stack, victim } = field;
  const when = (request: OfflineRequest) => isOfVictim(field, request.bodyText);
  const { answered } = attack(stack, when, bash('cat secret.txt'));
  const started = await stack.sessionChain.start({ ...victim, steps: ['build'] });
  expect(toolResults(await answered.reached).join('')).toContain(field.canaries['victim']);
  return async () => {
    answered.release();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed' });
  };
}

describe.each(users)('hostile code of a worker that runs as %s', (user) => {
  let field: Battlefield;
  beforeAll(async () => {
    field = await startBattlefield(user);
  });
  afterAll(async () => {
    await field.stop();
  });

  describe.each(['alone', 'beside another project'] as const)('%s', (company) => {
    let outputs: Map<string, string>;
    let findings: Finding[];
    let reached: string[];
    let outside: Map<string, string>;
    beforeAll(async () => {
      const { stack, target } = field;
      const endVictim = company === 'alone' ? undefined : await startVictim(field);
      if (endVictim) {
        const known = { ...target, processes: `/proc/${target.worker}` };
        const printed = await field.runOutside(field.request().workspace, scriptOf(attacks, known));
        outside = outputsOf(attacks, printed);
        field.reached();
      }
      const request = { ...field.request(), steps: ['build'] };
      // As a stranger's repository would bring it; Claude Code's own rules may refuse what looks dangerous in a command.
      writeFileSync(join(request.workspace, 'attack.sh'), scriptOf(attacks, target));
      const isAttacker = (asked: OfflineRequest) =>
        asked.step === 'build' && !isOfVictim(field, asked.bodyText);
      const { answered } = attack(stack, isAttacker, bash('bash attack.sh'));
      const started = await stack.sessionChain.start(request);
      const results = toolResults(await answered.reached);
      outputs = outputsOf(attacks, results.join(''));
      reached = field.reached();
      findings = await searchEverywhere(field);
      answered.release();
      expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed' });
      await endVictim?.();
    });

    it.each(attacks.map(({ name }) => name))('%s: no', (name) => {
      expect(outputs.get(name)).not.toMatch(won);
    });

    if (company !== 'alone') {
      const winning = attacks.filter(
        ({ without }) => without === 'user' || (without === 'root' && user === 'root' && isFullRoot()),
      );
      it.each(winning.map(({ name }) => name))('%s: yes, without the wall', (name) => {
        expect(outside.get(name)).toMatch(won);
      });
    }

    it('reaches nothing and leaves no secret anywhere', () => {
      expect(reached).toEqual([]);
      expect(findings).toEqual([]);
    });
  });
});
