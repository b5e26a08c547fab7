-- Adds what attempts spent to spend_days and chains.spent, or takes it off (p_sign -1). p_rows: {project_id, chain, day, step} with
-- the columns of the attempt's row of metrics.
CREATE FUNCTION session_chain.count_spent(p_rows jsonb, p_sign integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  -- A row as in spend_days for each attempt, and for each of its models.
  v_spent jsonb := (
    WITH own AS (
      SELECT r.* FROM jsonb_to_recordset(p_rows) AS r (project_id text, chain bigint, day date, step text, turns bigint,
        turn_in_flight_unknown boolean, input_tokens bigint, output_tokens bigint, cache_read_tokens bigint,
        cache_write_tokens bigint, cost_usd numeric, duration_ms bigint, usage_by_model jsonb)
    )
    SELECT jsonb_agg(one) FROM (
      SELECT project_id, chain, day, step, NULL AS model, 1 AS attempts, (cost_usd IS NULL)::integer AS attempts_of_unknown_cost,
        turns, turn_in_flight_unknown::integer AS turns_in_flight_unknown, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens, cost_usd, duration_ms
      FROM own
      UNION ALL
      SELECT o.project_id, o.chain, o.day, o.step, used.model, 1, (used.spent ->> 'costUsd' IS NULL)::integer, 0, 0,
        (used.spent ->> 'inputTokens')::numeric::bigint, (used.spent ->> 'outputTokens')::numeric::bigint,
        (used.spent ->> 'cacheReadTokens')::numeric::bigint, (used.spent ->> 'cacheWriteTokens')::numeric::bigint,
        (used.spent ->> 'costUsd')::numeric, 0
      FROM own o CROSS JOIN LATERAL jsonb_each(coalesce(o.usage_by_model, '{}')) AS used (model, spent)) one);
BEGIN
  MERGE INTO session_chain.spend_days d
  USING (
    SELECT r.project_id, r.day, r.step, r.model, p_sign * sum(r.attempts) AS attempts,
      p_sign * sum(r.attempts_of_unknown_cost) AS attempts_of_unknown_cost, p_sign * coalesce(sum(r.turns), 0) AS turns,
      p_sign * coalesce(sum(r.turns_in_flight_unknown), 0) AS turns_in_flight_unknown,
      p_sign * coalesce(sum(r.input_tokens), 0) AS input_tokens, p_sign * coalesce(sum(r.output_tokens), 0) AS output_tokens,
      p_sign * coalesce(sum(r.cache_read_tokens), 0) AS cache_read_tokens,
      p_sign * coalesce(sum(r.cache_write_tokens), 0) AS cache_write_tokens,
      p_sign * coalesce(sum(r.cost_usd), 0) AS cost_usd, p_sign * coalesce(sum(r.duration_ms), 0) AS duration_ms
    FROM jsonb_populate_recordset(NULL::session_chain.spend_days, v_spent) r GROUP BY 1, 2, 3, 4
  ) s ON d.project_id = s.project_id AND d.day = s.day AND d.step = s.step AND d.model IS NOT DISTINCT FROM s.model
  WHEN MATCHED AND d.attempts + s.attempts = 0 THEN DELETE
  WHEN MATCHED THEN UPDATE SET attempts = d.attempts + s.attempts,
    attempts_of_unknown_cost = d.attempts_of_unknown_cost + s.attempts_of_unknown_cost, turns = d.turns + s.turns,
    turns_in_flight_unknown = d.turns_in_flight_unknown + s.turns_in_flight_unknown,
    input_tokens = d.input_tokens + s.input_tokens, output_tokens = d.output_tokens + s.output_tokens,
    cache_read_tokens = d.cache_read_tokens + s.cache_read_tokens,
    cache_write_tokens = d.cache_write_tokens + s.cache_write_tokens,
    cost_usd = d.cost_usd + s.cost_usd, duration_ms = d.duration_ms + s.duration_ms
  WHEN NOT MATCHED THEN INSERT (project_id, day, step, model, attempts, attempts_of_unknown_cost, turns, turns_in_flight_unknown,
      input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, duration_ms)
    VALUES (s.project_id, s.day, s.step, s.model, s.attempts, s.attempts_of_unknown_cost, s.turns, s.turns_in_flight_unknown,
      s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_write_tokens, s.cost_usd, s.duration_ms);

  UPDATE session_chain.chains c SET spent = (
    SELECT jsonb_agg(jsonb_build_object('step', t.step, 'model', t.model, 'attempts', t.attempts,
      'attempts_of_unknown_cost', t.attempts_of_unknown_cost, 'turns', t.turns,
      'turns_in_flight_unknown', t.turns_in_flight_unknown, 'input_tokens', t.input_tokens, 'output_tokens', t.output_tokens,
      'cache_read_tokens', t.cache_read_tokens, 'cache_write_tokens', t.cache_write_tokens, 'cost_usd', t.cost_usd,
      'duration_ms', t.duration_ms) ORDER BY t.place)
    FROM (
      SELECT r.step, r.model, min(r.place) AS place, sum(r.sign * r.attempts) AS attempts,
        sum(r.sign * r.attempts_of_unknown_cost) AS attempts_of_unknown_cost, coalesce(sum(r.sign * r.turns), 0) AS turns,
        coalesce(sum(r.sign * r.turns_in_flight_unknown), 0) AS turns_in_flight_unknown,
        coalesce(sum(r.sign * r.input_tokens), 0) AS input_tokens, coalesce(sum(r.sign * r.output_tokens), 0) AS output_tokens,
        coalesce(sum(r.sign * r.cache_read_tokens), 0) AS cache_read_tokens,
        coalesce(sum(r.sign * r.cache_write_tokens), 0) AS cache_write_tokens,
        coalesce(sum(r.sign * r.cost_usd), 0) AS cost_usd, coalesce(sum(r.sign * r.duration_ms), 0) AS duration_ms
      FROM (
        SELECT o.*, 1 AS sign, row_number() OVER () AS place
        FROM jsonb_populate_recordset(NULL::session_chain.spend_days, coalesce(c.spent, '[]')) o
        UNION ALL
        SELECT n.*, p_sign, 1000000 + row_number() OVER ()
        FROM jsonb_populate_recordset(NULL::session_chain.spend_days, new.rows) n
      ) r GROUP BY r.step, r.model HAVING sum(r.sign * r.attempts) <> 0
    ) t)
  FROM (SELECT (e.one ->> 'chain')::bigint AS chain, jsonb_agg(e.one ORDER BY e.n) AS rows
    FROM jsonb_array_elements(v_spent) WITH ORDINALITY AS e (one, n) WHERE e.one ->> 'chain' IS NOT NULL GROUP BY 1) new
  WHERE c.id = new.chain;
END
$$;
