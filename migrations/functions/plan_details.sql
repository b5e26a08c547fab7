-- Assigns details that are due to a planned part: those of its project and month, the oldest first, p_limit at most. From then on
-- no figure of these attempts changes, see write_metrics. Returns how many.
CREATE FUNCTION session_chain.plan_details(p_part uuid, p_days integer, p_host_tables boolean, p_limit integer)
RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_part session_chain.archive_parts;
  v_planned integer;
BEGIN
  SELECT * INTO v_part FROM session_chain.archive_parts p WHERE p.id = p_part AND p.state = 'planned';
  PERFORM session_chain.lock_project(v_part.project_id);
  WITH due AS (
    SELECT d.kind, d.id FROM session_chain.due_details(v_part.project_id, p_days, p_host_tables) d
    WHERE date_trunc('month', d.at AT TIME ZONE 'UTC') = v_part.month ORDER BY d.at LIMIT p_limit
  ), attempt AS (
    UPDATE session_chain.attempts a SET archive_part = p_part FROM due d
      WHERE d.kind = 'attempt' AND a.id = d.id RETURNING a.id
  ), brief AS (
    UPDATE session_chain.briefs b SET archive_part = p_part FROM due d
      WHERE d.kind = 'brief' AND b.chain = d.id RETURNING b.chain
  )
  SELECT (SELECT count(*) FROM attempt) + (SELECT count(*) FROM brief) INTO v_planned;
  RETURN v_planned;
END
$$;
