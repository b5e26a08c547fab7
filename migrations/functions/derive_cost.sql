-- Writes a cost that was worked out afterwards. What an attempt spent no longer changes once it is planned for the archive.
CREATE FUNCTION session_chain.derive_cost(p_attempt bigint, p_usage_by_model jsonb, p_cost_usd numeric) RETURNS void
LANGUAGE sql AS $$
  WITH own AS (
    SELECT a.id FROM session_chain.attempts a WHERE a.id = p_attempt AND a.archive_part IS NULL FOR SHARE
  )
  UPDATE project_ai_session_metrics m SET cost_usd = p_cost_usd, usage_by_model = p_usage_by_model, cost_derived = true
  FROM own WHERE m.attempt_id = own.id AND m.cost_usd IS NULL
$$;
