-- Whether a chain continues from the head or starts a fresh session: its build does once a given number of operations
-- continued from one another, or once the context has a given size. A chain run again on the same head decides as
-- before. p_options as in open_chain.
CREATE FUNCTION session_chain.origin_at_head(p_chain session_chain.chains, p_head text, p_seq bigint, p_options jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_max_operations bigint := nullif((p_options ->> 'resetOperations')::bigint, 0);
  v_max_tokens bigint := nullif((p_options ->> 'resetTokens')::bigint, 0);
  v_fresh bigint;
  v_operations bigint;
  v_tokens bigint;
BEGIN
  IF NOT coalesce(p_options -> 'plan' @> '[{"role": "build"}]', false) OR EXISTS (
    SELECT FROM session_chain.attempts a WHERE a.chain = p_chain.id AND a.role = 'build' AND a.state = 'committed') THEN
    RETURN '{"kind": "head"}';
  END IF;
  IF p_chain.origin ->> 'kind' = 'context_reset' AND p_chain.origin ->> 'headSessionId' = p_head THEN
    RETURN p_chain.origin;
  END IF;
  IF v_max_operations IS NULL AND v_max_tokens IS NULL THEN
    RETURN '{"kind": "head"}';
  END IF;
  -- The one that started the line of sessions is one of its operations.
  v_fresh := coalesce((
    SELECT t.seq FROM session_chain.all_transitions(p_chain.project_id) t
      JOIN session_chain.attempts a ON a.id = t.attempt_id
    WHERE t.seq IS NOT NULL
      AND a.base_session_id IS NULL AND a.chain IS NOT NULL
      AND t.seq IN (SELECT generate_series(l.low, l.high) FROM session_chain.line_of_heads(p_chain.project_id, p_seq) l)
    ORDER BY t.seq DESC LIMIT 1), 1);
  -- A rewind, the low end of its range, is no operation of its own.
  v_operations := (
    SELECT coalesce(sum(l.high - greatest(l.low, v_fresh) + 1) - count(*) FILTER (WHERE l.low > v_fresh), 0)
    FROM session_chain.line_of_heads(p_chain.project_id, p_seq) l WHERE l.high >= v_fresh);
  v_tokens := coalesce((SELECT s.context_tokens FROM session_chain.sessions s
    WHERE s.project_id = p_chain.project_id AND s.session_id = p_head), 0);
  RETURN jsonb_build_object('operations', v_operations, 'contextTokens', v_tokens,
    'kind', CASE WHEN v_operations >= v_max_operations OR v_tokens > v_max_tokens THEN 'context_reset' ELSE 'head' END);
END
$$;
