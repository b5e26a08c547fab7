-- Journals that an activity of the host, a step of a chain, is about to be called with a head. Every call of one
-- (chain, step, round) has the same key, as long as what the chain has committed before the step is the same: what a
-- database lost and the chain did again is something else to the host. `completed`: it was called with success before. The chain presents its ticket
-- and its head; see chain_standing for what is refused. `fenced` also refuses a try that is older than the newest. A
-- try repeated after its answer was lost is the same call.
CREATE FUNCTION session_chain.begin_activity(
  p_project text, p_chain bigint, p_ticket bigint, p_step text, p_round integer, p_role text, p_activity text,
  p_task_queue text, p_session text, p_seq bigint, p_scheduled_at timestamptz)
RETURNS TABLE (outcome text, key uuid)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_standing text;
  v_key uuid;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = session_chain.project_key(p_project) FOR NO KEY UPDATE;
  v_standing := session_chain.chain_standing(p_project, p_chain, p_ticket, p_session);
  IF v_standing <> 'holds' THEN
    RETURN QUERY SELECT v_standing, NULL::uuid;
    RETURN;
  END IF;
  IF EXISTS (SELECT FROM session_chain.activity_steps s
      WHERE s.chain = p_chain AND s.step = p_step AND s.round = p_round AND s.ticket = p_ticket
        AND s.scheduled_at > p_scheduled_at) THEN
    RETURN QUERY SELECT 'fenced', NULL::uuid;
    RETURN;
  END IF;
  UPDATE session_chain.chains c SET status = 'running', waiting_until = NULL, waiting_for = NULL, waiting_code = NULL
    WHERE c.id = p_chain AND c.status = 'waiting';
  SELECT md5(concat_ws('/', c.id, p_step, p_round, (SELECT coalesce(a.adopts, a.session_id) FROM session_chain.attempts a
      JOIN jsonb_array_elements(c.plan) WITH ORDINALITY AS planned (step, place) ON planned.step ->> 'name' = a.step
      WHERE a.chain = c.id AND a.state = 'committed' AND planned.place < (SELECT e.place
        FROM jsonb_array_elements(c.plan) WITH ORDINALITY AS e (step, place) WHERE e.step ->> 'name' = p_step)
      ORDER BY a.id DESC LIMIT 1)))::uuid
    INTO v_key FROM session_chain.chains c WHERE c.id = p_chain;
  INSERT INTO session_chain.activity_steps AS s (chain, step, round, key, ticket, role, activity, task_queue, session_id, seq,
    scheduled_at, state)
  VALUES (p_chain, p_step, p_round, v_key, p_ticket, p_role, p_activity, p_task_queue, p_session, p_seq, p_scheduled_at,
    'running')
  ON CONFLICT (chain, step, round) DO UPDATE SET key = excluded.key, ticket = excluded.ticket, role = excluded.role, activity = excluded.activity,
    task_queue = excluded.task_queue, session_id = excluded.session_id, seq = excluded.seq,
    scheduled_at = excluded.scheduled_at, state = 'running', calls = s.calls + (s.state <> 'running')::integer,
    started_at = clock_timestamp(), ended_at = NULL, failure = NULL
    WHERE s.state <> 'completed';
  RETURN QUERY SELECT CASE s.state WHEN 'completed' THEN 'completed' ELSE 'call' END, s.key
    FROM session_chain.activity_steps s WHERE s.chain = p_chain AND s.step = p_step AND s.round = p_round;
END
$$;
