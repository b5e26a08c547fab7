-- Writes the transition of a head that was moved outside, and the row of the version, unless a chain holds the
-- project. Without p_version the newest version moves along.
CREATE FUNCTION session_chain.adopt_outside_head(p_project text, p_version text) RETURNS void
LANGUAGE sql AS $$
  WITH locked AS MATERIALIZED (
    SELECT p.project_id FROM projects p
    WHERE p.project_id = session_chain.project_key(p_project) AND NOT EXISTS (SELECT FROM session_chain.holder_of(p_project))
    FOR NO KEY UPDATE OF p
  ), adopted AS MATERIALIZED (
    SELECT l.project_id, a.session_id FROM locked l, session_chain.adopt_head(l.project_id::text, 0) a
  )
  UPDATE project_versions v SET ai_session_id = adopted.session_id, ai_session_last_used_at = clock_timestamp()
  FROM adopted
  WHERE v.project_id = adopted.project_id AND v.version_id = coalesce(session_chain.version_key(p_version), (
    SELECT n.version_id FROM project_versions n WHERE n.project_id = adopted.project_id ORDER BY n.created_at DESC LIMIT 1))
$$;
