-- Writes what an attempt spent; the keys of p_metrics are names of columns. An existing row stays; with p_replace the
-- row of an interrupted attempt is replaced by figures that have at least as many turns and the cost. Once the attempt is
-- planned for the archive, nothing is written.
CREATE FUNCTION session_chain.write_metrics(p_attempt bigint, p_outcome text, p_metrics jsonb, p_replace boolean)
RETURNS void
LANGUAGE sql AS $$
  INSERT INTO project_ai_session_metrics AS m (session_id, project_id, version_id, build_id, step, attempt_id, outcome,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, usage_by_model, cost_usd, turns, duration_ms,
    api_duration_ms, model, agent_version, turn_in_flight_unknown)
  SELECT a.session_id, session_chain.project_key(a.project_id), session_chain.version_key(a.version_id), a.build_id, a.step,
    a.id, p_outcome, n.input_tokens, n.output_tokens, n.cache_read_tokens, n.cache_write_tokens, n.usage_by_model, n.cost_usd,
    n.turns, n.duration_ms, n.api_duration_ms, n.model, n.agent_version, coalesce(n.turn_in_flight_unknown, false)
  FROM session_chain.attempts a CROSS JOIN jsonb_to_record(p_metrics) AS n (input_tokens bigint, output_tokens bigint,
    cache_read_tokens bigint, cache_write_tokens bigint, usage_by_model jsonb, cost_usd numeric, turns integer,
    duration_ms bigint, api_duration_ms bigint, model text, agent_version text, turn_in_flight_unknown boolean)
  WHERE a.id = p_attempt AND a.archive_part IS NULL
  FOR SHARE OF a
  ON CONFLICT (attempt_id) DO UPDATE SET
    input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
    cache_read_tokens = excluded.cache_read_tokens, cache_write_tokens = excluded.cache_write_tokens,
    usage_by_model = excluded.usage_by_model, cost_usd = excluded.cost_usd, turns = excluded.turns,
    duration_ms = excluded.duration_ms, api_duration_ms = excluded.api_duration_ms, model = excluded.model,
    agent_version = excluded.agent_version, turn_in_flight_unknown = excluded.turn_in_flight_unknown, cost_derived = false
    WHERE p_replace AND m.outcome = 'interrupted' AND m.turns <= excluded.turns AND excluded.cost_usd IS NOT NULL
$$;
