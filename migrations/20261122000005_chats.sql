-- Up Migration
-- Chats. A question is stored before a workflow hears of it: histories hold its turn's id, never its words.

CREATE SEQUENCE session_chain.chat_turns AS bigint;

ALTER TABLE chat_plan_sessions
  ADD COLUMN IF NOT EXISTS project_id varchar(255),
  ADD COLUMN IF NOT EXISTS workspace text;
COMMENT ON COLUMN chat_plan_sessions.workspace IS 'Where the project''s files lie; null takes the folder of its newest chain';

ALTER TABLE project_chat_log_minimal
  ADD COLUMN IF NOT EXISTS project_id varchar(255),
  ADD COLUMN IF NOT EXISTS turn_id bigint,
  ADD COLUMN IF NOT EXISTS message_id varchar(255),
  ADD COLUMN IF NOT EXISTS question text,
  ADD COLUMN IF NOT EXISTS reply text,
  ADD COLUMN IF NOT EXISTS state varchar(50),
  ADD COLUMN IF NOT EXISTS kind varchar(50),
  ADD COLUMN IF NOT EXISTS read_when varchar(50),
  ADD COLUMN IF NOT EXISTS head_session_id varchar(255),
  ADD COLUMN IF NOT EXISTS failure jsonb,
  ADD COLUMN IF NOT EXISTS asked_at timestamptz,
  ADD COLUMN IF NOT EXISTS answered_at timestamptz;
-- Rows of the host's own time have no turn, and no rule below concerns them.
ALTER TABLE project_chat_log_minimal
  ADD CONSTRAINT project_chat_log_minimal_state CHECK (turn_id IS NULL OR state IN ('asked', 'running', 'answered', 'failed')),
  ADD CONSTRAINT project_chat_log_minimal_kind CHECK (turn_id IS NULL OR
    (kind IN ('transition', 'side_branch')) IS NOT DISTINCT FROM (CASE WHEN state = 'answered' THEN true END)),
  ADD CONSTRAINT project_chat_log_minimal_answer CHECK (turn_id IS NULL OR
    (state = 'answered') = (reply IS NOT NULL AND ai_session_id IS NOT NULL AND answered_at IS NOT NULL)),
  ADD CONSTRAINT project_chat_log_minimal_failure CHECK (turn_id IS NULL OR (state = 'failed') = (failure IS NOT NULL));
CREATE UNIQUE INDEX idx_project_chat_log_minimal_turn ON project_chat_log_minimal (turn_id);
-- A message that is asked again is the same turn.
CREATE UNIQUE INDEX idx_project_chat_log_minimal_message ON project_chat_log_minimal (session_id, message_id)
  WHERE turn_id IS NOT NULL;
CREATE INDEX idx_project_chat_log_minimal_side_branches ON project_chat_log_minimal (project_id, answered_at)
  WHERE kind = 'side_branch';
COMMENT ON COLUMN project_chat_log_minimal.turn_id IS 'Counts over all chats; the journal holds the turn''s attempts under the build id chat:<turn_id>';
COMMENT ON COLUMN project_chat_log_minimal.message_id IS 'The caller''s key of the question: asked again, it returns the first reply';
COMMENT ON COLUMN project_chat_log_minimal.kind IS 'transition: the turn moved the head; side_branch: the head had moved, or a chain held the turn';
COMMENT ON COLUMN project_chat_log_minimal.read_when IS 'now, after_step or committed: which head the question is put to while a chain works';
COMMENT ON COLUMN project_chat_log_minimal.head_session_id IS 'The project''s head as the turn found it';

-- What a reply looks like while it is being written. Lost with the server's power, and nothing depends on it.
CREATE UNLOGGED TABLE session_chain.reply_chunks (
  turn_id bigint NOT NULL,
  ordinal bigint GENERATED ALWAYS AS IDENTITY,
  attempt integer NOT NULL,
  message integer NOT NULL,
  content text NOT NULL,
  PRIMARY KEY (turn_id, ordinal)
);
COMMENT ON TABLE session_chain.reply_chunks IS 'Replies as they are being written, in batches; best effort, the turn''s row holds the reply';
COMMENT ON COLUMN session_chain.reply_chunks.attempt IS 'The attempt that wrote it; a higher one has begun anew';
COMMENT ON COLUMN session_chain.reply_chunks.message IS 'Counts the messages of the attempt; the last one is the reply';

-- Stores a question, under the lock of its chat's row where there is one. A message that is known is the same turn; one
-- whose turn failed is asked anew. `other_words` and `chat_of_another_project` change nothing.
CREATE FUNCTION session_chain.record_question(
  p_project text, p_chat text, p_message text, p_question text, p_when text, p_workspace text)
RETURNS TABLE (outcome text, turn_id bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := p_project;
  v_chat chat_plan_sessions.session_id%TYPE := p_chat;
  v_log_chat project_chat_log_minimal.session_id%TYPE := p_chat;
  v_owner text;
  v_turn bigint;
  v_question text;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'project_not_found', NULL::bigint;
    RETURN;
  END IF;
  INSERT INTO chat_plan_sessions (session_id, project_id, workspace)
    SELECT v_chat, p_project, p_workspace WHERE NOT EXISTS (SELECT FROM chat_plan_sessions c WHERE c.session_id = v_chat)
    ON CONFLICT DO NOTHING;
  UPDATE chat_plan_sessions c SET project_id = coalesce(c.project_id, p_project),
      workspace = CASE WHEN coalesce(c.project_id::text, p_project) = p_project THEN coalesce(p_workspace, c.workspace)
                       ELSE c.workspace END
    WHERE c.session_id = v_chat RETURNING c.project_id::text INTO v_owner;
  IF v_owner <> p_project THEN
    RETURN QUERY SELECT 'chat_of_another_project', NULL::bigint;
    RETURN;
  END IF;
  INSERT INTO project_chat_log_minimal
      (session_id, project_id, turn_id, message_id, question, state, read_when, asked_at)
    VALUES (v_log_chat, p_project, nextval('session_chain.chat_turns'), p_message, p_question, 'asked', p_when,
      clock_timestamp())
    ON CONFLICT (session_id, message_id) WHERE turn_id IS NOT NULL DO NOTHING;
  UPDATE project_chat_log_minimal t SET state = 'asked', failure = NULL, read_when = p_when
    WHERE t.session_id = v_log_chat AND t.message_id = p_message AND t.turn_id IS NOT NULL AND t.state = 'failed'
      AND t.question = p_question;
  SELECT t.turn_id, t.question INTO STRICT v_turn, v_question FROM project_chat_log_minimal t
    WHERE t.session_id = v_log_chat AND t.message_id = p_message AND t.turn_id IS NOT NULL;
  RETURN QUERY SELECT CASE WHEN v_question = p_question THEN 'recorded' ELSE 'other_words' END, v_turn;
END
$$;
