-- Keeps why a restoration of a project failed, null where it did not. A project of which nothing was restored or held has
-- no row for the latter.
CREATE FUNCTION session_chain.note_restore_failure(p_project text, p_failure jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF p_failure IS NULL THEN
    UPDATE session_chain.project_retention r SET restore_failure = NULL WHERE r.project_id = p_project;
  ELSE
    INSERT INTO session_chain.project_retention AS r (project_id, restore_failure) VALUES (p_project, p_failure)
    ON CONFLICT (project_id) DO UPDATE SET restore_failure = excluded.restore_failure;
  END IF;
END
$$;
