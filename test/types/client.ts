/**
 * The types of the client, as an application sees them; the compiler is the test. `@ts-expect-error` fails where a line that
 * must not compile does.
 */
import {
  type ChainDetails,
  type ChainPage,
  type ChainStatus,
  type FailureCode,
  type SessionChain,
  type SessionId,
  chainKey,
} from '../../client/main.js';

type Same<One, Other> =
  (<Value>() => Value extends One ? 1 : 2) extends <Value>() => Value extends Other ? 1 : 2 ? true : false;
const same = <One, Other>(_: Same<One, Other>): void => undefined;

export async function reads(client: SessionChain): Promise<void> {
  const key = chainKey({ projectId: 'shop', versionId: 'v1' });
  const page = await client.chains({ status: ['failed'], since: new Date(), failureCode: 'MODEL_REFUSED' });
  same<typeof page, ChainPage>(true);
  same<ChainPage['nextCursor'], string | null>(true);
  const summary = page.chains[0];
  same<NonNullable<typeof summary>['status'], ChainStatus>(true);
  if (summary?.failure) same<typeof summary.failure.code, FailureCode>(true);
  // A summary names its chain.
  const details = await client.chain(summary ?? key);
  same<typeof details, ChainDetails>(true);
  const [step] = details.steps;
  if (step) {
    same<typeof step.reply, string | null>(true);
    same<typeof step.files, string[]>(true);
    same<NonNullable<(typeof step.journal)[number]['evidence']>['kind'], 'finished' | 'partial' | 'nothing'>(
      true,
    );
  }
  same<NonNullable<typeof details.budgetLeft>['costUsd'], number | null>(true);
  same<Awaited<ReturnType<SessionChain['getProjectSession']>>, SessionId | null>(true);
  same<Awaited<ReturnType<SessionChain['getSessionChain']>>, SessionId[]>(true);
  same<Awaited<ReturnType<SessionChain['lineage']>>, SessionId[]>(true);
  const [question] = await client.questions('shop', { chatId: 'c', limit: 1 });
  if (question) same<typeof question.reply, string | null>(true);
  same<Awaited<ReturnType<SessionChain['tree']>>['headSessionId'], SessionId | null>(true);

  // @ts-expect-error: there is no such status
  await client.chains({ status: 'done' });
  // @ts-expect-error: there is no such code
  await client.chains({ failureCode: 'OOPS' });
  // @ts-expect-error: there is no such filter
  await client.chains({ project: 'shop' });
  // @ts-expect-error: a key is made by chainKey
  await client.chain({ projectId: 'shop', versionId: 'v1' });
  same<'chatLog' extends keyof SessionChain ? true : false, false>(true);
}
