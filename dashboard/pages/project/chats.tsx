import { http, type Schemas } from '../../api/client.js';
import { usePages } from '../../api/query.js';
import { links } from '../../links.js';
import { Badge, Status } from '../../ui/badge.js';
import { Card } from '../../ui/card.js';
import { More } from '../../ui/more.js';
import { useQueryState } from '../../ui/query-state.js';
import { Empty, Loaded } from '../../ui/states.js';
import { Text } from '../../ui/text.js';
import { Ago, Command, Session } from '../../ui/values.js';
import styles from './chats.module.css';

type Chat = Schemas['ChatPage']['chats'][number];
type Question = Schemas['Question'];

/** The chats of a project with their newest questions; one that is opened shows its questions. */
export function Chats({ projectId }: { projectId: string }) {
  const [open, setOpen] = useQueryState('chat');
  const read = usePages(['chats', projectId], (cursor, signal) =>
    http.GET('/v1/projects/{projectId}/chats', {
      params: { path: { projectId }, query: { limit: 8, ...cursor } },
      signal,
    }),
  );
  return (
    <Card
      title="Chats"
      hint="Questions about the project, answered on read-only forks of its session. The chat with the newest question comes first."
      flush
    >
      <Loaded read={read} rows={4}>
        {(pages) => {
          const chats = pages.flatMap((page) => page.chats);
          const isListed = chats.some(({ chatId }) => chatId === open);
          if (chats.length === 0)
            return (
              <Empty title="Nothing was asked about this project.">
                <Command text={`session-chain ask --project ${projectId} "Which files hold the search?"`} />
              </Empty>
            );
          return (
            <>
              <ul class={styles.chats}>
                {chats.map((chat) => (
                  <ChatRow
                    key={chat.chatId}
                    {...{ projectId, chat }}
                    isOpen={chat.chatId === open}
                    onToggle={() => setOpen(chat.chatId === open ? null : chat.chatId, { replace: true })}
                  />
                ))}
              </ul>
              <More read={read}>Show older chats</More>
              {open !== null && !isListed && <Questions projectId={projectId} chatId={open} />}
            </>
          );
        }}
      </Loaded>
    </Card>
  );
}

function ChatRow({
  projectId,
  chat: { chatId, questions, open, failed, newest },
  isOpen,
  onToggle,
}: {
  projectId: string;
  chat: Chat;
  isOpen: boolean;
  onToggle: () => void;
}) {
  return (
    <li>
      <button type="button" class={styles.chat} aria-expanded={isOpen} onClick={onToggle}>
        <span class={styles.name}>{chatId}</span>
        <span class="muted small">
          {questions} {questions === 1 ? 'question' : 'questions'}
        </span>
        {open > 0 && <Badge tone="waiting">{open} open</Badge>}
        {failed > 0 && <Badge tone="failed">{failed} failed</Badge>}
        <span class={styles.when}>
          <Ago at={newest.askedAt} />
        </span>
        {!isOpen && (
          <span class={styles.newest}>
            <Text text={newest.question} />
          </span>
        )}
      </button>
      {isOpen && <Questions projectId={projectId} chatId={chatId} />}
    </li>
  );
}

/** The questions of a chat, the newest first. */
function Questions({ projectId, chatId }: { projectId: string; chatId: string }) {
  const read = usePages(['questions', projectId, chatId], (cursor, signal) =>
    http.GET('/v1/projects/{projectId}/chats/{chatId}/questions', {
      params: { path: { projectId, chatId }, query: { limit: 10, ...cursor } },
      signal,
    }),
  );
  return (
    <Loaded read={read} rows={3}>
      {(pages) => (
        <>
          <ol class={styles.questions} aria-label={`Questions of the chat ${chatId}, the newest first`}>
            {pages
              .flatMap(({ questions }) => [...questions].reverse())
              .map((question) => (
                <Asked key={question.questionId} {...{ projectId, question }} />
              ))}
          </ol>
          <More read={read}>Show older questions</More>
        </>
      )}
    </Loaded>
  );
}

function Asked({ projectId, question }: { projectId: string; question: Question }) {
  const { state, kind, failure, reply, sessionId, askedAt } = question;
  return (
    <li>
      <div class={styles.asked}>
        <strong>
          <Text text={question.question} />
        </strong>
        <Status status={state} />
        {kind === 'side_branch' && (
          <span class="muted small" title="The answer stays beside the line of heads">
            beside the line
          </span>
        )}
        <span class={styles.when}>
          <Ago at={askedAt} />
        </span>
      </div>
      {reply !== null && (
        <p class={styles.reply} tabIndex={0}>
          <Text text={reply} />
        </p>
      )}
      {failure && (
        <p class={styles.failure}>
          <code>{failure.code}</code> <Text text={failure.message} />{' '}
          <span class="muted">
            <Text text={failure.remedy} />
          </span>
        </p>
      )}
      {sessionId !== null && (
        <span class="small muted">
          <Session projectId={projectId} id={sessionId} />{' '}
          <a href={links.project(projectId, { session: sessionId })}>in the lineage</a>
        </span>
      )}
    </li>
  );
}
