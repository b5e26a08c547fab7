-- Tells everything that works for a project under erasure to stop. Returns the ms until the lease of the last agent, or of
-- a file of the archive that is being written, has expired; null where there is none.
CREATE FUNCTION session_chain.stop_erased(p_erasure uuid) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_project text := (SELECT e.project_id FROM session_chain.erasures e WHERE e.id = p_erasure AND e.finished_at IS NULL);
BEGIN
  PERFORM session_chain.request_stop(c.id) FROM session_chain.chains c WHERE c.project_id = v_project AND c.closed_at IS NULL;
  RETURN greatest(
    session_chain.stop_attempts(ARRAY(SELECT a.id FROM session_chain.attempts a
      WHERE a.project_id = v_project AND a.state = 'running')),
    (SELECT max(ceil(extract(epoch FROM p.written_until - clock_timestamp()) * 1000))::integer FROM session_chain.archive_parts p
      WHERE p.project_id = v_project AND p.state = 'planned' AND p.written_until > clock_timestamp()));
END
$$;
