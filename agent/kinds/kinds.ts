import type { AgentTaskKind } from '../../contracts/steps.js';
import type { AgentStepDefinition } from '../../definition/definition.js';
import { compaction } from './compaction.js';
import type { AgentTask, Kind } from './kind.js';
import { question } from './question.js';
import { submission } from './submission.js';
import { work } from './work.js';

export const kinds: Record<AgentTaskKind, Kind> = { work, submission, compaction, question };

/** The task of a step. */
export function stepTask(step: AgentStepDefinition): AgentTask {
  const { name } = step;
  switch (step.kind) {
    case 'work': {
      const { kind, allowedTools, role, writes } = step;
      return { name, kind, allowedTools, ...(role ? { role } : {}), ...(writes ? { writes } : {}) };
    }
    case 'submission':
      return { name, kind: step.kind, allowedTools: step.allowedTools, schema: step.schema };
    case 'compaction':
      return { name, kind: step.kind, allowedTools: [] };
  }
}
