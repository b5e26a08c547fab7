import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { OfflineRequest } from '../../dev/offline-model/request-log.js';
import { until } from '../support/chain-stack.js';
import { attacks, outputsOf, scriptOf, won } from './attacks.js';
import { type Battlefield, isFullRoot, startBattlefield, users } from './battlefield.js';
import { attack, bash, toolResults } from './hostile-model.js';
import { type Finding, isOfVictim, searchEverywhere } from './search.js';

/** A hostile model and a hostile workspace against the real agent on a real worker: each attack, and that it fails. */

/** The victim's agent in the middle of a turn: its canary is in its transcript and in its run's folder. */
async function startVictim(field: Battlefield) {
  const { stack, victim } = field;
  const when = (request: OfflineRequest) => isOfVictim(field, request.bodyText);
  const { answered } = attack(stack, when, bash('cat secret.txt'));
  const started = await stack.sessionChain.start({ ...victim, steps: ['build'] });
  const canary = field.canaries['victim'] ?? '';
  expect(toolResults(await answered.reached).join('')).toContain(canary);
  // Claude Code writes its transcript a moment after its request.
  await until(() => transcriptsIn(stack.root).some((text) => text.includes(canary)));
  return async () => {
    answered.release();
    expect(await stack.sessionChain.wait(started)).toMatchObject({ status: 'completed' });
  };
}

/** The transcripts in the folders of all runs, as far as they are written. */
function transcriptsIn(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => /^scratch-\d+\/run-.*\.jsonl$/.test(file))
    .map((file) => readFileSync(join(root, file), 'utf8'));
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
        const printed = await field.runOutside(field.request().workspace, scriptOf(attacks, known, 120));
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
