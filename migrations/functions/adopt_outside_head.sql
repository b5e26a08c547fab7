-- Writes the transition of a head that was moved outside, and the row of the version, unless a chain holds the
-- project. Without p_version the newest version moves along.
CREATE FUNCTION session_chain.adopt_outside_head(p_project text, p_version text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_session text;
BEGIN
  PERFORM FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  IF NOT FOUND OR EXISTS (SELECT FROM session_chain.holder_of(p_project)) THEN RETURN; END IF;
  SELECT a.session_id INTO v_session FROM session_chain.adopt_head(p_project, 0) a;
  UPDATE project_versions v SET ai_session_id = v_session, ai_session_last_used_at = clock_timestamp()
    WHERE v.project_id = v_id AND v.version_id = coalesce(session_chain.version_key(p_version), (
      SELECT n.version_id FROM project_versions n WHERE n.project_id = v_id ORDER BY n.created_at DESC LIMIT 1));
END
$$;
