-- Why an attempt may not go on, as the end of a sentence: its session is sealed, or it was ended. VOLATILE, so that it
-- sees what the functions of the calling statement saw.
CREATE FUNCTION session_chain.why_attempt_ended(p_attempt bigint) RETURNS text
LANGUAGE sql VOLATILE AS $$
  SELECT CASE
    WHEN a.id IS NULL THEN 'the attempt is not in the database'
    WHEN a.state = 'committed' THEN format('the attempt was committed at %s', session_chain.instant(a.ended_at))
    WHEN newer.id IS NOT NULL THEN format('the attempt %s of the same operation began at %s', newer.attempt,
      session_chain.instant(newer.started_at))
    WHEN a.chain IS NOT NULL AND (c.closed_at IS NOT NULL OR c.ticket IS DISTINCT FROM a.ticket)
      THEN session_chain.why_chain_fenced(a.chain, a.ticket, a.step, a.round, a.scheduled_at)
    WHEN c.cancelled_ticket = a.ticket THEN 'its chain was asked to stop'
    WHEN a.state = 'running' THEN 'its worker was told to stop, for another try of the operation or the end of its chain'
    ELSE format('the attempt was ended at %s with %s', session_chain.instant(coalesce(a.ended_at, a.seen_at)), a.failure ->> 'code')
  END
  FROM (SELECT 1) one
  LEFT JOIN session_chain.attempts a ON a.id = p_attempt
  LEFT JOIN session_chain.chains c ON c.id = a.chain
  LEFT JOIN LATERAL (SELECT n.id, n.attempt, n.started_at FROM session_chain.attempts n
    WHERE n.project_id = a.project_id AND n.build_id = a.build_id AND n.chain IS NOT DISTINCT FROM a.chain
      AND n.step = a.step AND n.round = a.round AND n.attempt > a.attempt ORDER BY n.attempt LIMIT 1) newer ON true
$$;
