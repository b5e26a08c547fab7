-- Why a chain, or a try of its step, was refused as `fenced`, as the end of a sentence. Called in the statement that
-- was refused: it still holds the project's lock, and VOLATILE sees what the refusal saw. p_step, p_round and
-- p_scheduled_at are null where no step asked. A run that knows no ticket (null) is identified by p_run.
CREATE FUNCTION session_chain.why_chain_fenced(
  p_chain bigint, p_ticket bigint, p_step text, p_round integer, p_scheduled_at timestamptz,
  p_run text DEFAULT NULL) RETURNS text
LANGUAGE sql VOLATILE AS $$
  SELECT CASE
    WHEN c.id IS NULL THEN 'its chain is not in the database'
    WHEN c.closed_at IS NOT NULL THEN format('its chain was closed at %s as %s', session_chain.instant(c.closed_at),
      coalesce(c.status || ' (' || (c.result #>> '{failure,code}') || ')', c.status))
    WHEN c.ticket IS NULL THEN 'its chain was queued again for another run'
    WHEN c.ticket IS DISTINCT FROM p_ticket AND (p_ticket IS NOT NULL OR c.run_id IS DISTINCT FROM p_run) THEN format('the run %s of its chain has drawn the ticket %s, and this one presents %s',
      c.run_id, c.ticket, coalesce(p_ticket::text, 'none'))
    WHEN c.status = 'queued' THEN 'its chain is queued and does not hold the project'
    ELSE coalesce(
      (SELECT format('the step was tried again, or given up by its chain, at %s: after this try, which was scheduled at %s',
          session_chain.instant(max(s.scheduled_at)), session_chain.instant(p_scheduled_at))
        FROM (SELECT a.scheduled_at FROM session_chain.attempts a
            WHERE a.chain = c.id AND a.ticket = p_ticket AND a.step = p_step AND a.round = p_round
          UNION ALL SELECT s.scheduled_at FROM session_chain.activity_steps s
            WHERE s.chain = c.id AND s.ticket = p_ticket AND s.step = p_step AND s.round = p_round) s
        HAVING max(s.scheduled_at) > p_scheduled_at),
      (SELECT format('its chain has gone on to the step %s, at %s', a.step, session_chain.instant(a.started_at))
        FROM session_chain.attempts a
        WHERE a.chain = c.id AND a.ticket = p_ticket AND (a.step <> p_step OR a.round > p_round)
        ORDER BY a.id DESC LIMIT 1),
      'its chain has the project already and is at work: this was asked once more, too late')
  END
  FROM (SELECT 1) one LEFT JOIN session_chain.chains c ON c.id = p_chain
$$;
