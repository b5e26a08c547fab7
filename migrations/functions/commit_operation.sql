-- Commits an attempt, all of it or nothing: `moved` makes p_new the head, `beside` leaves the head alone, `fenced` changes
-- nothing. May be repeated: a committed attempt returns what is stored. `fenced` also where one of its rows is gone.
--
-- The head moves from p_old to p_new where the project's epoch is the attempt's, the head is p_old, and p_new is whole
-- and the attempt's session or the one that it adopted. The stored result is p_result with the transition's `seq`.
-- Where it does not move, an attempt that may stay beside the line of heads is committed there, without `seq`.
--
-- p_options, all optional: requireTranscript (false for a session whose transcript is stored elsewhere), appends (how
-- many the attempt's session received: a database that went back may lack the last of them), mayStayBeside, beside (the
-- move is not tried), rewoundTo (of a rewind: the seq that it goes back to), value (of a submission), column (of
-- project_versions, json or jsonb; it gets the value when the head moves), answer {questionId, reply} (the first answer
-- of a question stays, and so does its failure: `fenced`, until it is asked again; the answer to a question asked aside
-- stays beside). p_metrics as in write_metrics.
CREATE FUNCTION session_chain.commit_operation(
  p_attempt bigint, p_source text, p_old text, p_new text, p_parent text, p_result jsonb, p_metrics jsonb, p_options jsonb)
RETURNS TABLE (outcome text, result jsonb)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_attempt session_chain.attempts;
  v_beside boolean := coalesce((p_options ->> 'beside')::boolean, false);
  v_may_stay boolean;
  v_question record;
  v_is_fit boolean;
  v_result jsonb;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = session_chain.project_key(
    (SELECT a.project_id FROM session_chain.attempts a WHERE a.id = p_attempt)) FOR NO KEY UPDATE;
  SELECT * INTO v_attempt FROM session_chain.attempts a WHERE a.id = p_attempt FOR NO KEY UPDATE;
  -- Locked: whatever fails the question comes before this commit or after it.
  SELECT q.state, q.aside INTO v_question FROM project_chat_log_minimal q
    WHERE q.question_id = (p_options #>> '{answer,questionId}')::bigint FOR NO KEY UPDATE;
  v_beside := v_beside OR coalesce(v_question.aside, false);
  v_may_stay := v_beside OR coalesce((p_options ->> 'mayStayBeside')::boolean, false);
  IF v_attempt.state = 'committed' THEN
    RETURN QUERY SELECT CASE WHEN v_attempt.result ? 'seq' THEN 'moved' ELSE 'beside' END, v_attempt.result;
    RETURN;
  END IF;
  v_is_fit := v_attempt.state = 'running' AND v_question.state IS DISTINCT FROM 'failed'
    AND p_new IN (v_attempt.session_id, v_attempt.adopts)
    AND EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key(v_attempt.project_id))
    AND ((p_options ->> 'requireTranscript')::boolean IS false
      OR session_chain.session_fitness(v_attempt.project_id, p_new) = 'whole')
    AND (p_options ->> 'appends' IS NULL OR (p_options ->> 'appends')::integer <= (
      SELECT s.batches FROM session_chain.sessions s
      WHERE s.project_id = v_attempt.project_id AND s.session_id = v_attempt.session_id));

  IF v_is_fit AND NOT v_beside THEN
    -- Every sibling depends on the rows of `head`: where the UPDATE finds no row, nothing is written. The fence is a
    -- condition on the updated row itself, which Postgres evaluates again after a concurrent change.
    WITH head AS (
      UPDATE projects p SET
        last_ai_session_id = p_new,
        session_seq = coalesce(p.session_seq, 0) + 1,
        last_ai_session_updated_at =
          greatest(clock_timestamp(), p.last_ai_session_updated_at + interval '1 microsecond')
      FROM session_chain.attempts a
        LEFT JOIN project_versions v ON v.version_id = session_chain.version_key(v_attempt.version_id)
      WHERE p.project_id = session_chain.project_key(v_attempt.project_id)
        AND (v.project_id = p.project_id OR a.version_id IS NULL)
        AND p.session_epoch = v_attempt.epoch
        AND p.last_ai_session_id IS NOT DISTINCT FROM p_old
        AND a.id = p_attempt AND a.state = 'running'
      RETURNING p.project_id, v.version_id, p.session_seq, p.last_ai_session_updated_at AS at
    ), transition AS (
      INSERT INTO session_transitions (project_id, version_id, old_session_id, new_session_id, source, created_at, seq,
        prev_seq, parent_session_id, step, attempt_id, rewound_to)
      SELECT project_id, version_id, p_old, p_new, p_source, at, session_seq, nullif(session_seq - 1, 0), p_parent,
        v_attempt.step, p_attempt, (p_options ->> 'rewoundTo')::bigint FROM head
    ), version AS (
      UPDATE project_versions v SET ai_session_id = p_new, ai_session_last_used_at = head.at
      FROM head WHERE v.version_id = head.version_id AND v.project_id = head.project_id
    )
    UPDATE session_chain.attempts a SET state = 'committed', ended_at = head.at, value = p_options -> 'value', calls = NULL,
      result = p_result || jsonb_build_object('seq', head.session_seq)
    FROM head WHERE a.id = p_attempt
    RETURNING a.result INTO v_result;
  END IF;

  v_beside := v_result IS NULL;
  IF v_beside THEN
    IF v_is_fit IS NOT TRUE OR NOT v_may_stay THEN
      RETURN QUERY SELECT 'fenced', NULL::jsonb;
      RETURN;
    END IF;
    UPDATE session_chain.attempts a SET state = 'committed', ended_at = clock_timestamp(), value = p_options -> 'value', calls = NULL,
      result = p_result WHERE a.id = p_attempt RETURNING a.result INTO v_result;
  END IF;

  UPDATE session_chain.attempts a SET calls = NULL
    WHERE v_attempt.attempt > 1 AND a.calls IS NOT NULL AND a.project_id = v_attempt.project_id
      AND a.build_id = v_attempt.build_id AND a.chain IS NOT DISTINCT FROM v_attempt.chain AND a.step = v_attempt.step
      AND a.round = v_attempt.round;
  UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
    WHERE s.project_id = v_attempt.project_id AND s.session_id IN (p_new, v_attempt.session_id) AND s.sealed_at IS NULL
      -- A recorded session without a transcript stays open for its import.
      AND (s.messages > 0 OR s.session_id <> p_new);
  PERFORM session_chain.write_metrics(p_attempt, CASE WHEN p_new = v_attempt.session_id THEN 'committed' ELSE 'adopted' END,
    p_metrics, false);
  IF p_options ? 'column' AND NOT v_beside THEN
    IF NOT EXISTS (SELECT FROM pg_attribute c WHERE c.attrelid = 'project_versions'::regclass AND NOT c.attisdropped
        AND c.attname = p_options ->> 'column' AND c.atttypid IN ('json'::regtype, 'jsonb'::regtype)) THEN
      RAISE insufficient_privilege USING MESSAGE = format('project_versions.%s takes no submitted value', p_options ->> 'column');
    END IF;
    EXECUTE format('UPDATE project_versions SET %I = $1 WHERE version_id = $2 AND project_id = $3', p_options ->> 'column')
      USING p_options -> 'value', session_chain.version_key(v_attempt.version_id),
        session_chain.project_key(v_attempt.project_id);
  END IF;
  UPDATE project_chat_log_minimal q SET state = 'answered', failure = NULL, ai_session_id = p_new,
      reply = p_options #>> '{answer,reply}', kind = CASE WHEN v_beside THEN 'side_branch' ELSE 'transition' END,
      answered_at = clock_timestamp()
    WHERE q.question_id = (p_options #>> '{answer,questionId}')::bigint AND q.state <> 'answered';
  RETURN QUERY SELECT CASE WHEN v_beside THEN 'beside' ELSE 'moved' END, v_result;
END
$$;
