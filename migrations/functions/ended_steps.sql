-- The steps of a chain that ends. A step with a committed attempt is committed, and no other, whatever the caller says.
-- For the rest the caller's account counts as far as the tables confirm it: completed only with a completed call,
-- skipped only for a compaction for which a worker recorded a reason. What is not confirmed is pending, and what is
-- reported as under way has ended with the chain. p_said is the caller's account, of any shape: {status, steps:
-- [{step, status, attempts, reason, failure}]}.
CREATE FUNCTION session_chain.ended_steps(p_chain session_chain.chains, p_said jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  WITH planned AS (
    SELECT p.n, p.step, said.step AS said,
      CASE
        WHEN committed.result IS NOT NULL THEN 'committed'
        WHEN said.step ->> 'status' = 'completed' AND p.step ->> 'kind' = 'activity' AND EXISTS (
          SELECT FROM session_chain.activity_steps s
          WHERE s.chain = p_chain.id AND s.step = p.step ->> 'name' AND s.state = 'completed') THEN 'completed'
        WHEN said.step ->> 'status' = 'skipped' AND p.step ->> 'kind' = 'compaction'
          AND p_chain.skipped ? (p.step ->> 'name') THEN 'skipped'
        WHEN said.step ->> 'status' IN ('failed', 'cancelled') THEN said.step ->> 'status'
        WHEN said.step ->> 'status' IN ('running', 'waiting') THEN
          CASE p_said ->> 'status' WHEN 'cancelled' THEN 'cancelled' ELSE 'failed' END
        ELSE 'pending'
      END AS status,
      committed.result AS committed
    FROM jsonb_array_elements(p_chain.plan) WITH ORDINALITY p (step, n)
    LEFT JOIN LATERAL (SELECT s AS step FROM jsonb_path_query(p_said, '$.steps[*]') s
      WHERE s ->> 'step' = p.step ->> 'name' LIMIT 1) said ON true
    LEFT JOIN LATERAL (SELECT a.result FROM session_chain.attempts a
      WHERE a.chain = p_chain.id AND a.step = p.step ->> 'name' AND a.state = 'committed'
      ORDER BY a.round DESC LIMIT 1) committed ON true
  ), ended AS (
    SELECT n, step, said, status, status IN ('committed', 'completed', 'skipped') AS is_done,
      CASE WHEN status = 'committed' THEN committed ELSE '{}' END AS result
    FROM planned
  )
  SELECT coalesce(jsonb_agg(jsonb_build_object(
      'step', step -> 'name', 'kind', step -> 'kind', 'status', status,
      'attempts', coalesce(result -> 'attempt', jsonb_path_query_first(said, '$.attempts ? (@.type() == "number")'), '0'),
      'oldSessionId', result -> 'oldSessionId', 'newSessionId', result -> 'newSessionId',
      'turns', coalesce(result -> 'turns', '0'),
      'usage', coalesce(result -> 'usage',
        '{"inputTokens": 0, "outputTokens": 0, "cacheReadTokens": 0, "cacheWriteTokens": 0}'),
      'costUsd', coalesce(result -> 'costUsd', '0'), 'durationMs', coalesce(result -> 'durationMs', '0'))
    || jsonb_strip_nulls(jsonb_build_object(
      'role', step -> 'role',
      'reason', CASE WHEN status = 'skipped' THEN p_chain.skipped -> (step ->> 'name') WHEN NOT is_done THEN said -> 'reason' END,
      'failure', CASE WHEN NOT is_done THEN said -> 'failure' END)) ORDER BY n), '[]')
  FROM ended;
$$;
