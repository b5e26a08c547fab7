-- Why commit_operation refused as `fenced`, as the end of a sentence. Takes the same parameters and, like
-- why_chain_fenced, is called in the same statement.
CREATE FUNCTION session_chain.why_not_committed(p_attempt bigint, p_old text, p_new text, p_options jsonb) RETURNS text
LANGUAGE sql VOLATILE AS $$
  SELECT CASE
    WHEN a.state IS DISTINCT FROM 'running' THEN session_chain.why_attempt_ended(p_attempt)
    WHEN q.state = 'failed' THEN format('the question %s was marked as failed', q.question_id)
    WHEN p.project_id IS NULL THEN 'the row of the project is gone'
    WHEN p_new NOT IN (a.session_id, coalesce(a.adopts, a.session_id)) THEN format('the session %s is not the attempt''s', p_new)
    WHEN (p_options ->> 'requireTranscript')::boolean IS DISTINCT FROM false
        AND session_chain.session_fitness(a.project_id, p_new) IS DISTINCT FROM 'whole'
      THEN format('the transcript of the session %s is not whole in the store (%s)', p_new,
        session_chain.session_fitness(a.project_id, p_new))
    WHEN (p_options ->> 'appends')::integer > s.batches
      THEN format('the session %s holds %s appends, and %s were confirmed', p_new, s.batches, p_options ->> 'appends')
    WHEN a.epoch IS NULL THEN 'a chain held the project when it began'
    WHEN p.session_epoch <> a.epoch AND a.chain IS NOT NULL THEN CASE
      WHEN c.closed_at IS NOT NULL OR c.ticket IS DISTINCT FROM a.ticket
        THEN session_chain.why_chain_fenced(a.chain, a.ticket, a.step, a.round, NULL)
      WHEN c.opened_at > a.started_at THEN format('its chain opened again at %s', session_chain.instant(c.opened_at))
      ELSE format('its chain gave the step up at %s', session_chain.instant(a.scheduled_at)) END
    WHEN p.session_epoch <> a.epoch THEN coalesce(
      (SELECT format('the chain %s took the project at %s', c.workflow_id, session_chain.instant(c.opened_at))
        FROM session_chain.chains c WHERE c.project_id = a.project_id AND c.opened_at >= a.started_at
        ORDER BY c.opened_at DESC LIMIT 1),
      format('the epoch of the project is %s and no longer %s', p.session_epoch, a.epoch))
    WHEN p.last_ai_session_id IS DISTINCT FROM p_old THEN coalesce(
      (SELECT format('the transition %s (%s) moved the head to %s at %s', t.seq, t.source, t.new_session_id,
          session_chain.instant(t.created_at))
        FROM session_transitions t WHERE t.project_id = session_chain.transition_project_key(a.project_id)
          AND t.seq = p.session_seq AND t.new_session_id = p.last_ai_session_id),
      format('the head was set to %s without a transition, from outside', coalesce(p.last_ai_session_id::text, 'none')))
    ELSE 'the row of its version is gone, or belongs to another project'
  END
  FROM (SELECT 1) one
  LEFT JOIN session_chain.attempts a ON a.id = p_attempt
  LEFT JOIN session_chain.chains c ON c.id = a.chain
  LEFT JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.session_id
  LEFT JOIN projects p ON p.project_id = session_chain.project_key(a.project_id)
  LEFT JOIN project_chat_log_minimal q ON q.question_id = (p_options #>> '{answer,questionId}')::bigint
$$;
