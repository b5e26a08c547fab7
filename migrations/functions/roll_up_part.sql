-- Drops the details that a verified part holds: the metrics of its attempts, which count in spend_days and chains.spent from then
-- on; its failed attempts, but for the last one of an operation, by which the next is numbered, and those whose session another
-- attempt committed; its briefs. Returns how many attempts and briefs it was; nothing more when called again, where rows of the
-- host's tables must stay, and while the project is on hold. Of a chain that is open again the details stay, and are due later.
CREATE FUNCTION session_chain.roll_up_part(p_part uuid, p_host_tables boolean) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_part session_chain.archive_parts;
  v_spent jsonb;
  v_dropped integer;
BEGIN
  PERFORM session_chain.lock_project((SELECT p.project_id FROM session_chain.archive_parts p WHERE p.id = p_part));
  SELECT * INTO v_part FROM session_chain.archive_parts p
    WHERE p.id = p_part AND p.state = 'verified' AND p.rolled_up_at IS NULL FOR UPDATE;
  IF NOT FOUND OR NOT (p_host_tables OR (SELECT i.owns_host_tables FROM session_chain.installation i))
     OR EXISTS (SELECT FROM session_chain.project_retention r WHERE r.project_id = v_part.project_id AND r.held_at IS NOT NULL) THEN
    RETURN 0;
  END IF;
  UPDATE session_chain.attempts a SET archive_part = NULL FROM session_chain.chains c
    WHERE a.archive_part = p_part AND c.id = a.chain AND c.closed_at IS NULL;
  UPDATE session_chain.briefs b SET archive_part = NULL FROM session_chain.chains c
    WHERE b.archive_part = p_part AND c.id = b.chain AND c.closed_at IS NULL;

  WITH gone AS (
    DELETE FROM project_ai_session_metrics m USING session_chain.attempts a
    WHERE a.archive_part = p_part AND m.attempt_id = a.id
    RETURNING a.id, jsonb_build_object('project_id', a.project_id, 'chain', a.chain, 'step', a.step,
      'day', (m.created_at AT TIME ZONE 'UTC')::date, 'turns', m.turns, 'turn_in_flight_unknown', m.turn_in_flight_unknown,
      'input_tokens', m.input_tokens, 'output_tokens', m.output_tokens, 'cache_read_tokens', m.cache_read_tokens,
      'cache_write_tokens', m.cache_write_tokens, 'cost_usd', m.cost_usd, 'duration_ms', m.duration_ms,
      'usage_by_model', m.usage_by_model) AS spent
  )
  SELECT jsonb_agg(g.spent ORDER BY g.id), count(*) INTO v_spent, v_dropped FROM gone g;
  PERFORM session_chain.count_spent(v_spent, 1);
  DELETE FROM session_chain.attempts a
    WHERE a.archive_part = p_part AND a.state = 'failed'
      AND EXISTS (SELECT FROM session_chain.attempts n WHERE n.project_id = a.project_id AND n.build_id = a.build_id
        AND n.chain IS NOT DISTINCT FROM a.chain AND n.step = a.step AND n.round = a.round AND n.attempt > a.attempt)
      AND NOT EXISTS (SELECT FROM session_chain.attempts n WHERE n.project_id = a.project_id AND n.adopts = a.session_id);
  UPDATE session_chain.attempts a SET calls = NULL WHERE a.archive_part = p_part AND a.calls IS NOT NULL;
  WITH gone AS (DELETE FROM session_chain.briefs b WHERE b.archive_part = p_part RETURNING 1)
  SELECT v_dropped + count(*) INTO v_dropped FROM gone;
  UPDATE session_chain.archive_parts p SET rolled_up_at = clock_timestamp() WHERE p.id = p_part;
  RETURN v_dropped;
END
$$;
