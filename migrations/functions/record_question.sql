-- Stores a question, under the lock of its project and of its chat's row. A known message is the same question; one that
-- failed is asked again. `too_many` refuses a new one where p_max_open (null: any number) questions of the project that
-- were asked within an hour wait for their answers. p_aside: its answer must not move the head. `other_words` (or asked
-- with another p_aside), `malformed_chat` and `chat_of_another_project` change nothing.
CREATE FUNCTION session_chain.record_question(
  p_project text, p_chat text, p_message text, p_question text, p_when text, p_workspace text,
  p_aside boolean, p_max_open integer)
RETURNS TABLE (outcome text, question_id bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_chat chat_plan_sessions.session_id%TYPE := session_chain.chat_key(p_chat);
  v_log_chat project_chat_log_minimal.session_id%TYPE := session_chain.chat_log_key(p_chat);
  v_owner text;
  v_question_id bigint;
  v_is_same boolean;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'project_not_found', NULL::bigint;
    RETURN;
  END IF;
  IF v_chat IS NULL OR v_log_chat IS NULL THEN
    RETURN QUERY SELECT 'malformed_chat', NULL::bigint;
    RETURN;
  END IF;
  IF p_max_open <= (SELECT count(*) FROM project_chat_log_minimal q
        WHERE q.project_id = session_chain.chat_log_project_key(p_project) AND q.question_id IS NOT NULL
          AND q.state IN ('asked', 'running') AND q.asked_at > clock_timestamp() - interval '1 hour')
      AND NOT EXISTS (SELECT FROM project_chat_log_minimal q
        WHERE q.session_id = v_log_chat AND q.message_id = p_message AND q.question_id IS NOT NULL) THEN
    RETURN QUERY SELECT 'too_many', NULL::bigint;
    RETURN;
  END IF;
  INSERT INTO chat_plan_sessions (session_id, project_id, workspace)
    SELECT v_chat, v_id, p_workspace WHERE NOT EXISTS (SELECT FROM chat_plan_sessions c WHERE c.session_id = v_chat)
    ON CONFLICT DO NOTHING;
  UPDATE chat_plan_sessions c SET project_id = v_id WHERE c.session_id = v_chat AND c.project_id IS NULL;
  UPDATE chat_plan_sessions c SET
      workspace = CASE WHEN coalesce(c.project_id::text, p_project) = p_project THEN coalesce(p_workspace, c.workspace)
                       ELSE c.workspace END
    WHERE c.session_id = v_chat RETURNING c.project_id::text INTO v_owner;
  IF v_owner <> p_project THEN
    RETURN QUERY SELECT 'chat_of_another_project', NULL::bigint;
    RETURN;
  END IF;
  INSERT INTO project_chat_log_minimal
      (session_id, project_id, question_id, message_id, question, state, read_when, aside, asked_at)
    VALUES (v_log_chat, v_id, session_chain.new_id('session_chain.questions'), p_message, p_question, 'asked', p_when,
      p_aside, clock_timestamp())
    ON CONFLICT (session_id, message_id) WHERE question_id IS NOT NULL DO NOTHING;
  UPDATE project_chat_log_minimal q SET state = 'asked', failure = NULL, read_when = p_when
    WHERE q.session_id = v_log_chat AND q.message_id = p_message AND q.question_id IS NOT NULL AND q.state = 'failed'
      AND q.question = p_question AND q.aside = p_aside;
  SELECT q.question_id, q.question = p_question AND q.aside = p_aside INTO STRICT v_question_id, v_is_same FROM project_chat_log_minimal q
    WHERE q.session_id = v_log_chat AND q.message_id = p_message AND q.question_id IS NOT NULL;
  RETURN QUERY SELECT CASE WHEN v_is_same THEN 'recorded' ELSE 'other_words' END, v_question_id;
END
$$;
