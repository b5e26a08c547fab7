-- Puts a project on legal hold, or says anew why and by whom it is; nothing of it is archived away, dropped or erased once
-- this is committed. False where nothing of it is here.
CREATE FUNCTION session_chain.hold_project(p_project text, p_reason text, p_by text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  -- Waits for what retention is about to delete.
  PERFORM pg_advisory_xact_lock(hashtextextended('session_chain retention ' || p_project, 0));
  IF NOT EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key(p_project))
     AND NOT EXISTS (SELECT FROM session_chain.sessions s WHERE s.project_id = p_project)
     AND NOT EXISTS (SELECT FROM session_chain.chains c WHERE c.project_id = p_project) THEN
    RETURN false;
  END IF;
  INSERT INTO session_chain.project_retention AS r (project_id, held_at, held_by, hold_reason)
  VALUES (p_project, clock_timestamp(), p_by, p_reason)
  ON CONFLICT (project_id) DO UPDATE SET held_at = coalesce(r.held_at, excluded.held_at), held_by = excluded.held_by,
    hold_reason = excluded.hold_reason;
  RETURN true;
END
$$;
