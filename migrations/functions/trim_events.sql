-- Deletes events that are older than p_keep, and than a day: the oldest p_limit ones at most, none of a project on hold. Returns
-- how many; null where another call is at it.
CREATE FUNCTION session_chain.trim_events(p_keep interval, p_limit integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_trimmed integer;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended('session_chain trim_events', 0)) THEN
    RETURN NULL;
  END IF;
  WITH oldest AS MATERIALIZED (
    SELECT e.id FROM session_chain.events e
    WHERE NOT EXISTS (SELECT FROM session_chain.project_retention r WHERE r.project_id = e.project_id AND r.held_at IS NOT NULL)
    ORDER BY e.id LIMIT p_limit
  ), trimmed AS (
    DELETE FROM session_chain.events e USING oldest o
    WHERE e.id = o.id AND e.at < clock_timestamp() - greatest(p_keep, interval '1 day')
    RETURNING e.project_id, e.id
  ), noted AS (
    INSERT INTO session_chain.trimmed_events AS t (project_id, id)
    SELECT d.project_id, max(d.id) FROM trimmed d GROUP BY d.project_id
    ON CONFLICT (project_id) DO UPDATE SET id = greatest(t.id, excluded.id)
  )
  SELECT count(*) INTO v_trimmed FROM trimmed;
  RETURN v_trimmed;
END
$$;
